"""TOML into types: a mistake is reported with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.formats.key_lines import line_of
from ocicaliban.formats.toml import structure


def test_the_line_of_the_second_element() -> None:
    text = "[[steps]]\ncache = 1\n[[steps]]\ncache = 2\n"
    assert [line_of(text, ("steps", n, "cache")) for n in (0, 1)] == [2, 4]
    assert line_of(text, ("nothing",)) == 0


def test_a_type_is_checked_the_second_time_as_the_first() -> None:
    kind = dict[str, tuple[str, ...]]
    assert structure({"run": ["base"]}, kind, path=Path("f")) == {"run": ("base",)}
    for _ in range(2):
        with pytest.raises(UsageError, match="f:1: expected a table, got a whole number in modes"):
            structure(3, kind, path=Path("f"), text="modes = 3\n", keys=("modes",))
