"""How a fixed job is started and stopped, on this machine and on Vertex AI, as the files in `tests/golden` hold it.

Labels and names are what a later version finds a container by; the rest is what users' jobs rely on. A change that is
meant edits the file: put what the test shows into it, and say why.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.containers import command_line, podman
from ocicaliban.execution import runner as sweep
from ocicaliban.execution import scheduler
from ocicaliban.gpu.cdi import Device
from ocicaliban.history import store
from ocicaliban.interactive import jupyter_command, notebook_server
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings
from ocicaliban.model.image import Image, Launch
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.model.resources import Resources
from ocicaliban.system import process
from ocicaliban.targets.local import backend, container_spec
from ocicaliban.targets.local.container_spec import JobContainer
from ocicaliban.targets.vertex import job_spec, labels, machines, options

GOLDEN = Path(__file__).parents[1] / "golden"

LAUNCH = Launch(
    command=("python3", "-m", "trainer.train"),
    env=(("MODE", "train it"),),
    mounts=("/home/ada/data:/usr/app/data:ro", "/home/ada/digits:/usr/app"),
    ports=("8888:8888",),
    devices=("gpu",),
    workdir="/usr/app",
)
JOB = Job(
    id=7,
    key="0123456789ab",
    submission=Submission(
        target="local",
        id=3,
        group="digits-1",
        user="ada",
        host="workstation",
        project="/home/ada/digits",
        mode="run",
        module="trainer.train",
        image="1d" * 32,
        launch=LAUNCH,
    ),
    parameters=(("lr", 0.1), ("depth", 3), ("fast", True), ("name", "größer")),
    args=("--epochs", "2", "--lr", "0.1", "--depth", "3", "--fast", "--name", "größer"),
    out="/home/ada/results/7",
)
ATTEMPT = Attempt(number=2, handle=store.handle(JOB.key, 2), log="/home/ada/logs/7/2.log")
DEVICES = tuple(
    Device(kind="nvidia.com/gpu", name=name, spec=Path("/etc/cdi/nvidia.yaml"), version="0.5.0") for name in ("0", "1")
)
OPTIONS = ("--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1")
LIMITS = Resources(cpus=1.5, memory=4 << 30)
WHOLE = JobContainer(
    image="1d" * 32,
    launch=container_spec.for_job(LAUNCH, JOB),
    args=JOB.args,
    attempt=ATTEMPT,
    labels=container_spec.labels_of(JOB, ATTEMPT, DEVICES),
    device_options=OPTIONS,
    resources=LIMITS,
)
ENVIRON = {"http_proxy": "http://proxy.example:3128", "NO_PROXY": "localhost", "SECRET": "none of podman's business"}


def golden(name: str) -> Any:
    """What a golden file holds."""
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def plain(value: object) -> Any:
    """Give back a value as JSON holds it: lists for tuples."""
    return json.loads(json.dumps(value))


def specs() -> Mapping[str, object]:
    """Compare what podman's service gets for a job with all options, and for one with none."""
    bare = JobContainer(image="1d" * 32, launch=Launch(), args=(), attempt=ATTEMPT)
    return {"whole": container_spec.api_spec(WHOLE, ENVIRON), "bare": container_spec.api_spec(bare, {})}


def argvs() -> Mapping[str, Sequence[str]]:
    """The command lines of podman that make and start containers."""
    image = Image(id="1d" * 32, digest="", key="")
    options = functools.partial(command_line.ContainerOptions, name=ATTEMPT.handle)
    labelled = command_line.label_options({command_line.JOB: JOB.key})
    return {
        "create": command_line.create_argv(
            "1d" * 32,
            WHOLE.launch,
            JOB.args,
            options(extra=container_spec.create_options(WHOLE, (4, 3, 1))),
        ),
        "run": command_line.run_argv(image, LAUNCH, JOB.args, options(extra=labelled)),
        "run, at a terminal": command_line.run_argv(image, LAUNCH, (), options(terminal=(True, True), extra=labelled)),
        "run, with a pipe": command_line.run_argv(image, Launch(), (), options(terminal=(True, False))),
        "run, detached": command_line.run_argv(image, LAUNCH, (), options(entrypoint=("bash", "-l")), detached=True),
        "run, as a job of a group": command_line.run_argv(
            image, LAUNCH, JOB.args, options(extra=container_spec.terminal_options(JOB, ATTEMPT))
        ),
    }


def test_the_container_that_podmans_service_makes_stays() -> None:
    assert plain(specs()) == golden("container.json")


def test_podmans_command_lines_stay() -> None:
    assert plain(argvs()) == golden("podman.json")


def test_every_container_has_an_init_process() -> None:
    """A PID 1 that does not handle SIGTERM would not get it."""
    assert [spec["init"] for spec in golden("container.json").values()] == [True, True]
    assert all("--init" in argv for argv in golden("podman.json").values())


def test_a_job_has_ten_seconds_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(process, "run", lambda argv, **_: asked.append(argv))
    backend.BACKEND.stop_containers(["ocicaliban-0123456789ab-2"])
    assert plain(
        {
            "asked to end": asked[0],
            "seconds in a sweep": sweep.Options(places=scheduler.slots(())).grace,
            "seconds by default": sweep.GRACE,
        }
    ) == golden("grace.json")


def test_names_and_labels_of_containers_stay() -> None:
    assert store.handle("0123456789ab", 2) == "ocicaliban-0123456789ab-2"
    assert podman.container_name(key="0123456789ab") == "ocicaliban-0123456789ab"
    assert (command_line.LABEL, command_line.JOB) == ("ocicaliban.", "ocicaliban.job")


def custom_jobs() -> Mapping[str, object]:
    """Compare what Vertex AI gets for a job with all options, and for one with none."""
    image = f"registry.example/ada/digits@sha256:{'ab' * 32}"
    whole = options.Options(
        machine=machines.Machine(type="n1-standard-8", accelerator="NVIDIA_TESLA_V100", count=2),
        replicas=3,
        boot_disk=200,
        spot=True,
        timeout=3600,
        restarts=0,
        service_account="trainer@digits.iam.gserviceaccount.com",
        network="projects/123/global/networks/default",
        output="gs://ada-digits/results/",
        entrypoint=("python3", "-m", "trainer.train"),
        labels=(("team", "Vision"), ("owner", "ada")),
        name="digits",
    )
    bare = options.Options(machine=machines.Machine(type="n1-standard-8"), restarts=1, command=("train",))
    tpu = options.Options(machine=machines.Machine(type="ct5lp-hightpu-4t", topology="2x2"), entrypoint=("python3",))
    job = Job(id=8, key="ba9876543210", submission=JOB.submission)
    return {
        "whole": job_spec.custom_job(JOB, image, whole, 2),
        "bare": job_spec.custom_job(job, image, bare),
        "tpu": job_spec.custom_job(JOB, image, tpu),
    }


def test_what_vertex_ai_is_told_stays() -> None:
    assert plain(custom_jobs()) == golden("custom-job.json")


def test_the_labels_by_which_jobs_are_found_at_vertex_ai_stay() -> None:
    assert labels.group_filter("Digits.1") == 'labels.ocicaliban-group="digits_1"'
    assert labels.key_filter("0123456789ab") == 'labels.ocicaliban-job="0123456789ab"'
    assert labels.ATTEMPT_LABEL == "ocicaliban-attempt"


def test_the_label_of_a_notebooks_container_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version finds the servers of this one by the label, and reads their settings from it."""
    settings = NotebookSettings(
        project="/home/ada/digits",
        port=8888,
        interface="lab",
        environment="e" * 64,
        version="4.4",
        variant="gpu",
        extras=("cuda",),
    )
    label = (
        '{"project": "/home/ada/digits", "port": 8888, "interface": "lab", "environment": "' + "e" * 64 + '",'
        ' "version": "4.4", "variant": "gpu", "extras": ["cuda"]}'
    )
    words = jupyter_command.container_options(settings, None, {})
    assert words[words.index("--label") + 1] == f"ocicaliban.notebook={label}"
    container = {
        "Name": "ocicaliban-0123456789ab",
        "Config": {"Labels": {"ocicaliban.notebook": label}, "Env": ["JUPYTER_TOKEN=made-up"]},
        "State": {"Status": "exited"},
    }
    monkeypatch.setattr(process, "run", lambda argv, **_: "1d\n" if "label=ocicaliban.notebook" in argv else "")
    monkeypatch.setattr(process, "output", lambda argv, **_: json.dumps([container]))
    (found,) = notebook_server.find_servers()
    assert found == NotebookServer(
        container="ocicaliban-0123456789ab", settings=settings, token="made-up", state="exited"
    )
