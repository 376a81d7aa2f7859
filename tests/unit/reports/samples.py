"""Reports to test with."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from ocicaliban.model.job import Attempt, Job, Scalar, Status, Submission
from ocicaliban.reports import report as reports
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.report import Report

SCALAR = st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def job(
    number: int,
    parameters: Mapping[str, Scalar],
    status: Status = "succeeded",
    args: tuple[str, ...] = (),
    module: str = "train",
) -> Job:
    submission = Submission(target="local", group="g", user="me", host="h", project="/p", mode="run", module=module)
    ended = None if status == "running" else 100.0 + number
    attempt = Attempt(number=1, handle="c", status=status, started=100.0, ended=ended)
    attempts = () if status == "queued" else (attempt,)
    return Job(
        id=number, key=f"k{number}", submission=submission, parameters=tuple(parameters.items()), args=args,
        status=status, attempts=attempts,
    )  # fmt: skip


def report_of(*jobs: tuple[Mapping[str, Scalar], Mapping[str, Scalar]]) -> Report:
    """A report of jobs by their parameters and results; their ids are counted from 1."""
    found = {place: Metrics(results=results) for place, (_, results) in enumerate(jobs, 1)}
    return reports.build("g", [job(place, each[0]) for place, each in enumerate(jobs, 1)], found, 200.0)


def ids(made: Report) -> list[int]:
    return [row.job.id for row in made.rows]


LRS = report_of(*(({"lr": lr, "seed": 1}, {"acc": acc}) for lr, acc in ((0.1, 0.7), (0.01, 0.9), (1, 0.1))))
