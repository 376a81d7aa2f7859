"""A push: what is compressed, what is sent, and when its caller is asked before."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban.containers import image_store, workspace
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image
from ocicaliban.registry import client, image_layout, packed_layers, push, transfer
from ocicaliban.registry.packed_layers import PackedLayer
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.reporter import SILENT
from ocicaliban.system import process

HERE = Repository(host="reg.example:5000", path="team/digits")
DESTINATION = Destination(repository=HERE, tag="v1")
KIND = packed_layers.media_type("gzip")
HEAVY = PackedLayer(diff_id="plain-heavy", digest="packed-heavy", size=1000, media_type=KIND)
LIGHT = PackedLayer(diff_id="plain-light", digest="packed-light", size=10, media_type=KIND)
IMAGE = Image(id="1d", digest="d", key="k")


class Registry:
    """A client whose repository has `blobs`, whose other repositories have `elsewhere`, and whose tag is `tagged`."""

    repository = HERE
    verified = True

    def __init__(self, blobs: set[str], elsewhere: Mapping[str, str] = {}, tagged: str = "") -> None:
        self.blobs, self.elsewhere, self.tagged = blobs, elsewhere, tagged
        self.checked = 0

    def check_push(self) -> None:
        self.checked += 1

    def has_blob(self, digest: str) -> bool:
        return digest in self.blobs

    def mount_blob(self, digest: str, source: str) -> bool:
        return self.elsewhere.get(digest) == source

    def manifest_digest(self, tag: str) -> str:
        return self.tagged


class World:
    """The tools below `push`: what was compressed and sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.events: list[str] = []
        self.present: list[str] = []
        self.options: dict[str, Any] = {}

        @contextlib.contextmanager
        def open_one() -> Iterator[Path]:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                yield Path(own)

        def write(image: Image, folder: Path, present: Mapping[str, PackedLayer], compression: str) -> object:
            self.present = sorted(present)
            packed_layers.remember([each for each in (HEAVY, LIGHT) if each.diff_id not in present], "gzip")
            self.events.append("write")
            return "manifest", {HEAVY.digest: 1000, LIGHT.digest: 10, "config": 5}

        def upload(folder: Path, destination: Destination, **options: Any) -> None:
            self.events.append("upload")
            self.options = options

        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setattr(workspace, "open_workspace", open_one)
        monkeypatch.setattr(
            image_store, "image_config", lambda image: {"rootfs": {"diff_ids": [HEAVY.diff_id, LIGHT.diff_id]}}
        )
        monkeypatch.setattr(image_layout, "write", write)
        monkeypatch.setattr(transfer, "upload", upload)

    def push(self, registry: Registry, before: Callable[[], None] | None = None) -> push.Pushed:
        self.events.clear()
        return push.push(
            IMAGE,
            DESTINATION,
            registry,  # type: ignore[arg-type]
            before=before or (lambda: self.events.append("before")),
            reporter=SILENT,
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_a_first_push_sends_everything(world: World) -> None:
    pushed = world.push(Registry(set()))
    assert (pushed.sent, pushed.saved, pushed.reference) == (1015, 0, f"{HERE}@manifest")
    assert world.events == ["before", "write", "before", "upload"] and world.options["verified"]
    assert {each.repository for each in packed_layers.load("gzip")} == {str(HERE)}


def test_what_the_registry_has_is_neither_compressed_nor_sent(world: World) -> None:
    packed_layers.remember([HEAVY, LIGHT], "gzip")
    pushed = world.push(Registry({HEAVY.digest}))
    assert world.present == [HEAVY.diff_id] and (pushed.sent, pushed.saved) == (15, 1000)


def test_a_push_of_what_is_there_sends_nothing_and_is_not_asked_before(world: World) -> None:
    packed_layers.remember([HEAVY, LIGHT], "gzip")
    registry = Registry({HEAVY.digest, LIGHT.digest, "config"}, tagged="manifest")
    assert world.push(registry).sent == 0 and world.events == ["write"]
    registry.tagged = "another"
    assert world.push(registry).sent == 0 and world.events == ["write", "before", "upload"]


def test_a_layer_of_another_repository_of_the_registry_is_mounted(world: World) -> None:
    theirs = evolve(HEAVY, repository=f"{HERE.host}/team/other")
    packed_layers.remember([theirs, evolve(LIGHT, repository="elsewhere.example/team/other")], "gzip")
    pushed = world.push(Registry(set(), {HEAVY.digest: "team/other", LIGHT.digest: "team/other"}))
    assert world.present == [HEAVY.diff_id] and (pushed.sent, pushed.saved) == (15, 1000)


def test_what_its_caller_raises_ends_a_push(world: World) -> None:
    def before() -> None:
        raise OcicalibanError("no quota")

    with pytest.raises(OcicalibanError, match="no quota"):
        world.push(Registry(set()), before)
    assert world.events == []


def test_a_refused_login_is_checked_by_a_new_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new, tools = Registry(set()), list[str]()
    monkeypatch.setattr(process, "tool", tools.append)
    monkeypatch.setattr(client, "client_for", lambda destination, actions, reporter: new)
    world.push(Registry(set()))
    world.options["check_login"]()
    assert new.checked == 1 and tools == ["skopeo"]
