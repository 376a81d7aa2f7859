"""Layers as files, from which a store that vanished is filled again; podman and the store are played by the test."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocicaliban.containers import image_store, layer_cache, own_store, podman
from ocicaliban.model.image import Image

DATA = {hashlib.sha256(text).hexdigest(): text for text in (b"base", b"packages")}
DIFF_IDS = [f"sha256:{name}" for name in DATA]
CONFIG = json.dumps({"rootfs": {"diff_ids": DIFF_IDS}}, indent=1)  # not as we write one
IMAGE = Image(id=hashlib.sha256(CONFIG.encode()).hexdigest(), digest="", key="")


class Store:
    """Notes which layers podman writes, and what is imported."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.imported: dict[str, bytes] = {}

    def save(self, image: str, layout: Path, *, doing: str) -> None:
        for name, data in DATA.items():
            blob = layout / "blobs" / "sha256" / name
            if not blob.exists():
                blob.write_bytes(data)
                self.written.append(name)

    def load(self, folder: Path, layer: str, key: str) -> Image:
        blobs = folder / image_store.layer_folder(layer, key) / "blobs" / "sha256"
        self.imported = {blob.name: blob.read_bytes() for blob in blobs.iterdir()}
        return IMAGE


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(own_store, "is_node_local", lambda: True)
    monkeypatch.setattr(image_store, "image_config_text", lambda image: CONFIG)
    monkeypatch.setattr(podman, "save_layout", made.save)
    monkeypatch.setattr(image_store, "import_layer", made.load)
    return made


def keep(key: str) -> None:
    warned: list[str] = []
    layer_cache.keep(IMAGE, "python", key, warned.append)
    assert warned == []


def test_what_was_kept_is_stored_again_with_the_same_id(store: Store) -> None:
    assert layer_cache.find("python", "k1") is None
    keep("k1")
    assert layer_cache.find("python", "k1") == IMAGE
    assert {**DATA, IMAGE.id: CONFIG.encode()}.items() <= store.imported.items()


def test_a_layer_is_written_once(store: Store) -> None:
    keep("k1")
    keep("k1")
    keep("k2")
    assert sorted(store.written) == sorted(DATA)


@pytest.mark.parametrize("damage", [None, b"", b"half a layer"])
def test_an_image_of_which_a_file_is_gone_or_cut_is_built(store: Store, tmp_path: Path, damage: bytes | None) -> None:
    keep("k1")
    blob = next((tmp_path / "ocicaliban" / "layers" / "blobs").iterdir())
    if damage is None:
        blob.unlink()
    else:
        blob.write_bytes(damage)
    assert layer_cache.find("python", "k1") is None


def test_a_full_disk_is_told_and_ends_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: str, layout: Path, *, doing: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(podman, "save_layout", full)
    warned: list[str] = []
    layer_cache.keep(IMAGE, "python", "k1", warned.append)
    assert len(warned) == 1 and "No space left" in warned[0]


def test_a_store_that_stays_needs_no_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("k1")
    monkeypatch.setattr(own_store, "is_node_local", lambda: False)
    keep("k2")
    assert layer_cache.find("python", "k1") is None and len(store.written) == len(DATA)


@pytest.fixture
def old(store: Store, tmp_path: Path) -> Path:
    """Two images, one on top of the other, whose files are old, and a file that nothing lists."""
    keep("k1")
    lower = json.loads((record := tmp_path / "ocicaliban/layers/images/ocicaliban-python-k1.json").read_text())
    lower["layers"] = lower["layers"][:1]
    lower["config"] = "{}"
    (record.parent / "ocicaliban-base-k0.json").write_text(json.dumps(lower))
    (record.parent.parent / "blobs" / ("f" * 64)).write_bytes(b"left behind")
    for path in record.parent.parent.rglob("*"):
        os.utime(path, (1, 1))
    return record.parent.parent


def _named(*words: str) -> Callable[[Image], bool]:
    return lambda image: any(f"/{word}/" in name for name in image.names for word in words)


def _left(folder: Path) -> set[str]:
    known = dict(zip(DATA, ("base layer", "python layer"), strict=True))
    return {known.get(path.name, path.stem[-2:]) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("stays", "left"),
    [
        (("python",), {"k0", "k1", "base layer", "python layer"}),  # what is below it stays too
        (("base",), {"k0", "base layer"}),
        ((), set()),
    ],
)
def test_files_go_that_no_image_needs(old: Path, stays: tuple[str, ...], left: set[str]) -> None:
    would = layer_cache.forget(_named(*stays), dry_run=True)
    assert _left(old) > left
    assert layer_cache.forget(_named(*stays)) == would > 0
    assert _left(old) == left
    assert layer_cache.forget(_named(*stays)) == 0


def test_what_is_new_stays_and_all_layers_if_a_file_cannot_be_read(old: Path) -> None:
    images = old / "images"
    (images / "ocicaliban-other-k2.json").write_text('{"version": 2}')
    layer_cache.forget(_named())
    assert _left(old) == {"k2", "base layer", "python layer", "ff"}
    (images / "ocicaliban-other-k2.json").unlink()
    for path in (old / "blobs").iterdir():
        os.utime(path)
    assert layer_cache.forget(_named()) == 0


def test_where_nothing_was_kept_nothing_is_removed(store: Store, tmp_path: Path) -> None:
    assert layer_cache.forget(_named()) == 0
    assert not (tmp_path / "ocicaliban").exists()
