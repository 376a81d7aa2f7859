"""What a sweep says, and the jobs that it expands to, one by one. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Literal, TypeVar

from attrs import field, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.jobs.ranges import Range
from ocicaliban.model.job import JobSpec, Parameters, Scalar, WrittenList

T = TypeVar("T")

_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""The negative numbers that every version of argparse takes for values."""


@frozen(kw_only=True)
class Axis:
    """One key of a block: its choices, in the order written. A compound key gives several parameters at once.

    A `range` has no choices, but a `name`; only a search can take values from it.
    """

    choices: tuple[Parameters, ...]
    range: Range | None = None
    name: str = ""


@frozen(kw_only=True)
class Block:
    """One object of a sweep file: the product of its axes. The last axis changes first."""

    axes: tuple[Axis, ...]


SweepFormat = Literal["flags", "hydra"]
"""How the parameters of a sweep reach the script: as `--key value`, or as `key=value`."""


@frozen(kw_only=True)
class Sweep:
    """What a sweep file says: blocks, whose jobs come one block after the other. No combination exists yet.

    `name` and `text` are the file's, if they are known.
    """

    blocks: tuple[Block, ...]
    form: SweepFormat = "flags"
    name: str = field(default="", eq=False)
    text: str = field(default="", eq=False, repr=False)


def range_of(sweep: Sweep) -> str:
    """Return the name of a parameter with a range; "" if there is none."""
    return next((axis.name for block in sweep.blocks for axis in block.axes if axis.range), "")


def count(sweep: Sweep) -> int:
    """Return the number of jobs, without making one."""
    return sum(math.prod(len(axis.choices) for axis in block.axes) for block in sweep.blocks)


def products(sweep: Sweep, of: Callable[[Parameters], tuple[T, ...]]) -> Iterator[tuple[T, ...]]:
    """Yield what `of` makes of the parameters of each job, in the order written.

    `of` is called once for each choice of an axis, not for each job. So for two lists of parameters together it must
    return the same as for the one followed by the other.
    """
    for block in sweep.blocks:
        for parts in product(*([of(choice) for choice in axis.choices] for axis in block.axes)):
            yield tuple(chain.from_iterable(parts))


def points(sweep: Sweep) -> Iterator[Parameters]:
    """Yield the parameters of each job, in the order written."""
    return products(sweep, lambda parameters: parameters)


def flags(parameters: Parameters) -> tuple[str, ...]:
    """Return the arguments that pass parameters to a script: `--key value`, `--key` for true, nothing for false.

    A number is passed as the file has it. A value that argparse would take for an option (-1e-05, -v2) is joined to its
    key: `--key=value`.
    """
    words: list[str] = []
    for key, value in parameters:
        if value is True:
            words.append(f"--{key}")
        elif value is not False:
            text = str(value)
            words += [f"--{key}={text}"] if text[:1] == "-" and not _NEGATIVE.fullmatch(text) else [f"--{key}", text]
    return tuple(words)


def overrides(parameters: Parameters) -> tuple[str, ...]:
    """Return the arguments in Hydra's form: `key=value`, with true and false, and quotes where Hydra needs them."""
    return tuple(f"{key}={_hydra(value)}" for key, value in parameters)


_HYDRA_PLAIN = re.compile(r"[A-Za-z0-9_./@%+-][A-Za-z0-9_./@%+:-]*")
_HYDRA_OTHER = re.compile(r"(?i)true|false|null|[+-]?(?:nan|inf)|[+-]?[0-9.][0-9_.]*(?:e[+-]?[0-9_]+)?")
"""Words that Hydra reads as something else than a text."""


def _hydra(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not isinstance(value, str) or isinstance(value, WrittenList):
        return text
    if _HYDRA_PLAIN.fullmatch(text) and not _HYDRA_OTHER.fullmatch(text):
        return text
    # A backslash is doubled where it is before a quote, and nowhere else (Hydra's grammar of overrides).
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


FORMATS: Mapping[SweepFormat, Callable[[Parameters], tuple[str, ...]]] = {"flags": flags, "hydra": overrides}
"""What makes the arguments in each format."""


def format_named(name: str) -> SweepFormat:
    """Return the format with this name. Raises UsageError if there is none."""
    for each in FORMATS:
        if name == each:
            return each
    raise UsageError(f"there is no sweep format '{name}'", nearest(name, list(FORMATS)))


def specs(sweep: Sweep, args: Sequence[str] = ()) -> Iterator[JobSpec]:
    """Yield the jobs, in the order written. The same `args` come first in all of them, then those of the parameters."""
    first = tuple(args)
    for parameters in points(sweep):
        yield JobSpec(parameters=parameters, args=(*first, *FORMATS[sweep.form](parameters)))
