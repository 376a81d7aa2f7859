"""By which name a layer gets the image below it: the name enters the layer's digest."""

from __future__ import annotations

import pytest

from ocicaliban.build import builder
from ocicaliban.containers import buildah
from ocicaliban.errors import ToolError
from ocicaliban.model.image import Image

OURS = f"localhost/ocicaliban/base/{'1d' * 16}:latest"


@pytest.mark.parametrize(
    ("names", "below", "known_as", "tagged"),
    [
        (("docker.io/library/python:3.12",), "", OURS, [OURS]),
        (("localhost/mine:1", OURS), "", OURS, []),
        ((), "", OURS, [OURS]),
        (("localhost/mine:1", "localhost/ocicaliban/apt/1:latest"), "localhost/ocicaliban/apt/1:latest",
         "localhost/ocicaliban/apt/1:latest", []),
    ],
)  # fmt: skip
def test_a_base_has_one_name_whatever_its_users_call_it(
    names: tuple[str, ...], below: str, known_as: str, tagged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(buildah, "tag", lambda image, name: made.append(name))
    parent = Image(id="1d" * 32, digest="", key="", names=names)
    assert builder._known_as(parent, below) == known_as
    assert made == tagged


def test_a_base_in_a_store_that_cannot_be_changed_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(image: str, name: str) -> None:
        raise ToolError("read-only image store")

    monkeypatch.setattr(buildah, "tag", refuse)
    parent = Image(id="1d" * 32, digest="", key="", names=("docker.io/library/python:3.12",))
    assert builder._known_as(parent, "") == parent.id
