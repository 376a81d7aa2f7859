"""Artifacts in an OCI layout: a folder, an archive, and what is wrong with them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob, digest_of
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.registry import layouts
from ocicaliban.registry.layouts import Layout

KIND = "application/vnd.example.v1"


def image(layout: Layout, folder: Path) -> str:
    """Add an image of one layer."""
    made = folder / "made"
    blobs = made / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = b"layer"
    (blobs / digest_of(layer)[7:]).write_bytes(layer)
    digest = oci_layout.write_layout(made, {"os": "linux"}, [Blob(digest=digest_of(layer), size=5)])
    layout.add_image(made, digest, "paper-image")
    return digest


def artifact(subject: str, name: str = "") -> bytes:
    about = {"mediaType": oci_layout.MANIFEST, "digest": subject, "size": 1}
    return oci_layout.canonical_json({"artifactType": KIND, "subject": about, "annotations": {"name": name}})


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_a_folder_and_its_archive_hold_the_same(tmp_path: Path) -> None:
    folder = Layout(f"oci:{tmp_path / 'lay'}")
    digest = image(folder, tmp_path)
    data = artifact(digest)
    attached = folder.attach(data)
    folder.put_manifest("paper", data)
    layouts.pack(tmp_path / "lay", tmp_path / "a.tar")
    archive = Layout(f"oci-archive:{tmp_path / 'a.tar'}")
    for each in (folder, archive):
        assert each.tags() == ("paper", "paper-image", f"{digest.replace(':', '-')}.{attached[7:23]}")
        assert each.resolve("paper") == attached and each.resolve("none") == "" and each.get_manifest("none") is None
        assert each.get_manifest("paper") == each.get_manifest(attached) == (attached, data)
        assert each.referrers(digest, KIND) == (attached,) and each.referrers(digest, "other") == ()
        assert each.get_blob(digest_of(b"layer"), 5) == b"layer"
    for number, each in enumerate((folder, archive)):
        each.copy_image(digest, tmp_path / str(number))
        whole = Layout("oci:x", tmp_path / str(number))
        assert whole.resolve(digest) == digest and whole.get_blob(digest_of(b"layer"), 5) == b"layer"


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_may_be_made_with_tar(tmp_path: Path, mode: Literal["w:", "w:gz", "w:bz2", "w:xz"]) -> None:
    digest = image(Layout(f"oci:{tmp_path / 'lay'}"), tmp_path)
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        tar.add(tmp_path / "lay", ".")  # as `tar -C FOLDER .` does
    archive = Layout(f"oci-archive:{tmp_path / 'a.tar'}")
    if mode == "w:":
        assert archive.resolve("paper-image") == digest and archive.get_blob(digest_of(b"layer"), 5) == b"layer"
        return
    with pytest.raises(UsageError, match="is a compressed archive") as caught:
        archive.tags()
    assert caught.value.hint.startswith("unpack it first")


def test_a_tag_names_the_newest_and_an_old_artifact_stays(tmp_path: Path) -> None:
    layout = Layout(f"oci:{tmp_path / 'lay'}")
    digest = image(layout, tmp_path)
    first, second = (layout.attach(artifact(digest, name)) for name in ("one", "two"))
    for name in ("one", "two"):
        layout.put_manifest("paper", artifact(digest, name))
    assert layout.resolve("paper") == second and layout.resolve(first) == first
    assert layout.referrers(digest, KIND) == (first, second)


@pytest.mark.parametrize(
    ("change", "told"), [(b"evil!", "other contents"), (b"x", "other contents"), (None, "any more")]
)
def test_a_blob_that_is_lost_or_changed_is_refused(tmp_path: Path, change: bytes | None, told: str) -> None:
    layout = Layout(f"oci:{tmp_path / 'lay'}")
    digest = image(layout, tmp_path)
    path = tmp_path / "lay" / "blobs" / "sha256" / digest_of(b"layer")[7:]
    path.unlink()
    if change is not None:
        path.write_bytes(change)
    with pytest.raises(OcicalibanError, match=told):
        layout.get_blob(digest_of(b"layer"), 5)
    with pytest.raises(OcicalibanError, match=told):
        layout.copy_image(digest, tmp_path / "copy")


def test_what_is_no_layout_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "a.tar").write_text("x")
    with pytest.raises(UsageError, match="is not an OCI layout"):
        Layout(f"oci:{tmp_path}").tags()
    with pytest.raises(UsageError, match="is not a tar archive"):
        Layout(f"oci-archive:{tmp_path / 'a.tar'}").tags()
    assert Layout(f"oci:{tmp_path / 'new'}").tags() == ()


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "/etc/passwd", "sha256:", "x"])
def test_a_digest_that_is_a_path_is_refused(tmp_path: Path, digest: str) -> None:
    index = {"manifests": [{"digest": digest, "size": 4, "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(OcicalibanError, match="is not a digest"):
        Layout(f"oci:{tmp_path}").get_manifest("v1")
