"""Parse the filters of ListCustomJobs and ListLogEntries, as their references describe them (pure)."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Mapping

from attrs import frozen

Fields = Mapping[str, str]
"""The values of a job or log line that a filter can ask for, by name."""

Predicate = Callable[[Fields], bool]


_EQUAL = frozenset({"=", "!="})
_ORDER = frozenset({"=", "!=", "<", "<=", ">", ">="})


@frozen(kw_only=True)
class FilterGrammar:
    """What a filter for `things` can contain: fields with their comparisons, and labels below a prefix.

    The field `time` is a time as in RFC 3339. `values` are the valid values of a field, if they are known. A label can
    be compared with "="; with `exists` also with ":*", which asks whether there is such a label.
    """

    things: str
    fields: Mapping[str, frozenset[str]]
    labels: str
    exists: bool
    time: str
    values: Mapping[str, frozenset[str]] = {}


JOBS = FilterGrammar(
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
LOG_ENTRIES = FilterGrammar(
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
    """A filter is not valid; the message says why."""


def parse(text: str, grammar: FilterGrammar = JOBS) -> Predicate:
    """Return the predicate that a filter means; an empty one is always true. Raises FilterError if it is not valid."""
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
    reader = _Parser(tokens, grammar)
    predicate = reader.conjunction()
    if reader.peek() is not None:
        raise FilterError(f"unexpected {reader.peek()!r} in the filter")
    return predicate


class _Parser:
    """Builds a predicate from tokens, each its kind and text."""

    def __init__(self, tokens: list[tuple[str, str]], grammar: FilterGrammar) -> None:
        self._tokens = tokens
        self._grammar = grammar
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

    # In AIP-160 OR binds closer than AND.
    def conjunction(self) -> Predicate:
        terms = [self._disjunction()]
        while self.peek() is not None and self.peek() != ")":
            if self.peek() == "AND":
                self._next("word")
            terms.append(self._disjunction())
        return lambda fields: all(term(fields) for term in terms)

    def _disjunction(self) -> Predicate:
        terms = [self._term()]
        while self.peek() == "OR":
            self._next("word")
            terms.append(self._term())
        return lambda fields: any(term(fields) for term in terms)

    def _term(self) -> Predicate:
        if self.peek() == "NOT":
            self._next("word")
            inner = self._term()
            return lambda fields: not inner(fields)
        if self.peek() == "(":
            self._next("mark")
            inner = self.conjunction()
            if self._next("mark") != ")":
                raise FilterError("a parenthesis is not closed in the filter")
            return inner
        name = self._next("word")
        if name not in self._grammar.fields and not name.startswith(self._grammar.labels):
            raise FilterError(f"{name!r} is not a field in a filter for {self._grammar.things}")
        return _comparison(self._grammar, name, self._next("op"), self._next("word", "quoted"))


def _comparison(grammar: FilterGrammar, name: str, op: str, value: str) -> Predicate:
    is_label = name not in grammar.fields
    allowed = (frozenset("=:") if grammar.exists else frozenset("=")) if is_label else grammar.fields[name]
    if op not in allowed:
        raise FilterError(f"{op!r} cannot compare {name}")
    if name == grammar.time:
        when, compare = nanoseconds(value), _COMPARISONS[op]
        return lambda fields: compare(nanoseconds(fields[name]), when)
    if op == ":" and is_label:
        if value != "*":
            raise FilterError(
                f"{name}:{value} is not valid: compare a label with '=', or ask whether it exists with {name}:*"
            )
        return lambda fields: name in fields
    if op == ":":
        pattern = re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)
        return lambda fields: pattern.fullmatch(fields[name]) is not None
    if value not in grammar.values.get(name, (value,)):
        raise FilterError(f"{value!r} is not a value of {name}")
    return lambda fields: (fields.get(name) == value) is (op == "=")


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def nanoseconds(text: str) -> int:
    """Return a time as in RFC 3339 in nanoseconds since 1970. Raises FilterError if it is not valid."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        whole = datetime.datetime.fromisoformat(f"{match[1]}{match[3].upper().replace('Z', '+00:00')}")
    except ValueError:
        raise FilterError(f"{text!r} is not a time as in RFC 3339") from None
    since = whole - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86400 + since.seconds) * 10**9 + int((match[2] or "").ljust(9, "0"))


_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")
