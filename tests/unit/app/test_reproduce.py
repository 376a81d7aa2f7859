"""Which experiment a reference names, and which of its jobs run again."""

from __future__ import annotations

import pytest

from ocicaliban.app import published, reproduce
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Scalar
from ocicaliban.publish.experiment import PublishedJob

DIGEST = f"sha256:{'a' * 64}"
ACCURACY: tuple[Scalar, ...] = (0.1, 0.9, 0.5, "none")
JOBS = tuple(
    PublishedJob(number=number, key=str(number), results={"accuracy": accuracy, "loss": 1.0, "size": number})
    for number, accuracy in enumerate(ACCURACY, start=1)
)


@pytest.mark.parametrize(
    ("text", "repository", "name"),
    [
        (f"reg.example:5000/x/y@{DIGEST}", "reg.example:5000/x/y", DIGEST),
        (f"reg.example/x:v1@{DIGEST}", "reg.example/x", DIGEST),
        ("docker://reg.example:5000/x/y:v1", "reg.example:5000/x/y", "v1"),
        ("localhost/x:v1", "localhost/x", "v1"),
    ],
)
def test_a_reference_has_a_tag_or_a_digest(text: str, repository: str, name: str) -> None:
    found = published.parse(text)
    assert (str(found[0]), found[1]) == (repository, name)


@pytest.mark.parametrize(
    "text",
    ["reg.example:5000/x/y", "reg.example/x@sha256:12", "x:v1", "https://reg.example/x:v1", "reg.example/x:", ""],
)
def test_what_is_no_reference_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        published.parse(text)


@pytest.mark.parametrize(
    ("which", "goal", "numbers"),
    [
        ("all", "", [1, 2, 3, 4]),
        ("2", "", [1, 2]),
        ("9", "", [1, 2, 3, 4]),
        ("2,", "", [2]),
        ("4,1-2", "", [1, 2, 4]),
        ("2-3", "", [2, 3]),
        ("best", "", [2]),
        ("best", "-accuracy", [1]),
        ("best", "size", [4]),
    ],
)
def test_the_jobs_that_run(which: str, goal: str, numbers: list[int]) -> None:
    assert [job.number for job in reproduce.chosen(JOBS, which, goal)] == numbers


@pytest.mark.parametrize(
    ("which", "goal", "told"),
    [
        ("some", "", "names no jobs"),
        ("", "", "names no jobs"),
        (",", "", "names no jobs"),
        ("3-1", "", "names no jobs"),
        ("²", "", "names no jobs"),
        ("9" * 5000, "", "names no jobs"),
        ("1-999999999", "", "has no job"),
        ("0", "", "no job 0"),
        ("1,7", "", "no job 7"),
        ("3-", "", "names no jobs"),
        ("best", "accurcy", "no metric 'accurcy'"),
    ],
)
def test_jobs_that_are_not_there_are_told(which: str, goal: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        reproduce.chosen(JOBS, which, goal)
