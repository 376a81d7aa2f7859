"""Filters of ListCustomJobs and ListLogEntries, as their references have them: a text becomes a test (pure)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping

from attrs import frozen

Fields = Mapping[str, str]
"""What a filter can ask of a thing, by name."""

Test = Callable[[Fields], bool]


@frozen(kw_only=True)
class Kind:
    """What filters of one kind of things can ask for: fields by name, `labels.KEY` below a prefix, and one time.

    Times are compared as texts: RFC 3339, in UTC, all with as many digits.
    """

    things: str
    fields: frozenset[str]
    labels: str
    time: str


JOBS = Kind(
    things="custom jobs",
    fields=frozenset({"display_name", "state", "create_time"}),
    labels="labels.",
    time="create_time",
)
ENTRIES = Kind(
    things="log entries",
    fields=frozenset({"resource.type", "timestamp"}),
    labels="resource.labels.",
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
    if op == ":":
        return lambda job: name in job and fnmatch.fnmatchcase(job[name], value)
    if op in ("=", "!="):
        return lambda job: (job.get(name) == value) is (op == "=")
    if name != kind.time:
        raise FilterError(f"{op!r} is not for {name}")
    tests: dict[str, Callable[[str], bool]] = {
        "<": lambda at: at < value,
        "<=": lambda at: at <= value,
        ">": lambda at: at > value,
        ">=": lambda at: at >= value,
    }
    return lambda job: tests[op](job[name])
