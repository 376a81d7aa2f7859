"""Print the result of a command to stdout. Commands print through these functions alone; a test keeps it so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from ocicaliban.formats import colours
from ocicaliban.formats.colours import Line
from ocicaliban.formats.text import TerminalText, shown


def print_lines(*lines: str) -> None:
    """Print lines for people, without characters that control the terminal. Raises OSError if stdout is closed."""
    for line in lines:
        print(shown(line), flush=True)


def print_styled(lines: Iterable[Line]) -> None:
    """Print lines for people as `print_lines` does, with their colours where the terminal shows any."""
    coloured = colours.wanted(sys.stdout)
    for line in lines:
        if coloured and shown(line.text) == line.text:
            marked = colours.painted(line.text[line.start : line.end], line.style)
            print(line.text[: line.start] + marked + line.text[line.end :], flush=True)
        else:
            print_lines(line.text)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON, in ASCII: so nothing in it controls a terminal."""
    print(json.dumps(value, indent=indent), flush=True)


def print_exactly(texts: Iterable[str]) -> None:
    """Print texts for a shell or a file, character by character; at a terminal, without those that control it."""
    terminal = sys.stdout.isatty()
    for text in texts:
        sys.stdout.write(shown(text, whole=True) if terminal else text)
    sys.stdout.flush()


def print_bytes(blocks: Iterable[bytes], *, raw: bool = False) -> None:
    """Print what a program wrote, as it comes: at a terminal without what controls it, unless it is `raw`."""
    made = None if raw or not sys.stdout.isatty() else TerminalText()
    for block in blocks:
        _write(block if made is None else made.add(block).encode(sys.stdout.encoding, "replace"))
    if made is not None:
        _write(made.end().encode(sys.stdout.encoding, "replace"))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
