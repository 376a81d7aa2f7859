"""The page about declared environments has a row for each way of declaring one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocicaliban.dependencies import debian_packages, python_files
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.registry import WAYS
from ocicaliban.dependencies.script_header import ScriptHeader
from ocicaliban.project import config

PAGE = Path(__file__).parents[3] / "docs/reference/environment.md"
FIRST_CELLS = [
    line.split(" | ")[0] for line in PAGE.read_text().partition("## The files")[2].splitlines() if line.startswith("| ")
]


def words(way: type[Declaration]) -> tuple[str, ...]:
    """What the first cell of the row of a way must have."""
    if way is ScriptHeader:
        return ("PEP 723",)
    if way.FILE != "pyproject.toml":
        return (f"`{way.FILE}`",)
    table = {"": "[project]", "hatch": "[tool.hatch.envs.default]"}.get(way.TOOL, f"[tool.{way.TOOL}]")
    return (table,)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_a_row(way: type[Declaration]) -> None:
    rows = [cell for cell in FIRST_CELLS if all(word in cell for word in words(way))]
    assert len(rows) == 1, f"{PAGE.name}: one row for {way.__name__}, with {words(way)}"


@pytest.mark.parametrize("name", [*python_files.NAMES, debian_packages.NAME, config.CALIBAN, "postBuild", "start"])
def test_each_other_file_has_a_row(name: str) -> None:
    assert sum(f"`{name}`" in cell for cell in FIRST_CELLS) == 1


def test_the_order_on_the_page_is_that_of_the_ways() -> None:
    order = PAGE.read_text().partition("## The order")[2].partition("Four rules")[0]
    listed = re.findall(r"`(\[[a-z.]+\]|[\w.-]+\.(?:toml|lock|txt|py|cfg|yml|yaml)|Pipfile(?:\.lock)?)`", order)
    ranks = []
    for way in WAYS:
        [word] = words(way)
        if way is not ScriptHeader:
            ranks.append(listed.index(word.strip("`")))
    own_tables = [rank for rank, way in zip(ranks, WAYS, strict=False) if way.FILE == "pyproject.toml"]
    assert ranks == sorted(ranks) and own_tables
