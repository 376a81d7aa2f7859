"""The parameters in a script's arguments."""

from __future__ import annotations

import pytest
from attrs import evolve

from ocicaliban.jobs.arguments import divided, of_job, parameters_of, scalar
from ocicaliban.model.job import Job, Submission

JOB = Job(id=1, key="k", submission=Submission(group="g", user="u", host="h", target="local", project="/p", mode="run"))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--lr 0.1", {"lr": 0.1}),
        ("--lr=0.1", {"lr": 0.1}),
        ("lr=0.1", {"lr": 0.1}),
        ("--lr .5 --n 3", {"lr": 0.5, "n": 3}),
        ("--shift -1e-05 --tag=-v2", {"shift": -1e-05, "tag": "-v2"}),
        ("--shift -0.5 lr=1e-3", {"shift": -0.5, "lr": 1e-3}),
        ("--fast --lr 1", {"fast": True, "lr": 1}),
        ("--lr 1 --fast", {"lr": 1, "fast": True}),
        ("--multirun --define a=1", {"multirun": True, "define": "a=1"}),
        ("--amp=false --x=True", {"amp": False, "x": True}),
        ("model.depth=4 +trainer.lr=1 ~x= db/mysql=a", {"model.depth": 4, "+trainer.lr": 1, "~x": "", "db/mysql": "a"}),
        ("--layers 64 32 16 --x 1", {"layers": "64 32 16", "x": 1}),
        ("--lr 0.1 data.csv", {"lr": 0.1}),
        ("train data.csv", {}),
        ("-n 5 --lr 1", {"lr": 1}),
        ("-c x=1 --lr 1", {"lr": 1}),
        ("-x -m lr=1", {"lr": 1}),
        ("--lr 1 -- --x 2", {"lr": 1}),
        ("--lr 1 --lr 2", {"lr": 2}),
        ("--name= --x=a=b", {"name": "", "x": "a=b"}),
        ("https://example.com/?a=b 3=4 --=5 -- ", {}),
        ("--learning-rate 007", {"learning-rate": "007"}),
    ],
)
def test_finds_the_parameters(args: str, expected: dict[str, object]) -> None:
    assert dict(parameters_of(args.split(" "))) == expected


def test_an_argument_may_have_lines_and_spaces() -> None:
    assert parameters_of(["--text", "a b\nc=d", "x=1\n2"]) == (("text", "a b\nc=d"), ("x", "1\n2"))
    assert parameters_of(["python", "-c", "lr = 1; lr=2"]) == ()


@pytest.mark.parametrize(
    "text", ["", "-", ".", "e5", "1e999", "-.", "nan", "inf", "1_000", "0x10", "9" * 5000, "\uff11"]
)
def test_what_is_no_number_stays_as_it_is(text: str) -> None:
    assert scalar(text) == text
    assert isinstance(scalar(text), str)


def test_the_words_that_are_none_are_told_too() -> None:
    words = ["train", "-n", "5", "--lr", "1", "data.csv", "-c", "x=1", "-v", "a=2", "--", "--x", "3"]
    assert divided(words) == (
        (("lr", 1), ("a", 2)),
        ("train", "-n", "5", "data.csv", "-c", "x=1", "-v", "--", "--x", "3"),
    )


def test_the_parameters_of_a_sweep_take_precedence() -> None:
    job = evolve(JOB, args=("--epochs", "5", "--lr", "1", "--lr", "0.10"), parameters=(("lr", 0.1),))
    assert of_job(job) == (("epochs", 5), ("lr", 0.1))
