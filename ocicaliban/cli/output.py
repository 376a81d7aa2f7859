"""Print the result of a command to stdout."""

from __future__ import annotations

from ocicaliban.formats.text import shown


def print_lines(*lines: str) -> None:
    """Print lines for people, without characters that control the terminal. Raises OSError if stdout is closed."""
    for line in lines:
        print(shown(line), flush=True)
