"""The layout that is pushed: which layers are compressed, and what the manifest says."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocicaliban.containers import oci_layout
from ocicaliban.model.image import Image
from ocicaliban.registry import image_layout, packed_layers
from ocicaliban.registry.image_layout import complete_manifest, layers_in
from ocicaliban.registry.packed_layers import PackedLayer
from ocicaliban.system import process


def digest(digit: str) -> str:
    return f"sha256:{digit * 64}"


CONFIG = {"rootfs": {"diff_ids": [digest("a"), digest("b")]}}
PLAIN = {"mediaType": oci_layout.LAYER, "digest": digest("a"), "size": 0}
GZIP = {"mediaType": f"{oci_layout.LAYER}+gzip", "digest": digest("2"), "size": 20}


def test_a_manifest_tells_the_compressed_layers_of_the_kind_that_is_wanted() -> None:
    made = layers_in({"layers": [PLAIN, GZIP]}, CONFIG, "gzip")
    assert made == [
        PackedLayer(diff_id=digest("b"), digest=digest("2"), size=20, media_type=f"{oci_layout.LAYER}+gzip")
    ]
    assert layers_in({"layers": [PLAIN, GZIP]}, CONFIG, "zstd") == []
    assert layers_in({"layers": [GZIP]}, CONFIG, "gzip") == []


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        ({"layers": "x"}, CONFIG),
        ({"layers": [GZIP, GZIP]}, {"rootfs": "x"}),
        ({"layers": ["x", 1]}, CONFIG),
        ({"layers": [{**GZIP, "digest": "../x"}, {**GZIP, "size": "zz"}]}, CONFIG),
        ({"layers": [GZIP]}, {"rootfs": {"diff_ids": [7]}}),
    ],
)
def test_an_image_that_is_none_has_no_layers(manifest: dict[str, object], config: dict[str, object]) -> None:
    assert layers_in(manifest, config, "gzip") == []


def test_the_manifest_is_completed_with_what_the_registry_has_and_names_no_base_of_ours() -> None:
    there = PackedLayer(diff_id=digest("a"), digest=digest("1"), size=10, media_type=f"{oci_layout.LAYER}+gzip")
    manifest = {
        "layers": [PLAIN, GZIP],
        "annotations": {"org.opencontainers.image.base.name": "localhost/x", "mine": "1"},
    }
    whole = complete_manifest(manifest, CONFIG, {digest("a"): there})
    assert whole["annotations"] == {"mine": "1"}
    assert [(layer["digest"], layer["size"]) for layer in whole["layers"]] == [(digest("1"), 10), (digest("2"), 20)]


class Buildah:
    """Replaces `buildah push` of an image of two layers: writes a layout, and leaves blobs that exist alone."""

    def __init__(self, *compressions: str) -> None:
        self.compressions = list(compressions)
        self.calls: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], *, cwd: Path, doing: str, whole: bool) -> str:
        self.calls.append(tuple(argv))
        blobs = cwd / "image" / "blobs" / "sha256"
        kind = f"{oci_layout.LAYER}+{self.compressions.pop(0)}"
        layers = [
            PLAIN if (blobs / ("a" * 64)).exists() else {"mediaType": kind, "digest": digest("1"), "size": 10},
            {"mediaType": kind, "digest": digest("2"), "size": 20},
        ]
        config = self._write(blobs, CONFIG)
        manifest = self._write(blobs, {"layers": layers, "config": config})
        (cwd / "image" / "index.json").write_text(json.dumps({"manifests": [manifest]}))
        return ""

    @staticmethod
    def _write(blobs: Path, value: object) -> dict[str, object]:
        data = json.dumps(value).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}


IMAGE = Image(id="1d", digest="d", key="k")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_only_layers_that_the_registry_lacks_are_compressed_and_these_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = Buildah("gzip")
    monkeypatch.setattr(process, "run", tool.run)
    kind = packed_layers.media_type("gzip")
    there = PackedLayer(diff_id=digest("a"), digest=digest("7"), size=70, media_type=kind)
    name, blobs = image_layout.write(IMAGE, tmp_path, {digest("a"): there}, "gzip")
    assert [argv[:6] for argv in tool.calls] == [("buildah", "push", "--quiet", "--format", "oci", "1d")]
    assert [blobs[digest("7")], blobs[digest("2")], len(blobs)] == [70, 20, 3]
    index = json.loads((tmp_path / "image/index.json").read_text())
    assert [each["digest"] for each in index["manifests"]] == [name]
    manifest = (tmp_path / "image/blobs/sha256" / name.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == name
    assert not (tmp_path / "image/blobs/sha256" / ("a" * 64)).exists()
    assert [each.digest for each in packed_layers.load("gzip")] == [digest("2")]


def test_a_compression_that_containers_conf_sets_is_overruled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Buildah("zstd", "gzip")
    monkeypatch.setattr(process, "run", tool.run)
    image_layout.write(IMAGE, tmp_path, {}, "gzip")
    assert ["--compression-format" in argv for argv in tool.calls] == [False, True]


def test_zstd_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Buildah("zstd")
    monkeypatch.setattr(process, "run", tool.run)
    image_layout.write(IMAGE, tmp_path, {}, "zstd")
    assert tool.calls[0][5:7] == ("--compression-format", "zstd") and len(tool.calls) == 1
