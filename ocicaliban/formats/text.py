"""Write values for people."""

from __future__ import annotations

_LONGEST = 4000
"""Characters of a line that are printed. Anything longer is a value, and nobody reads it at a terminal."""


def printable(text: str) -> str:
    """Return a text in one line, with escapes for the characters that a terminal would not print."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shown(text: str) -> str:
    """Return a text as it may be printed: a line stays a line, and no character in it controls the terminal.

    Names, keys and messages come from projects that others wrote. Tabs stay. A very long line is cut in its middle.
    """
    return "\n".join(map(_shown_line, text.split("\n")))


def _shown_line(line: str) -> str:
    line = "\t".join(map(printable, line.split("\t")))
    if len(line) <= _LONGEST:
        return line
    half = _LONGEST // 2
    return f"{line[:half]} [... {len(line) - _LONGEST} characters ...] {line[-half:]}"


def amount(count: int) -> str:
    """Write a number of bytes with a unit: 1.5 MB."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
