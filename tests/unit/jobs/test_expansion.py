"""The jobs that a sweep expands to."""

from __future__ import annotations

import argparse
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.jobs.expansion import (
    Axis,
    Block,
    Sweep,
    count,
    flags,
    format_named,
    overrides,
    points,
    products,
    specs,
)
from ocicaliban.model.job import JobSpec, Parameters, Scalar, WrittenList, WrittenNumber


def axis(name: str, *values: int | bool) -> Axis:
    return Axis(choices=tuple(((name, value),) for value in values))


SWEEPS = st.lists(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=4), min_size=1, max_size=3
).map(
    lambda blocks: Sweep(
        blocks=tuple(Block(axes=tuple(axis(f"k{n}", *each) for n, each in enumerate(axes))) for axes in blocks)
    )
)


@given(SWEEPS)
def test_the_jobs_are_the_products_of_the_axes_one_block_after_the_other(sweep: Sweep) -> None:
    expected: list[Parameters] = [
        tuple(pair for choice in choices for pair in choice)
        for block in sweep.blocks
        for choices in product(*(each.choices for each in block.axes))
    ]
    assert list(points(sweep)) == expected and count(sweep) == len(expected)
    assert list(products(sweep, flags)) == [flags(each) for each in expected]
    assert [(each.parameters, each.args) for each in specs(sweep, ["x"])] == [
        (each, ("x", *flags(each))) for each in expected
    ]


def test_true_is_a_flag_alone_and_false_nothing() -> None:
    assert flags((("a", True), ("b", False), ("c", 1e-5), ("d", "x y"))) == ("--a", "--c", "1e-05", "--d", "x y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-0.5, ("--x", "-0.5")),
        (-3, ("--x", "-3")),
        ("-.5", ("--x", "-.5")),
        (-1e-05, ("--x=-1e-05",)),
        (-1e22, ("--x=-1e+22",)),
        ("-v2", ("--x=-v2",)),
        ("--y", ("--x=--y",)),
        ("-", ("--x=-",)),
        ("", ("--x", "")),
    ],
)
def test_a_value_that_looks_like_an_option_reaches_argparse(value: Scalar, words: tuple[str, ...]) -> None:
    assert flags((("x", value),)) == words
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=type(value))
    assert parser.parse_args(words).x == value


def test_jobs_are_made_when_they_are_asked_for() -> None:
    sweep = Sweep(blocks=(Block(axes=tuple(axis(f"k{number}", *range(10)) for number in range(40))),))
    assert count(sweep) == 10**40
    assert [dict(point)["k39"] for point in islice(points(sweep), 12)] == [*range(10), 0, 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (-1e-05, "-1e-05"),
        (WrittenNumber("1E-3"), "1E-3"),
        (WrittenList([1, 2.5]), "[1, 2.5]"),
        ("resnet50", "resnet50"),
        ("gs://b/c", "gs://b/c"),
        ("", "''"),
        ("a b", "'a b'"),
        ("1", "'1'"),
        ("True", "'True'"),
        ("null", "'null'"),
        ("1e5", "'1e5'"),
        ("it's", r"'it\'s'"),
        ("a\\", r"'a\\'"),
        ("x\\y", r"'x\y'"),
        ("[1,2]", "'[1,2]'"),
        ("${x}", "'${x}'"),
    ],
)
def test_hydra_reads_each_value_as_what_it_is(value: Scalar, text: str) -> None:
    # Compared by hand with hydra-core 1.3's own parser.
    assert overrides((("a.b", value),)) == (f"a.b={text}",)


def test_a_sweep_has_a_format() -> None:
    sweep = Sweep(blocks=(Block(axes=(axis("model.lr", 1, 2),)),), form="hydra")
    assert [*specs(sweep, ("epochs=5", "model.lr=9"))] == [
        JobSpec(parameters=(("model.lr", n),), args=("epochs=5", "model.lr=9", f"model.lr={n}")) for n in (1, 2)
    ]
    with pytest.raises(UsageError, match="no sweep format 'hydar'"):
        format_named("hydar")
