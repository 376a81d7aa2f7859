"""The parameters in the arguments of a script: `--lr 0.1`, `--lr=0.1` and `lr=0.1`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocicaliban.model.job import Job, Parameters, Scalar

_OPTION = re.compile(r"--(?P<name>[A-Za-z_][\w.-]*)(?:=(?P<value>.*))?", re.S)
_OVERRIDE = re.compile(r"(?P<name>[+~]{0,2}[A-Za-z_][\w.@/-]*)=(?P<value>.*)", re.S)
"""Hydra's form, and that of other programs that take no dashes."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_CODE = ("-c", "-e")
"""Options of interpreters whose value is a program."""

_NEGATIVE = re.compile(r"-\.?\d.*")


def parameters_of(args: Sequence[str]) -> Parameters:
    """Return the parameters in a script's arguments, in their order; of one that is given twice, the last value.

    An option without a value is true. A word after a short option (`-n 5`) belongs to that option, which is no
    parameter. Several numbers after an option (`--layers 64 32`) are one value. Nothing counts after `--`.
    """
    return divided(args)[0]


def of_job(job: Job) -> Parameters:
    """Return the parameters of a job: those of its sweep, and before them what looks like one in its arguments."""
    own = {name for name, _ in job.parameters}
    return (*((name, value) for name, value in parameters_of(job.args) if name not in own), *job.parameters)


def count_of_own(job: Job) -> int:
    """Return how many of a job's arguments pass the parameters of its sweep; they come last."""
    count, args = 0, list(job.args)
    for name, value in reversed(job.parameters):
        last = args[-1] if args else ""
        joined = last.startswith((f"--{name}=", f"{name}="))  # Hydra has this form for all values
        words = 1 if joined else 0 if value is False else 1 if value is True else 2
        count += words
        del args[len(args) - words :]
    return count


def divided(args: Sequence[str]) -> tuple[Parameters, tuple[str, ...]]:
    """Return the parameters in a script's arguments, as `parameters_of` does, and the words that are none."""
    found: dict[str, Scalar] = {}
    rest: list[str] = []
    end = args.index("--") if "--" in args else len(args)
    words = list(args[:end])
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if option := _OPTION.fullmatch(word):
            value = option["value"]
            if value is None:
                values = _values(words[at:])
                at += len(values)
                value = " ".join(values)
                _put(found, option["name"], scalar(value) if values else True)
            else:
                _put(found, option["name"], scalar(value))
        elif word.startswith("-") and not _NEGATIVE.fullmatch(word):
            rest.append(word)
            if at < len(words) and (word in _CODE or not _begins_another(words[at])):
                rest.append(words[at])
                at += 1
        elif override := _OVERRIDE.fullmatch(word):
            _put(found, override["name"], scalar(override["value"]))
        else:
            rest.append(word)
    return tuple(found.items()), (*rest, *args[end:])


def scalar(text: str) -> Scalar:
    """Return the value that a word stands for: a number or a truth value as a sweep file would have it, or the text."""
    if text in ("true", "True"):
        return True
    if text in ("false", "False"):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and re.match(r"-?\.?[0-9]", text):
        value = float(text)
        return text if value in (float("inf"), -float("inf")) else value
    return text


def _put(found: dict[str, Scalar], name: str, value: Scalar) -> None:
    found.pop(name, None)
    found[name] = value


def _values(rest: Sequence[str]) -> list[str]:
    """Return the words that are the value of the option before them."""
    if not rest or (rest[0].startswith("-") and not _NEGATIVE.fullmatch(rest[0])):
        return []
    values = [rest[0]]
    if _is_number(rest[0]):
        for word in rest[1:]:
            if not _is_number(word):
                break
            values.append(word)
    return values


def _begins_another(word: str) -> bool:
    """Return whether a word is an option or a parameter, not the value of the option before it."""
    return bool((word.startswith("-") and not _NEGATIVE.fullmatch(word)) or _OVERRIDE.fullmatch(word))


def _is_number(text: str) -> bool:
    return not isinstance(scalar(text), str | bool)
