"""What must not be published."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ocicaliban.app import publish
from ocicaliban.app.publish import Edition
from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.image import Image, Launch
from ocicaliban.model.job import Job, Submission
from ocicaliban.publish import documents
from ocicaliban.registry.reference import Destination, Repository
from tests.unit.publish.test_experiment import JOB, MADE

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
EDITION = Edition(
    place=Destination(repository=Repository(host="reg.example", path="x"), tag="paper"),
    tag="paper",
    image=Image(id="ab", digest="", key=""),
    experiment=MADE,
    jobs=(JOB,),
    others=documents.others([JOB], Origin(program="1", files={"ocicaliban.lock": "six==1\n"})),
)


def made_from(**given: Any) -> Edition:
    return evolve(EDITION, others=documents.others([JOB], Origin(program="1", **given)))


@pytest.mark.parametrize(("commits", "told"), [(7, "the whole history of 7 commits"), (1, "the one commit")])
def test_the_listing_says_that_nothing_looked_into_the_history(
    commits: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_store, "image_sizes", dict)
    edition = evolve(EDITION, others=documents.others([JOB], None, b"bundle"), commits=commits)
    [line] = (line for line in edition.listing() if "source.bundle" in line)
    assert line == f"  source.bundle, 6 B: {told}, which was not searched for credentials"


SUBMISSION = Submission(
    group="g", user="ada", host="h", target="local", project="/p", mode="run", image="ab", launch=Launch(command=("x",))
)


@pytest.mark.parametrize(
    ("edition", "told"),
    [
        (evolve(EDITION, jobs=(evolve(JOB, args=("--token", TOKEN)),)), "jobs"),
        (evolve(EDITION, jobs=(evolve(JOB, results={"note": TOKEN}),)), "its jobs"),
        (evolve(EDITION, experiment=evolve(MADE, env=(("WANDB_API_KEY", TOKEN),))), "variables of its jobs"),
        (made_from(files={"a.env": f"X={TOKEN}\n"}), r"a\.env, line 1"),
        (made_from(sweep_name="s.json", sweep=f'["{TOKEN}"]'), "sweep/s"),
    ],
)
def test_a_credential_stops_it(edition: Edition, told: str) -> None:
    with pytest.raises(OcicalibanError, match=f"{told}.*nothing was sent"):
        publish._check_secrets(edition)
    publish._check_secrets(EDITION)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (evolve(SUBMISSION, image="cd"), "in 2 images"),
        (evolve(SUBMISSION, launch=Launch(command=("y",))), "started with different commands"),
        (evolve(SUBMISSION, options={"memory": "8g"}), "limits"),
        (evolve(SUBMISSION, options={"podman_args": "--env A"}), "options"),
    ],
)
def test_jobs_that_are_not_one_experiment_are_refused(other: Submission, told: str) -> None:
    jobs = tuple(Job(id=number, key=str(number), submission=each) for number, each in enumerate((SUBMISSION, other)))
    with pytest.raises(UsageError, match=told):
        publish._one_submission("g", jobs)
    assert publish._one_submission("g", (jobs[0], evolve(jobs[0], id=7))) == SUBMISSION


def test_options_of_the_settings_are_named_and_those_of_the_command_line_refused() -> None:
    made = evolve(SUBMISSION, options={"mode": "run", "run_options": "--shm-size 1g", "podman_args": "--env A"})
    assert publish._options(made, "podman_args") == ("--env",)
    assert publish._experiment(made, (JOB,), None).options == ("--shm-size", "--env")


def test_the_listing_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "image_sizes", lambda: {})
    said = [*evolve(EDITION, experiment=evolve(MADE, env=(("A", "my own"), ("B", "1")))).listing()]
    assert "with the variables 'A=my own' B=1" in said
