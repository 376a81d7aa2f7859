"""The bytes of an image of fixed files: digests of trees, of their parts, of a layer, of a config and of a manifest.

A digest here is what all users' stores and registries know a layer or an image by. None may change by accident.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ocicaliban.build import builder, steps
from ocicaliban.containers import buildah, image_store, oci_layout
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.model.image import Configure, Copy, Image, PlannedLayer
from ocicaliban.project import source_tree, tree_parts

HEAVY = 1_000_000


def fixed_tree(root: Path) -> Path:
    """Make a folder with files, an executable, a link, an empty folder and a name beyond ASCII."""
    for name, text in (
        ("train.py", "print('digits')\n"),
        ("trainer/model.py", ""),
        ("run.sh", "#!/bin/sh\n"),
        ("straße/größe.txt", "é\n"),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "run.sh").chmod(0o755)
    (root / "empty").mkdir()
    (root / "trainer" / "link").symlink_to("../train.py")
    return root


def test_the_digest_of_a_tree_stays(tmp_path: Path) -> None:
    tree = source_tree.read_tree(fixed_tree(tmp_path / "digits"))
    assert [(entry.path, entry.kind, entry.size, entry.executable) for entry in tree.entries] == [
        ("empty", "dir", 0, False),
        ("run.sh", "file", 10, True),
        ("straße", "dir", 0, False),
        ("straße/größe.txt", "file", 3, False),
        ("train.py", "file", 16, False),
        ("trainer", "dir", 0, False),
        ("trainer/link", "link", 0, False),
        ("trainer/model.py", "file", 0, False),
    ]
    assert tree.digest == "bd7a7066cccd6b50c2de47a918c63791556f110a5d6daebae4a7f6a9415f3dac"


def test_the_layer_of_a_tree_stays(tmp_path: Path) -> None:
    tree = source_tree.read_tree(fixed_tree(tmp_path / "digits"))
    layer = oci_layout.write_layer(tree, "/usr/app", tmp_path / "layer.tar")
    assert layer == oci_layout.Blob(
        digest="sha256:be1df15e74fb7dcf0e3cef59c50bb2eba3d3d553bbffb47d26be6b6c01de5d57", size=10240
    )
    layer = oci_layout.write_layer(tree, "/root/tmp", tmp_path / "layer.tar")
    assert layer == oci_layout.Blob(
        digest="sha256:0b1a83ed982bbb50650427a99c69bd4b20165d392bc5a9591bd27fdf2779bffd", size=10240
    )


def test_the_times_in_an_image_stay() -> None:
    assert oci_layout.EPOCH == 315619200
    assert oci_layout.CREATED == "1980-01-02T00:00:00Z"


def test_a_source_is_divided_as_ever(tmp_path: Path) -> None:
    """Divide ten heavy folders: the eight heaviest have a part each, and what is lighter stays with the rest."""
    sizes = {f"heavy{number}": HEAVY + number for number in range(10)} | {"light": HEAVY - 1, "as heavy": HEAVY + 9}
    for name, size in sizes.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").touch()
        os.truncate(folder / "file", size)
    (tmp_path / "train.py").touch()
    tree = source_tree.read_tree(tmp_path)
    assert tree.digest == "42cef57b61025c9b12c12a3e2ebd2cee26d86bb4229c32869fec8847280e3a7e"
    assert [(name, part.digest) for name, part in tree_parts.divide(tree)] == [
        ("as heavy", "7c0313785b281ab9d6ebdf9c7fb6f02d464ce165543ce839fbd6e843f66e746b"),
        ("heavy9", "713c3f89692dd54c714ae13772e1a0ab0cf25a7539777d0461985e09045f2e9a"),
        ("heavy8", "53418afdb793926e651fba44541178cbd84004522e8cd599bb2b77a1e25900ce"),
        ("heavy7", "658ec50530c1498a9b06443dc5b0ebeb35c441fd1bbd988384eee538f02990b5"),
        ("heavy6", "34529ac1f77d620ad9d5d7f91ab3781b7fb67d4b496f5a5b8df98a7135c2c854"),
        ("heavy5", "1ecfed5e69fccd4175e0d5dcc3f2fa35f8691a156fe4551f91aabd1e56c8cfe7"),
        ("heavy4", "988258a0feacabffb76c2236a0127bc13b2039a7bfbc0fc63c2510d9fdc03ce9"),
        ("heavy3", "e417b817feb56c606cadf2b67b2a092c937bbf8e2771a966559229e8af5f7210"),
        ("", "423aa4d8c7a264b7fa50a985e60ed65276d8bd414fc8b1508d79d371758a884e"),
    ]


def test_a_folder_is_heavy_from_a_megabyte_on(tmp_path: Path) -> None:
    for name, size in (("heavy", HEAVY), ("light", HEAVY - 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        os.truncate(tmp_path / name / "file", size)
    assert [name for name, _ in tree_parts.divide(source_tree.read_tree(tmp_path))] == ["heavy", ""]


def test_a_tree_with_nothing_heavy_is_one_part(tmp_path: Path) -> None:
    tree = source_tree.read_tree(fixed_tree(tmp_path / "digits"))
    assert tree_parts.divide(tree) == (("", tree),)


def test_the_config_and_the_manifest_of_an_image_stay(tmp_path: Path) -> None:
    base = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "container_config": {"Hostname": "docker's own"},
        "config": {"Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"], "Cmd": ["python3"], "Labels": {"a": "ä"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "base"}],
    }
    config = oci_layout.with_changes(
        oci_layout.standard_config(base),
        Configure(
            env=(("PYTHONPATH", "/usr/app"), ("LANG", "de")),
            path=("/opt/venv/bin",),
            workdir="/usr/app",
            entrypoint=("python3", "train.py"),
            ports=("8888/tcp",),
        ),
    )
    tree = source_tree.read_tree(fixed_tree(tmp_path / "digits"))
    layer = oci_layout.write_layer(tree, "/usr/app", tmp_path / "layer.tar")
    config = oci_layout.with_layer(config, layer.digest, "ocicaliban source-copy")
    config = oci_layout.with_layer(config, None, "ocicaliban entrypoint")
    layout = tmp_path / "layout"
    digest = oci_layout.write_layout(layout, config, [oci_layout.Blob(digest=f"sha256:{'1' * 64}", size=12345), layer])
    oci_layout.adopt_layer(layout, tmp_path / "layer.tar", layer)

    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    assert manifest["config"]["digest"] == "sha256:9b61c9431467e76bc8cf4dfed171bc16a6501a6e2b55d40d01ae889087b6c5b9"
    assert digest == "sha256:3cfc58e98ef4b4aa3f5e6b12e874271ab2bb59cddb21f4eb5a5795d78cdb9890"
    assert (layout / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert (layout / "index.json").read_text() == (
        '{"manifests":[{'
        '"digest":"sha256:3cfc58e98ef4b4aa3f5e6b12e874271ab2bb59cddb21f4eb5a5795d78cdb9890","mediaType":"application/vnd.oci.image.manifest.v1+json","size":549}],"schemaVersion":2}'
    )
    written = (layout / "blobs/sha256" / manifest["config"]["digest"].removeprefix("sha256:")).read_text()
    assert written == (Path(__file__).parents[1] / "golden" / "config.json").read_text().rstrip("\n")
    assert sorted(path.name for path in (layout / "blobs/sha256").iterdir()) == sorted(
        blob.removeprefix("sha256:") for blob in (layer.digest, manifest["config"]["digest"], digest)
    )


def test_the_image_that_the_builder_makes_of_a_layer_of_files_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builder's own words in the history of an image are in its digest as well."""
    base = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "User": "1000"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
    }
    monkeypatch.setattr(image_store, "image_config", lambda image: base)
    monkeypatch.setattr(image_store, "layer_sizes", lambda: {f"sha256:{'1' * 64}": 12345})
    monkeypatch.setattr(image_store, "import_layer", lambda folder, layer, key: Image(id="1d" * 32, digest="", key=key))
    tree = source_tree.read_tree(fixed_tree(tmp_path / "digits"))
    layer = PlannedLayer(
        name="source-copy",
        steps=(Copy(tree=tree.digest, to="/usr/app"), Configure(env=(("A", "1"),), workdir="/usr/app")),
        key="c" * 64,
    )
    folder = tmp_path / "work"
    folder.mkdir()
    context = steps.BuildContext(trees={tree.digest: tree}, secrets={}, indexes=Indexes())
    builder.tree_layer(layer, Image(id="0d" * 32, digest="", key=""), folder, context)
    layout = folder / "ocicaliban" / "source-copy" / ("c" * 32)
    (described,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert described["digest"] == "sha256:127fadb639e31b4663eb62f1278c7ce47ac5eea65fa5bf3fefb7c55f3b1b966b"


def test_what_buildah_is_told_stays() -> None:
    """buildah writes the image of a layer that runs something: its arguments decide the bytes."""
    step = Configure(env=(("A", "$1"),), path=("/opt/venv/bin",), workdir="/usr/app", entrypoint=("a", "b"))
    assert buildah.from_argv("1d" * 32, "name") == (
        *("buildah", "from", "--quiet", "--pull-never", "--name", "name"),
        "1d" * 32,
    )
    assert buildah.run_argv("name", Path("/in"), ("/a:/b",), (("A", "1"),)) == (
        *("buildah", "run", "--add-history=false", "--isolation", "rootless", "--user", "0", "--network", "host"),
        *("-v", "/in:/dev/oc:ro", "-v", "/a:/b", "--env", "A=1", "name", "--", "sh", "/dev/oc/script"),
    )
    assert buildah.config_argv("name", step, "/bin") == (
        *("buildah", "config", "--add-history=false", "--env", "A=$$1", "--env", "PATH=/opt/venv/bin:/bin"),
        *("--workingdir", "/usr/app", "--entrypoint", '["a", "b"]', "--cmd", "", "name"),
    )
    assert buildah.commit_argv("name", "localhost/x:latest") == (
        *("buildah", "commit", "--quiet", "--format", "oci", "--timestamp", "315619200", "name", "localhost/x:latest"),
    )
