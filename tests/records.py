"""What the histories in `tests/data` hold, whichever database they lie in."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.app.requests import CloudRequest, JobsRequest, LaunchRequest
from ocicaliban.history.store import History
from ocicaliban.jobs import group_names, provenance
from ocicaliban.jobs.records import requested
from ocicaliban.model.image import Launch
from ocicaliban.model.job import UNDER_WAY, JobSpec, Submission
from ocicaliban.targets.vertex import backend, options
from ocicaliban.targets.vertex.machines import Machine
from ocicaliban.targets.vertex.options import Options

DATA = Path(__file__).parent / "data"
"""Files that earlier versions wrote; its README.md says how each came to be."""

COMMIT = "c0ffee" * 6 + "c0ff"
PLAN_KEY = "fba0594fe38807651c49eaa53ef3c4321210e6faf1a1707cbe58a29980f00d39"
LOGS = "/home/ada/.local/state/ocicaliban/jobs"
GONE = "its container is gone, and its result with it"

JOBS = {
    1: (1, "a0a0a0a0a001", "succeeded", [("succeeded", 0, "")]),
    2: (1, "a0a0a0a0a002", "succeeded", [("failed", 1, "exit code 1"), ("succeeded", 0, "")]),
    3: (
        *(2, "a0a0a0a0a003", "failed"),
        [("failed", 137, "it was killed for want of memory (exit code 137)"), ("failed", 1, "exit code 1")],
    ),
    4: (
        *(2, "a0a0a0a0a004", "lost"),
        [("stopped", None, "stopped by ada"), ("stopped", None, "interrupted: exit code 143"), ("lost", None, GONE)],
    ),
    5: (1, "a0a0a0a0a005", "queued", [("lost", None, GONE)]),
    6: (1, "a0a0a0a0a006", "running", [("running", None, "")]),
    7: (1, "a0a0a0a0a007", "queued", []),
    8: (3, "a0a0a0a0a008", "running", [("running", None, "")]),
    9: (3, "a0a0a0a0a009", "pending", [("pending", None, "")]),
    10: (3, "a0a0a0a0a00a", "pending", [("pending", None, "")]),
    11: (3, "a0a0a0a0a00b", "pending", [("pending", None, "")]),
    12: (3, "a0a0a0a0a00c", "succeeded", [("succeeded", None, "")]),
    13: (
        *(3, "a0a0a0a0a00d", "failed"),
        [("failed", None, "The replica workerpool0-0 exited with a non-zero status of 1.")],
    ),
    14: (3, "a0a0a0a0a00e", "stopped", [("stopped", None, "cancelled")]),
    15: (3, "a0a0a0a0a00f", "lost", [("lost", None, "Vertex AI does not know it any more")]),
    16: (3, "a0a0a0a0a010", "stopped", []),
    17: (3, "a0a0a0a0a011", "queued", []),
    18: (4, "a0a0a0a0a012", "queued", []),
    19: (5, "b0b0b0b0b001", "succeeded", [("succeeded", 0, "")]),
}
"""Each job by its number: its submission, key and status, and the status, exit code and reason of each attempt."""

BACKEND_STATES = {9: "pending", 10: "queued", 11: "not listed by Vertex AI"}
"""What the backend says of the attempts under way; schema 1 had its words in the reason."""

NONE = {"queued": 0, "pending": 0, "running": 0, "succeeded": 0, "failed": 0, "stopped": 0, "lost": 0}


def check_jobs(known: History) -> None:
    """Compare each job and each attempt with what was written."""
    jobs = known.jobs()
    assert {
        job.id: (
            *(job.submission.id, job.key, job.status),
            [(tried.status, tried.exit_code, tried.reason) for tried in job.attempts],
        )
        for job in jobs
    } == JOBS
    assert {job.id: job.last.backend_state for job in jobs if job.last and job.last.backend_state} == BACKEND_STATES
    by_id = {job.id: job for job in jobs}
    first = by_id[1]
    assert first.parameters == (("lr", 0.1), ("depth", 3), ("fast", True), ("name", "größer"))
    assert first.args == ("--lr", "0.1", "--depth", "3", "--fast", "--name", "größer")
    assert first.out == "/home/ada/results/digits/1"
    assert [(one.number, one.handle, one.started, one.ended, one.log) for one in by_id[2].attempts] == [
        (1, "ocicaliban-a0a0a0a0a002-1", 1767225780.25, 1767225840.25, f"{LOGS}/digits/2/attempt-1.log"),
        (2, "ocicaliban-a0a0a0a0a002-2", 1767225900.25, 1767225960.25, f"{LOGS}/digits/2/attempt-2.log"),
    ]
    assert by_id[6].last and by_id[6].last.ended is None
    far = by_id[8]
    assert far.last and far.last.handle == "projects/123/locations/europe-west4/customJobs/9008"
    assert far.out == "gs://ada-digits/results/digits-cloud/a0a0a0a0a008"
    assert (by_id[18].parameters, by_id[18].args, by_id[18].out) == ((), (), "")
    assert by_id[19].args == ("--lr", "0.1", "größer")


def check_counts(known: History) -> None:
    """Compare what is counted, of all jobs and of groups, and what is found by a choice of them."""
    every = {"queued": 4, "pending": 3, "running": 2, "succeeded": 4, "failed": 2, "stopped": 2, "lost": 2}
    assert known.counts() == every
    assert known.counts("digits") == NONE | {"queued": 2, "running": 1, "succeeded": 2, "failed": 1, "lost": 1}
    assert known.counts(submission=2) == NONE | {"failed": 1, "lost": 1}
    assert [(one.name, one.user, one.project, one.created) for one in known.groups()] == [
        ("digits-brave-otter", "ada", "/home/ada/digits", 1767228820.25),
        ("digits-bare", "bob", "/home/ada/digits", 1767228760.25),
        ("digits-cloud", "ada", "/home/ada/digits", 1767226860.25),
        ("digits", "ada", "/home/ada/digits", 1767225600.25),
    ]
    assert [job.id for job in known.queued(1)] == [5, 7]
    assert [job.id for job in known.jobs(target=backend.TARGET, statuses=UNDER_WAY)] == [8, 9, 10, 11]
    assert [job.id for job in known.jobs(keys=["b0b0b0b0b001"])] == [19]
    assert known.unfinished_images(user="ada", host="workstation", targets=["local"]) == {
        "1d" * 32: frozenset({"digits"})
    }


def check_submissions(known: History) -> None:
    """Compare the submissions, and what the commands that wrote them were told, as the types that it had."""
    sweep, again, cloud, bare, single = known.submissions()
    launch = Launch(
        command=("python3", "-m", "trainer.train"),
        env=(("MODE", "train it"),),
        mounts=("/home/ada/data:/usr/app/data:ro",),
        devices=("gpu",),
        workdir="/usr/app",
    )
    assert sweep == Submission(
        id=1,
        group="digits",
        user="ada",
        host="workstation",
        target="local",
        project="/home/ada/digits",
        mode="run",
        module="trainer.train",
        image="1d" * 32,
        plan_key=PLAN_KEY,
        commit=COMMIT,
        dirty=True,
        launch=launch,
        options=sweep.options,
        created=1767225600.25,
    )
    asked = LaunchRequest(
        mode="run",
        module="trainer.train",
        settings={"jupyter": {"version": "4.4"}},
        podman_args="-e TOKEN --shm-size=1g",
        no_cache=True,
        gpu_wanted=True,
        gpus="0,1",
        extras=("cuda",),
        dirs=("data",),
        cloud_key="/home/ada/key.json",
    )
    wanted = JobsRequest(
        group="digits",
        jobs=2,
        gpus_per_job=1,
        cpus=1.5,
        memory="4g",
        fail_fast=True,
        retries=2,
        out="/home/ada/results",
    )
    assert requested(sweep, LaunchRequest, JobsRequest) == (asked, wanted)
    assert (again.image, again.launch, again.options) == ("2d" * 32, launch, {**sweep.options, "retries": 0})
    assert requested(again, LaunchRequest, JobsRequest)[1].retries == 0

    assert (cloud.target, cloud.host, cloud.dirty) == (backend.TARGET, "workstation", False)
    assert cloud.image == f"registry.example/ada/digits@sha256:{'ab' * 32}"
    assert requested(cloud, CloudRequest) == CloudRequest(
        mode="cloud",
        module="trainer.train",
        project_id="ada-digits",
        region="europe-west4",
        repository="registry.example/ada/digits",
        group="digits-cloud",
        extras=("cuda",),
        dirs=("data",),
        cloud_key="/home/ada/key.json",
    )
    assert options.recorded(cloud) == Options(
        machine=Machine(type="n1-standard-8", accelerator="NVIDIA_TESLA_V100", count=2),
        replicas=2,
        boot_disk=200,
        spot=True,
        timeout=3600,
        restarts=0,
        service_account="trainer@ada-digits.example",
        network="projects/123/global/networks/default",
        output="gs://ada-digits/results",
        entrypoint=("python3", "-m", "trainer.train"),
        command=("train",),
        labels=(("team", "vision"),),
        name="digits",
    )

    assert (bare.user, bare.host, bare.module, bare.commit) == ("bob", "server", "", "")
    assert requested(bare, LaunchRequest, JobsRequest) == (LaunchRequest(mode="run"), JobsRequest())
    assert (single.group, single.commit, single.dirty) == ("digits-brave-otter", COMMIT, True)
    assert [provenance.alone(one) for one in (sweep, again, cloud, bare, single)] == [False, False, False, False, True]
    assert requested(single, LaunchRequest, JobsRequest) == (
        LaunchRequest(mode="run", module="trainer.train"),
        JobsRequest(),
    )
    assert all(group_names.check(one.group) for one in (sweep, again, cloud, bare, single))


def check_going_on(known: History) -> None:
    """Go on with what is queued, try again what has ended, and add to it: no number is given a second time."""
    assert known.begin(5, log=lambda number: f"/log-{number}", started=1.0)
    assert known.end(5, 2, "succeeded", exit_code=0, ended=2.0)
    (job,) = known.jobs(ids=[5])
    assert [(one.number, one.status) for one in job.attempts] == [(1, "lost"), (2, "succeeded")]
    assert known.stop_queued([17]) == (17,)
    assert known.observed(9, 1, status="running")
    (job,) = known.jobs(ids=[9])
    assert job.last and (job.status, job.last.status, job.last.backend_state) == ("running", "running", "")
    assert known.end(10, 1, "failed", reason="expired", ended=1767226930.25)
    made = Submission(
        target="local", group="new", user="ada", host="workstation", project="/home/ada/digits", mode="run"
    )
    assert known.resubmit(made, [3, 6]).id == 6
    assert [job.id for job in known.jobs(submission=6)] == [3]  # the other one runs
    assert known.submit(made, [JobSpec()]).id == 7
    assert [job.id for job in known.jobs(submission=7)] == [20]


def check(known: History) -> None:
    """Compare all that a history of schema 1 holds; it is changed at the end."""
    check_jobs(known)
    check_counts(known)
    check_submissions(known)
    check_going_on(known)
