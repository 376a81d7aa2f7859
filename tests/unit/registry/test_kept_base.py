"""The base of a pushed image is kept under a tag of its own, if it cannot be fetched elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image
from ocicaliban.registry import kept_base, push
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.reporter import Reporter

MADE = Image(id="ba5e" * 16, digest="", key="", names=("localhost/ocicaliban/base/4ey:latest",))
TOP = Image(id="70b0" * 16, digest="", key="", names=("localhost/ocicaliban/python/1:latest",))
LAYERS = {MADE.id: ["sha256:1", "sha256:2"], TOP.id: ["sha256:1", "sha256:2", "sha256:3"]}
TO = Destination(repository=Repository(host="ghcr.io", path="ada/digits"), tag="v1")
TAG = f"ocicaliban-base-{'ba5e' * 8}"


class Registry:
    """A registry that has these tags."""

    def __init__(self, *tags: str) -> None:
        self.tags = tags

    def manifest_digest(self, tag: str) -> str:
        """Return a digest of the tags that there are."""
        return "sha256:there" if tag in self.tags else ""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    images = [TOP, MADE]
    monkeypatch.setattr(image_store, "images", lambda: tuple(images))
    monkeypatch.setattr(image_store, "image_config", lambda image: {"rootfs": {"diff_ids": LAYERS.get(image.id, [])}})
    return images


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []

    def record(image: Image, to: Destination, _registry: object, **_: object) -> None:
        sent.append(f"{image.id[:4]} {to.reference}")

    monkeypatch.setattr(push, "push", record)
    return sent


def keep(registry: Any) -> list[str]:
    said: list[str] = []
    kept_base.keep(TOP, TO, registry, Reporter(said.append))
    return said


def test_it_is_pushed_once(store: list[Image], pushed: list[str]) -> None:
    assert keep(Registry()) == [] and pushed == [f"ba5e ghcr.io/ada/digits:{TAG}"]
    assert keep(Registry(TAG)) == [] and len(pushed) == 1
    assert kept_base.is_tag(TAG) and not kept_base.is_tag("v1")


@pytest.mark.parametrize(
    "names",
    [
        ("localhost/ocicaliban/base/4ey:latest", "docker.io/library/python:3.12"),  # a registry has it
        ("localhost/mine:latest",),
        (),
    ],
)
def test_one_that_is_elsewhere_is_not(store: list[Image], pushed: list[str], names: tuple[str, ...]) -> None:
    store[1] = Image(id=MADE.id, digest="", key="", names=names)
    assert keep(Registry()) == [] and pushed == []


def test_a_fault_is_a_warning_since_the_image_is_there(store: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OcicalibanError("denied")

    monkeypatch.setattr(push, "push", fails)
    assert keep(Registry()) == ["warning: the base image is not kept in ghcr.io/ada/digits: denied"]
