"""Read JSON with comments and trailing commas, and find the position of a key (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# Also an unclosed one, to the end of its line. It is matched atomically, so that no text takes long.
_STRING = r'(?>"(?:\\.|[^"\\\n])*"?)'
# The comments of commentjson, which Caliban documents: "#" and "//" to the end of the line, but not in strings.
_COMMENT = re.compile(rf"({_STRING})|/\*.*?\*/|(?://|\#)[^\n]*", re.S)
# commentjson also allows a comma after the last element, but only if there is an element.
_LAST_COMMA = re.compile(rf"({_STRING}|[\[{{,:]\s*,)|,(?=\s*[\]}}])")
_JSON_KEY = re.compile(rf"({_STRING})(?=\s*:)|{_STRING}")
_NOT_NEWLINE = re.compile(r"[^\n]")


def _bare(text: str) -> str:
    """Replace comments and trailing commas by spaces, so that every other character keeps its position."""

    def blank(match: re.Match[str]) -> str:
        return match[1] or _NOT_NEWLINE.sub(" ", match[0])

    return _LAST_COMMA.sub(blank, _COMMENT.sub(blank, text))


def parse_json(text: str | bytes) -> Any:
    """Return the value in a JSON text. Raises ValueError if it is not JSON, or if no person can have written it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as exc:
        raise ValueError("it is not UTF-8") from exc
    except ValueError as exc:  # Python's limit on the digits of a number
        raise ValueError("it contains a number with thousands of digits") from exc


def read_json(
    text: str, pairs: Callable[[list[tuple[str, Any]]], Any] = dict, number: Callable[[str], Any] = float
) -> Any:
    """Decode JSON that may have comments (`#`, `//`, `/* */`) and trailing commas, as commentjson does.

    `pairs` turns an object's keys and values, in the order of the text, into the value that represents it. `number`
    does so with the text of a number that has a point or an exponent. Raises
    json.JSONDecodeError with line and column, ValueError for a number with thousands of digits, and RecursionError.
    """
    try:
        # Many files have no comments; then this takes a sixth of the time.
        return json.loads(text, object_pairs_hook=pairs, parse_float=number)
    except json.JSONDecodeError:
        return json.loads(_bare(text), object_pairs_hook=pairs, parse_float=number)


def json_key(text: str, number: int) -> tuple[int, int]:
    """Return the 1-based line and column of the key in a JSON text that has `number` other keys before it."""
    bare = _bare(text)
    keys = (match.start() for match in _JSON_KEY.finditer(bare) if match[1])
    at = next(start for count, start in enumerate(keys) if count == number)
    return bare.count("\n", 0, at) + 1, at - bare.rfind("\n", 0, at)
