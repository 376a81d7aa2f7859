"""Write values for people."""

from __future__ import annotations

import codecs
import re
import sys

LONGEST = 4000
"""Characters of a line that are printed. Anything longer is a value, and nobody reads it at a terminal."""


def printable(text: str) -> str:
    """Return a text in one line, with escapes for the characters that a terminal would not print."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shown(text: str, *, whole: bool = False, longest: int = LONGEST) -> str:
    """Return a text as it may be printed: a line stays a line, and no character in it controls the terminal.

    Names, keys and messages come from projects that others wrote. Tabs stay. A line of more than `longest` characters
    is cut near its end, unless it is to be printed `whole`.
    """
    return "\n".join(_shown_line(line, sys.maxsize if whole else longest) for line in text.split("\n"))


def _shown_line(line: str, longest: int) -> str:
    line = "\t".join(map(printable, line.split("\t")))
    if len(line) <= longest:
        return line
    end = longest // 4
    return f"{line[: longest - end]} [... {len(line) - longest} characters ...] {line[-end:]}"


_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, moves
    r"|\x1b[@-Z\\-_]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,4096}\x1b?)?)\Z")


def without_controls(text: str) -> str:
    """Return what a program wrote without the sequences that control a terminal; a carriage return ends a line."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class TerminalText:
    """Makes a stream of a program's output fit to be shown at a terminal, in pieces that may end anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def add(self, block: bytes) -> str:
        """Return what may be printed after this block; the beginning of a sequence waits for its end."""
        text = self._rest + self._decoder.decode(block)
        cut = found.start() if (found := _UNFINISHED.search(text)) else len(text)
        self._rest = text[cut:]
        return without_controls(text[:cut])

    def end(self) -> str:
        """Return what is left."""
        return without_controls(self._rest + self._decoder.decode(b"", True))


def amount(count: int) -> str:
    """Write a number of bytes with a unit: 1.5 MB."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
