"""Layers as files, from which a store that vanished is filled again; podman and the store are played by the test."""

from __future__ import annotations

import hashlib
import json
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
