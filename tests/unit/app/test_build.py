"""Build an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import build
from ocicaliban.app.requests import BuildRequest
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

BUILD = BuildRequest(mode="build", module="train.py", gpu_wanted=False)


def test_an_image_is_built_and_named(world: World) -> None:
    built = build.build(BUILD, "digits:v1")
    assert built.image is world.images[-1] and built.key
    assert ("buildah", "tag", built.image.id, "digits:v1") in world.tools
    assert list((world.folder / "state").rglob("plans/*"))
    with pytest.raises(UsageError, match="--tag 'Digits' is not a valid image name"):
        build.build(BUILD, "Digits")


def test_a_user_who_is_root_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    build.note_root()
    assert "running as root; ocicaliban needs no root" in capsys.readouterr().err
