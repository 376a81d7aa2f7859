"""TOML into types: a mistake is reported with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.formats.key_lines import line_of
from ocicaliban.formats.toml import parse_toml, read_toml, structure, table_in


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "1" * 5000, "a number with thousands of digits"),
        ("b = 1\n" + "a." * 5000 + "a = 1", r"f\.toml:2: not valid TOML: a key of more than 1000 parts"),
        ("[" + "a . " * 5000 + "a]\n", "a key of more than 1000 parts"),
        ("x = {'b' = 1, " + "a." * 5000 + "a = 1}\n", "a key of more than 1000 parts"),
        ("a = 1\nb = }", r"f\.toml:2: not valid TOML"),
        ('a = 1\nb = [{c = "x\\u0000"}]', r"f\.toml:2: .*a NUL character"),
        ('"\\U00000000" = 1', r"f\.toml:1: .*a NUL character"),
    ],
)
def test_a_text_that_no_person_wrote_is_an_error_and_no_traceback(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_toml(tmp_path / "f.toml")


def test_what_only_looks_like_a_nul_is_none(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("a = '\\u0000' # \\u0000\n")
    assert read_toml(tmp_path / "f.toml")[1] == {"a": "\\u0000"}


def test_a_long_text_with_dots_is_no_key() -> None:
    dots = "a." * 5000
    assert parse_toml(f"x = 'b {dots}'\n") == {"x": f"b {dots}"}
    assert parse_toml(f'x = ["{dots}", """\n{"..." * 5000}"""]\n') == {"x": [dots, "..." * 5000]}


def test_a_table_of_another_program_may_have_any_form() -> None:
    raw = {"tool": {"uv": {"index": []}, "x": 1}}
    assert table_in(raw, "tool", "uv") == {"index": []}
    assert table_in(raw, "tool", "x") == table_in(raw, "tool", "y", "z") == table_in({"tool": 1}, "tool", "uv") == {}


def test_a_mark_of_a_windows_editor_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_toml(tmp_path / "f.toml") == ("a = 1\n", {"a": 1})
