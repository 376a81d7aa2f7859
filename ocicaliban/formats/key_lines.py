"""Find the line of a key in a TOML text written by hand (pure)."""

from __future__ import annotations

import re

Keys = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_NAME = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"^\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_PART = re.compile(r"""\"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")


def _names(dotted: str) -> list[str]:
    return ["".join(parts) for parts in _PART.findall(dotted)]


def line_of(text: str, path: Keys) -> int:
    """Return the 1-based line of the key at `path` in a TOML text, or 0 if it is unknown.

    A number in `path` is the index of an array's element. tomllib keeps no positions; a scan of headers and keys finds
    what people write by hand.
    """
    table: Keys = ()
    counts: dict[Keys, int] = {}
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            table = ()
            for name in _names(match[2]):
                if table in counts:
                    table = (*table, counts[table])
                table = (*table, name)
            if len(match[1]) == 2:
                counts[table] = counts.get(table, -1) + 1
            if table == path or (table not in counts and table == path[: len(table)]):
                best = number
            if table in counts:
                table = (*table, counts[table])
                best = number if table == path[: len(table)] else best
        elif match := _KEY.match(line):
            key = (*table, *_names(match[1]))
            if key == path[: len(key)]:
                best = number
                if key == path:
                    break
    return best
