"""The options of a submission as the history keeps them."""

from __future__ import annotations

import json

import pytest
from attrs import asdict, evolve

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Submission
from ocicaliban.targets.vertex import options
from ocicaliban.targets.vertex.machines import Machine
from ocicaliban.targets.vertex.options import Options

WHOLE = Options(
    machine=Machine(type="n1-standard-8", accelerator="NVIDIA_TESLA_V100", count=2, topology="2x2"),
    replicas=2,
    boot_disk=200,
    spot=True,
    timeout=3600,
    restarts=0,
    service_account="a@b",
    network="projects/1/global/networks/n",
    output="gs://bucket",
    entrypoint=("python3",),
    command=("train",),
    labels=(("team", "vision"),),
    name="digits",
)
SUBMISSION = Submission(target="local", group="digits", user="ada", host="h", project="p", mode="cloud")


def submission(held: object) -> Submission:
    return evolve(SUBMISSION, options={"vertex": json.loads(json.dumps(held))})


@pytest.mark.parametrize("made", [WHOLE, Options(machine=Machine(type="t"))])
def test_options_come_back_as_they_were(made: Options) -> None:
    assert options.recorded(submission(options.to_record(made))) == made


def test_the_record_is_what_earlier_versions_wrote() -> None:
    assert json.dumps(options.to_record(WHOLE)) == json.dumps(asdict(WHOLE))
    assert options.recorded(submission({"machine": {"type": "t"}})) == Options(machine=Machine(type="t"))


@pytest.mark.parametrize(
    "held",
    [
        None,
        [],
        {},
        {"machine": {}},
        {"machine": {"type": 1}},
        {"machine": {"type": "t"}, "replicas": "two"},
        {"machine": {"type": "t"}, "new": 1},
    ],
)
def test_a_record_of_another_form_is_told(held: object) -> None:
    with pytest.raises(UsageError, match=r"another version of ocicaliban began digits"):
        options.recorded(submission(held))
