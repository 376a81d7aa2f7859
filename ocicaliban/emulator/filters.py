"""Filters of ListCustomJobs and ListLogEntries, as their references have them: a text becomes a test (pure)."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Mapping

from attrs import frozen

Fields = Mapping[str, str]
"""What a filter can ask of a thing, by name."""

Test = Callable[[Fields], bool]


_EQUAL = frozenset({"=", "!="})
_ORDER = frozenset({"=", "!=", "<", "<=", ">", ">="})


@frozen(kw_only=True)
class Kind:
    """What filters of one kind of things can ask for: fields with their comparisons, and labels below a prefix.

    Of the fields `time` is one, by RFC 3339; `values` are those that others can have, where they are known. A label
    can be equal to a value, and `exists` tells whether `:*` can ask if it is there.
    """

    things: str
    fields: Mapping[str, frozenset[str]]
    labels: str
    exists: bool
    time: str
    values: Mapping[str, frozenset[str]] = {}


JOBS = Kind(
    things="custom jobs",
    fields={"display_name": _EQUAL | {":"}, "state": _EQUAL, "create_time": _ORDER},
    labels="labels.",
    exists=True,
    time="create_time",
    values={
        "state": frozenset(
            f"JOB_STATE_{name}"
            for name in (
                "UNSPECIFIED", "QUEUED", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED",
                "PAUSED", "EXPIRED", "UPDATING", "PARTIALLY_SUCCEEDED",
            )
        )
    },
)  # fmt: skip
ENTRIES = Kind(
    things="log entries",
    fields={"resource.type": _EQUAL, "timestamp": _ORDER},
    labels="resource.labels.",
    exists=False,
    time="timestamp",
)

_TOKEN = re.compile(
    r"""\s*(?: (?P<mark>[()])
          | (?P<op>!=|<=|>=|=|<|>|:)
          | (?P<quoted>"(?:[^"\\]|\\.)*")
          | (?P<word>[^\s()"=!<>:]+) )""",
    re.X,
)


class FilterError(Exception):
    """The filter is none; the message says why."""


def parse(text: str, kind: Kind = JOBS) -> Test:
    """The test that a filter means; an empty one lets everything through. Raises FilterError."""
    if not text.strip():
        return lambda _: True
    tokens: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise FilterError(f"cannot parse the filter at {text[at:]!r}")
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    reader = _Reader(tokens, kind)
    test = reader.either()
    if reader.peek() is not None:
        raise FilterError(f"unexpected {reader.peek()!r} in the filter")
    return test


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]], kind: Kind) -> None:
        self._tokens = tokens
        self._kind = kind
        self._at = 0

    def peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _next(self, *kinds: str) -> str:
        if self._at >= len(self._tokens):
            raise FilterError("the filter ends too early")
        kind, text = self._tokens[self._at]
        if kind not in kinds:
            raise FilterError(f"unexpected {text!r} in the filter")
        self._at += 1
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "quoted" else text

    # By AIP-160 OR binds closer than AND.
    def either(self) -> Test:
        tests = [self._any()]
        while self.peek() is not None and self.peek() != ")":
            if self.peek() == "AND":
                self._next("word")
            tests.append(self._any())
        return lambda job: all(test(job) for test in tests)

    def _any(self) -> Test:
        tests = [self._one()]
        while self.peek() == "OR":
            self._next("word")
            tests.append(self._one())
        return lambda job: any(test(job) for test in tests)

    def _one(self) -> Test:
        if self.peek() == "NOT":
            self._next("word")
            inner = self._one()
            return lambda job: not inner(job)
        if self.peek() == "(":
            self._next("mark")
            inner = self.either()
            if self._next("mark") != ")":
                raise FilterError("a parenthesis is not closed in the filter")
            return inner
        name = self._next("word")
        if name not in self._kind.fields and not name.startswith(self._kind.labels):
            raise FilterError(f"{name!r} is no field that a filter of {self._kind.things} takes")
        return _comparison(self._kind, name, self._next("op"), self._next("word", "quoted"))


def _comparison(kind: Kind, name: str, op: str, value: str) -> Test:
    is_label = name not in kind.fields
    takes = (frozenset("=:") if kind.exists else frozenset("=")) if is_label else kind.fields[name]
    if op not in takes:
        raise FilterError(f"{op!r} is not for {name}")
    if name == kind.time:
        when, compare = nanoseconds(value), _COMPARISONS[op]
        return lambda thing: compare(nanoseconds(thing[name]), when)
    if op == ":" and is_label:
        if value != "*":
            raise FilterError(f"{name}:{value} is none: a label can be equal to a value, or there at all ({name}:*)")
        return lambda thing: name in thing
    if op == ":":
        pattern = re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)
        return lambda thing: pattern.fullmatch(thing[name]) is not None
    if value not in kind.values.get(name, (value,)):
        raise FilterError(f"{value!r} is none of the values of {name}")
    return lambda thing: (thing.get(name) == value) is (op == "=")


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def nanoseconds(text: str) -> int:
    """A time by RFC 3339 as nanoseconds since 1970. Raises FilterError."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        whole = datetime.datetime.fromisoformat(f"{match[1]}{match[3].upper().replace('Z', '+00:00')}")
    except ValueError:
        raise FilterError(f"{text!r} is no time as RFC 3339 has it") from None
    since = whole - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86400 + since.seconds) * 10**9 + int((match[2] or "").ljust(9, "0"))


_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")
