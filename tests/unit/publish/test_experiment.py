"""What a published experiment looks like, and that it is read as it was written."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.containers.oci_layout import Blob
from ocicaliban.errors import OcicalibanError
from ocicaliban.jobs.origin import Machine, Origin
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.publish import documents, experiment
from ocicaliban.publish.experiment import Experiment, PublishedAttempt, PublishedJob, Resources
from ocicaliban.reports.metrics import Curve, Metrics

IMAGE = f"sha256:{'a' * 64}"
MADE = Experiment(
    group="digits-red-owl",
    created="2026-11-28T08:00:00Z",
    image=IMAGE,
    image_id=f"sha256:{'b' * 64}",
    mode="run",
    module="train.py",
    command=("python", "train.py"),
    env=(("A", "1"),),
    workdir="/app",
    folders=("/data",),
    capabilities=("CHOWN",),
    options=("--env",),
    resources=Resources(cpus=2.0, memory="8g", gpus=1),
    commit="c0ffee",
    remote="https://example.org/digits.git",
    program="0.1.0",
    machine=Machine(processor="P", cores=2, memory=8, gpus=("G",), driver="550.1"),
    jobs=1,
    sweep="sweep.json",
)
JOB = PublishedJob(
    number=1,
    key="0123456789ab",
    parameters=(("lr", 0.1), ("deep", True)),
    args=("--lr", "0.1", "--deep"),
    status="succeeded",
    attempts=(PublishedAttempt(status="succeeded", exit_code=0, seconds=1.5),),
    results={"accuracy": 0.5, "note": "fine", "loss": math.inf},
    curves={"loss": Curve(steps=(0.0, 1.0), values=(2.0, math.inf))},
)


def test_the_form_of_version_1() -> None:
    # Others read it, and later versions of ours: docs/reference/experiment-format.md.
    assert experiment.to_record(MADE) == {
        "version": 1,
        "group": "digits-red-owl",
        "created": "2026-11-28T08:00:00Z",
        "image": {"digest": IMAGE, "config": f"sha256:{'b' * 64}"},
        "mode": "run",
        "module": "train.py",
        "launch": {
            "command": ["python", "train.py"], "env": [["A", "1"]], "workdir": "/app", "folders": ["/data"],
            "capabilities": ["CHOWN"], "options": ["--env"],
        },
        "resources": {"cpus": 2.0, "memory": "8g", "gpus": 1},
        "source": {"commit": "c0ffee", "dirty": False, "remote": "https://example.org/digits.git"},
        "program": "0.1.0",
        "machine": {"processor": "P", "cores": 2, "memory": 8, "gpus": ["G"], "driver": "550.1"},
        "jobs": 1,
        "sweep": "sweep.json",
    }  # fmt: skip
    assert experiment.job_to_record(JOB) == {
        "number": 1,
        "key": "0123456789ab",
        "parameters": {"lr": 0.1, "deep": True},
        "args": ["--lr", "0.1", "--deep"],
        "status": "succeeded",
        "attempts": [{"status": "succeeded", "exit_code": 0, "seconds": 1.5}],
        "metrics": {"accuracy": 0.5, "note": "fine"},
        "special": {"loss": "inf"},
        "curves": {"loss": {"steps": [0.0, 1.0], "values": [2.0, "inf"]}},
    }


def test_documents_and_manifest() -> None:
    made_from = Origin(program="0.1.0", sweep_name="sweep.json", sweep="{}", files={"ocicaliban.lock": "x = 1\n"})
    found = (documents.head(MADE), *documents.others([JOB], made_from))
    assert [each.title for each in found] == ["experiment.json", "jobs.jsonl.gz", "sweep/sweep.json", "ocicaliban.lock"]
    assert found[1:] == documents.others([JOB], made_from), "the same experiment gives the same bytes"
    assert documents.read_experiment(found[0].data, "x") == MADE
    assert documents.read_jobs(found[1].data, "x") == (JOB,)
    subject = {"mediaType": "m", "digest": IMAGE, "size": 7}
    one = evolve(found[0], in_file=Blob(digest="sha256:1", size=3))
    manifest = json.loads(documents.manifest([one], subject, {"a": "b"}))
    empty = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert manifest == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.ocicaliban.experiment.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [
            {
                "mediaType": "application/vnd.ocicaliban.experiment.v1+json", "digest": "sha256:1", "size": 3,
                "annotations": {"org.opencontainers.image.title": "experiment.json"},
            }
        ],
        "subject": subject,
        "annotations": {"a": "b"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{", "experiment.json cannot be read"),
        (b"[]", "another form"),
        (b'{"version": 2}', "its version is 2"),
        (b'{"version": 1}', "another form"),
        (b"[" * 100_000, "experiment.json cannot be read"),
    ],
)
def test_what_is_no_experiment_is_told(data: bytes, told: str) -> None:
    with pytest.raises(OcicalibanError, match=f"reg/x@d: .*{told}"):
        documents.read_experiment(data, "reg/x@d")
    with pytest.raises(OcicalibanError, match=r"jobs\.jsonl\.gz cannot be read"):
        documents.read_jobs(data, "reg/x@d")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", "x/../../../.config/evil"), ("group", "paper\nrun 1 of 1 jobs here? [y/N]: y"), ("group", ""),
        ("mode", "run\rrun"), ("program", "1\u2028 2"), ("resources", {"cpus": 1, "memory": "", "gpus": float("inf")}),
    ],
)  # fmt: skip
def test_a_hostile_experiment_is_refused(name: str, value: object) -> None:
    record = {**experiment.to_record(MADE), name: value}
    with pytest.raises(OcicalibanError, match=r"experiment\.json cannot be read"):
        documents.read_experiment(json.dumps(record).encode(), "x")


@pytest.mark.parametrize("folder", ["/etc", "a//b", ".", "a/..", ".git", "a/.GIT/x", "a\0", "\ud800", 1])
def test_a_project_is_in_a_folder_of_its_repository(folder: object) -> None:
    record = experiment.to_record(MADE)
    with pytest.raises(ValueError, match="another form"):
        experiment.from_record({**record, "source": {**record["source"], "folder": folder}})
    for fine in ("", "paper", "a b/.github"):
        assert experiment.from_record({**record, "source": {**record["source"], "folder": fine}}).folder == fine


def test_a_jobs_file_that_unpacks_to_very_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_UNPACKED", 10)
    with pytest.raises(OcicalibanError, match="it has more than"):
        documents.read_jobs(documents.others([JOB], None)[0].data, "x")


def test_a_job_is_published_without_its_machine() -> None:
    attempts = (
        Attempt(number=1, handle="h1", status="failed", started=5.0, ended=7.25, exit_code=3, reason="r", log="/l"),
        Attempt(number=2, handle="h2", status="succeeded", started=8.0, ended=9.0, exit_code=0),
    )
    made = Submission(group="g", user="ada", host="tower", target="local", project="/home/ada/p", mode="run")
    job = Job(id=7, key="k", submission=made, args=("-x",), status="succeeded", out="/home/ada/o", attempts=attempts)
    found = experiment.published_job(1, job, Metrics(results={"a": 1}))
    assert [(each.status, each.exit_code, each.seconds) for each in found.attempts] == [
        ("failed", 3, 2.25), ("succeeded", 0, 1.0),
    ]  # fmt: skip
    text = json.dumps(experiment.job_to_record(found))
    assert not [word for word in ("ada", "tower", "/home", "/l") if word in text]


SCALARS = st.one_of(st.text(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False))


@given(
    parameters=st.dictionaries(st.text(), SCALARS, max_size=4),
    results=st.dictionaries(st.text(), SCALARS, max_size=4),
    args=st.lists(st.text(), max_size=4),
)
def test_any_job_is_read_as_it_was_written(
    parameters: dict[str, str | bool | int | float], results: dict[str, str | bool | int | float], args: list[str]
) -> None:
    job = evolve(JOB, parameters=tuple(parameters.items()), results=results, args=tuple(args))
    assert experiment.job_from_record(json.loads(json.dumps(experiment.job_to_record(job)))) == job
