"""What a sweep says, and the jobs that it expands to, one by one. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from typing import TypeVar

from attrs import frozen

from ocicaliban.model.job import JobSpec, Parameters

T = TypeVar("T")

_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""The negative numbers that every version of argparse takes for values."""


@frozen(kw_only=True)
class Axis:
    """One key of a block: its choices, in the order written. A compound key gives several parameters at once."""

    choices: tuple[Parameters, ...]


@frozen(kw_only=True)
class Block:
    """One object of a sweep file: the product of its axes. The last axis changes first."""

    axes: tuple[Axis, ...]


@frozen(kw_only=True)
class Sweep:
    """What a sweep file says: blocks, whose jobs come one block after the other. No combination exists yet."""

    blocks: tuple[Block, ...]


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

    Numbers are written as Python writes them (1e-3 is 0.001), as Caliban does. A value that argparse would take for an
    option (-1e-05, -v2) is joined to its key: `--key=value`.
    """
    words: list[str] = []
    for key, value in parameters:
        if value is True:
            words.append(f"--{key}")
        elif value is not False:
            text = str(value)
            words += [f"--{key}={text}"] if text[:1] == "-" and not _NEGATIVE.fullmatch(text) else [f"--{key}", text]
    return tuple(words)


def specs(sweep: Sweep, args: Sequence[str] = ()) -> Iterator[JobSpec]:
    """Yield the jobs, in the order written. The same `args` come first in all of them, then those of the parameters."""
    first = tuple(args)
    for parameters in points(sweep):
        yield JobSpec(parameters=parameters, args=(*first, *flags(parameters)))
