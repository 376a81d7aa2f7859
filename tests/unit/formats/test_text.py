"""Values as people read them."""

from __future__ import annotations

import pytest

from ocicaliban.formats.text import amount, printable, shown


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2 * 10**13, "20000.0 GB")]
)
def test_a_number_of_bytes(count: int, text: str) -> None:
    assert amount(count) == text


def test_somebody_elses_words_cannot_lead_a_terminal() -> None:
    assert printable("\x1b]0;title\x07ä\rb\u202e") == "\\x1b]0;title\\x07ä\\rb\\u202e"
    assert shown("a\tb\nc \x9b31m d\n") == "a\tb\nc \\x9b31m d\n"
    assert shown("caf\udce9") == "caf\\udce9"  # a file name that is not UTF-8


def test_a_very_long_line_is_cut() -> None:
    assert shown("x" * 4000) == "x" * 4000
    cut = shown("a" * 100_000 + "b\nc")
    assert cut.startswith("aaa") and cut.endswith("aab\nc") and "[... 96001 characters ...]" in cut
