"""Change a file as accidents, other programs and attackers do. Everything follows from the random numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

_TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b]0;x\x07", b"\r", b"\t", b"\n\n", b"'", b'"', b'"""', b"\\", b"#"),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b"(",
        b")",
        b"[[",
        b"]]",
        b"=",
        b":",
        b",",
        b"*",
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"!!int ''",
    ),
    *(b"null", b"true", b"1e999", b"-1", b"NaN", b"9" * 5000, b"0x" + b"f" * 5000, b"1979-05-27", b"2024-13-45"),
    *(
        b"[" * 3000,
        b"{" * 300,
        b"(" * 300,
        b"- " * 300,
        b"a." * 2000,
        b"-" * 3000,
        b"x" * 100_000,
        "ü\u202e\U0001f600".encode(),
    ),
    *(
        b"-r requirements.txt\n",
        b"-r .\n",
        b"-e .\n",
        b"-c /dev/null\n",
        b"../" * 40,
        b"/",
        b"~",
        b"$HOME",
        b"${a}",
        b"%(a)s",
    ),
    *(
        b"a @ file:///",
        b"; python_version < '3'",
        b"==*",
        b">=1,<0",
        b"[extra]",
        b"@",
        b"git+https://",
        b"--hash=sha256:0",
    ),
    *(b"tool = 1\n", b"project = 1\n", b"[tool]\nuv = 1\n", b"[project]\n", b"[project]\nname = 1\n", b"[[package]]\n"),
    b"a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\n"
    b"c: &c [*b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c]\ne: [*d, *d, *d]\n",
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, float("inf"), "", "x", "/", "..", "\0", "\ud800", "a\nb", "\x1b[31m"),
    *([], {}, [[]], [1], ["x"], [None], {"x": 1}, {"": None}, [{"x": []}], "x" * 50_000, "1.0", ">=3", "3.11"),
)
_IN_TEXT = (
    b"1",
    b"true",
    b'""',
    b'"x"',
    b"[]",
    b"{}",
    b"[1]",
    b'["x"]',
    b"{x = 1}",
    b"[[]]",
    b"1.5",
    b'"/"',
    b"[{}]",
    b"x",
)
_TOML_VALUE = re.compile(rb"(?<==)[^\n]*|(?<=:)[^\n]+")


def mutated(data: bytes, random: Random, others: tuple[bytes, ...] = ()) -> bytes:
    """Return a changed file: one to four mutations of `data`, perhaps with pieces of `others`."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_MUTATIONS)(data, random, others)
    return data


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 1, 4, 16, 64, 1000)))


def _flip(data: bytes, random: Random, _: object) -> bytes:
    if not data:
        return b"\xff"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, random: Random, _: object) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(data: bytes, random: Random, _: object) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random, _: object) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 3, 50)) + data[end:]


def _insert(data: bytes, random: Random, _: object) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(_TOKENS) + data[at:]


def _replace(data: bytes, random: Random, _: object) -> bytes:
    start, end = _span(data, random)
    return data[:start] + random.choice(_TOKENS) + data[end:]


def _splice(data: bytes, random: Random, others: tuple[bytes, ...]) -> bytes:
    other = random.choice(others) if others else data
    start, end = _span(other, random)
    at = random.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def _lines(data: bytes, random: Random, _: object) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(3):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            lines.insert(two, lines[one])
        case _:
            del lines[one]
    return b"".join(lines)


def _value_in_text(data: bytes, random: Random, _: object) -> bytes:
    """Give a key of a TOML, YAML or INI file a value of another kind."""
    places = [match.span() for match in _TOML_VALUE.finditer(data)]
    if not places:
        return data
    start, end = random.choice(places)
    return data[:start] + b" " + random.choice(_IN_TEXT) + data[end:]


def _value_in_json(data: bytes, random: Random, _: object) -> bytes:
    """Give a place in a JSON file a value of another kind, or remove it."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    pending = [root]
    while pending and len(places) < 2000:
        one = pending.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, value in inner:
            places.append((one, key))
            pending.append(value)
    if not places:
        return json.dumps(random.choice(_VALUES)).encode()
    holder, key = random.choice(places)
    if random.random() < 0.2:
        del holder[key]
    else:
        holder[key] = random.choice(_VALUES)
    return json.dumps(root).encode()


_MUTATIONS: tuple[Callable[[bytes, Random, tuple[bytes, ...]], bytes], ...] = (
    *(_flip, _cut, _remove, _repeat, _insert, _insert, _replace, _splice, _lines),
    *(_value_in_text, _value_in_text, _value_in_text, _value_in_json, _value_in_json, _value_in_json),
)
