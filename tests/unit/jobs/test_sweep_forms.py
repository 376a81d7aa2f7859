"""Which form a sweep file has; `test_sweep_file` tests what each form says, and its faults."""

from __future__ import annotations

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.jobs.sweep_forms import READERS, Object, form_of, positioned, quoted


@pytest.mark.parametrize(
    ("path", "text", "form"),
    [
        ("a.json", "a = 1", "json"),
        ("a.TOML", "{}", "toml"),
        ("a.yml", "{}", "yaml"),
        ("a.yaml", "", "yaml"),
        ("stdin", "", "json"),
        ("stdin", ' // x = 1\n# y\n/* z */ [{"a": 1}]', "json"),
        ("stdin", "# x\n[[sweep]]\na = 1", "toml"),
        ("stdin", "[[ {} ]]", "json"),
        ("a.txt", '"[a,b]" = [1, 2]', "toml"),
        ("a.txt", "# x\n'[a,b]': [1, 2]", "yaml"),
        ("a", "- a: 1\n- b: =", "yaml"),
    ],
)
def test_the_form_is_told_by_the_suffix_or_else_by_the_text(path: str, text: str, form: str) -> None:
    assert form_of(path, text) == form


@pytest.mark.parametrize(
    ("form", "text", "places"),
    [
        ("json", '[{"a": 1,\n  "b": 2}]', [(1, 3), (2, 3)]),
        ("toml", "a = 1\n\nb = 2\n", [(1, 0), (3, 0)]),
        ("yaml", "- a: 1\n  b: 2\n", [(1, 3), (2, 3)]),
    ],
)
def test_each_key_has_its_place(form: str, text: str, places: list[tuple[int, int]]) -> None:
    written = READERS[form](text, "x")  # type: ignore[index]
    root = written.root[0] if isinstance(written.root, list) else written.root
    assert root == Object([("a", 1), ("b", 2)])
    assert [written.at(number) for number in (0, 1)] == places


def test_a_place_has_what_is_known_of_it() -> None:
    assert [positioned("x", 3, 4), positioned("x", 3, 0), positioned("x", 0, 4)] == ["x:3:4", "x:3", "x"]


def test_a_key_is_quoted_on_one_line() -> None:
    assert quoted("a\nb") == r"'a\nb'" and quoted("x" * 61) == f"'{'x' * 60}...'"


def test_aliases_cannot_stand_for_billions_of_values() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UsageError, match="aliases stand for more than 1,000,000 values"):
        READERS["yaml"]("\n".join(lines), "bomb.yml")
