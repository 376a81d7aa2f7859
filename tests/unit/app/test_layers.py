"""Recipes: list, describe and copy them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import layers
from ocicaliban.errors import OcicalibanError, UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_recipes_are_listed_described_and_copied(world: World) -> None:
    assert ("apt", "built-in") in [row[:2] for row in layers.listed()], layers.listed()
    assert "apt" in layers.described("apt")[0]
    copy = layers.eject("apt")
    assert copy == world.project / "layers/apt" and (copy / "layer.toml").is_file()
    with pytest.raises(OcicalibanError, match="exists already"):
        layers.eject("apt")
    for use_case in (layers.described, layers.eject):
        with pytest.raises(UsageError, match="aptt"):
            use_case("aptt")
