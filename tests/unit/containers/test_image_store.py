"""The image store, read from files that look like those of containers/storage."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.containers import buildah, image_store, podman
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.model.image import Image
from ocicaliban.system import files

KEY = "ab" * 32
NAME = f"localhost/ocicaliban/python/{KEY[:32]}:latest"
IMAGES = [
    {
        "id": "1d",
        "digest": "sha256:aa",
        "names": [NAME],
        "names-history": ["localhost/former:latest"],
        "layer": "top",
        "big-data-digests": {"manifest": "sha256:bb", "manifest-sha256:cc": "sha256:cc", "sha256:1d": "sha256:1d"},
    },
    {"id": "2e", "digest": "sha256:dd", "layer": "bottom"},
]
LAYERS = [
    {"id": "top", "parent": "bottom", "diff-digest": "sha256:t", "diff-size": 5},
    {"id": "bottom", "diff-digest": "sha256:b", "diff-size": 7},
    {"id": "no digest"},
]


class Store:
    """A store in a folder; each write replaces the file, as containers/storage does."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, kind: str, value: object) -> None:
        path = self.root / f"overlay-{kind}" / f"{kind}.json"
        path.parent.mkdir(exist_ok=True)
        files.replace(path, value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store(tmp_path / "storage")
    made.root.mkdir()
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr(podman, "store_location", lambda: (made.root, "overlay"))
    made.write("images", IMAGES)
    made.write("layers", LAYERS)
    return made


def test_the_file_that_a_variable_names_says_where_the_store_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.conf"
    own.write_text("")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(own))
    assert own in image_store.settings_files()
    before = image_store._conf_stamp()
    os.utime(own, (1, 1))
    assert image_store._conf_stamp() != before


def test_podman_is_asked_once_where_the_store_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_store.location() == (store.root, "overlay")
    monkeypatch.setattr(podman, "store_location", lambda: pytest.fail("podman is asked again"))
    assert image_store.location() == (store.root, "overlay")
    monkeypatch.setattr(podman, "store_location", lambda: (Path("/other"), "vfs"))
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    assert image_store.location() == (Path("/other"), "vfs")


def test_images_are_found_by_key_name_and_digest(store: Store) -> None:
    first, second = image_store.images()
    assert first == Image(id="1d", digest="sha256:aa", key="", names=(NAME,), former=("localhost/former:latest",))
    assert image_store.find_layer("python 3", KEY) == Image(id="1d", digest="sha256:aa", key=KEY, names=(NAME,))
    assert image_store.find_layer("apt", KEY) is None and image_store.find_layer("python", KEY, (second,)) is None
    assert image_store.by_name(NAME) == first and image_store.by_name("localhost/former:latest") is None
    for digest in ("sha256:1d", "sha256:aa", "sha256:bb", "sha256:cc"):
        assert image_store.by_digest(digest) == first
    assert image_store.by_digest("sha256:dd") == second and image_store.by_digest("sha256:ee") is None
    assert image_store.last_manifest("1d") == "sha256:bb" and image_store.last_manifest("2e") == "sha256:dd"
    assert image_store.last_manifest("3f") == ""


def test_a_store_without_images_is_empty_and_a_broken_one_an_error(store: Store) -> None:
    (store.root / "overlay-images" / "images.json").unlink()
    assert image_store.images() == ()
    store.write("images", "{")
    with pytest.raises(ToolError, match=r"images\.json cannot be read"):
        image_store.images()


def test_what_is_new_in_the_store_is_seen(store: Store) -> None:
    assert len(image_store.images()) == 2
    store.write("images", IMAGES[:1])
    assert len(image_store.images()) == 1


def test_sizes_are_those_of_the_layers(store: Store) -> None:
    assert image_store.layer_sizes() == {"sha256:t": 5, "sha256:b": 7}
    assert image_store.layer_chains() == {"1d": {"top": 5, "bottom": 7}, "2e": {"bottom": 7}}
    assert image_store.image_sizes() == {"1d": 12, "2e": 7}
    store.write("layers", "{")
    assert image_store.layer_sizes() == {} == image_store.layer_chains()


def test_the_images_of_containers_are_told(store: Store) -> None:
    assert image_store.images_in_containers() == frozenset()
    store.write("containers", [{"image": "1d"}, {}])
    assert image_store.images_in_containers() == {"1d", ""}
    store.write("containers", "{")
    with pytest.raises(ToolError, match="list of containers"):
        image_store.images_in_containers()


def test_a_config_is_read_from_its_file(store: Store) -> None:
    image = Image(id="1d", digest="", key="")
    with pytest.raises(ToolError, match="the image 1d cannot be read"):
        image_store.image_config(image)
    folder = store.root / "overlay-images" / "1d"
    folder.mkdir()
    (folder / f"={base64.b64encode(b'sha256:1d').decode()}").write_text('{"os": "linux"}')
    assert image_store.image_config(image) == {"os": "linux"}


def test_the_last_use_of_an_image_is_noted(store: Store) -> None:
    assert image_store.last_used("1d") == 0
    image_store.mark_used("1d")
    assert image_store.last_used("1d") > 0
    image_store.forget_use("1d")
    image_store.forget_use("1d")
    assert image_store.last_used("1d") == 0


@pytest.mark.parametrize("named", [True, False])
def test_an_imported_layer_is_tagged_unless_it_has_its_name(
    store: Store, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    tags: list[tuple[str, str]] = []

    def pull(folder: Path, layout: str, **_: Any) -> str:
        assert layout == f"ocicaliban/python/{KEY[:32]}"
        store.write("images", IMAGES if named else IMAGES[1:])
        return "1d"

    def tag(image: str, name: str) -> None:
        tags.append((image, name))
        store.write("images", IMAGES)

    monkeypatch.setattr(buildah, "pull_layout", pull)
    monkeypatch.setattr(buildah, "tag", tag)
    assert image_store.import_layer(Path("/w"), "python", KEY).id == "1d"
    assert tags == ([] if named else [("1d", NAME)])


def test_a_layer_that_was_removed_meanwhile_is_an_error(store: Store) -> None:
    with pytest.raises(OcicalibanError, match="the image of the layer 'apt' was removed"):
        image_store.layer_image("apt", KEY)
