"""Jobs for Vertex AI, with a registry and a service that are only thought of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import cloud_dry_run, cloud_image, cloud_jobs, resubmit, resume
from ocicaliban.app.cloud_jobs import CloudJobs
from ocicaliban.app.requests import CloudRequest, MachinesRequest
from ocicaliban.dependencies import resolver
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.history import access
from ocicaliban.project.lockfile import Resolution
from ocicaliban.registry import lookup, push
from ocicaliban.registry.lookup import RemoteImage
from ocicaliban.registry.push import Pushed
from ocicaliban.registry.reference import Destination
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.submit_once import CreateFault, Limits, ObservedJob
from ocicaliban.targets.vertex import client, library

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

DIGEST = f"sha256:{'d' * 64}"


class Service:
    """A service that takes every job, unless it refuses."""

    title = "Vertex AI"
    limits = Limits(look_after=(0.0,), at_once=1)
    project = "ada-digits"

    def __init__(self) -> None:
        self.taken: dict[str, Mapping[str, object]] = {}
        self.refusal: OcicalibanError | None = None
        self.after = 1000

    def patient(self, patience: float) -> Service:
        return self

    def check(self, body: Mapping[str, object] | None = None) -> None:
        if self.refusal and not self.after:
            raise self.refusal

    def message(self, body: Mapping[str, object]) -> Mapping[str, object]:
        return body

    def create(self, message: Mapping[str, object]) -> str:
        if self.refusal and len(self.taken) >= self.after - 1:
            raise CreateFault("refused", self.refusal.message)
        name = f"projects/1/locations/us-central1/customJobs/{len(self.taken) + 1}"
        self.taken[name] = message
        return name

    def look(self, *groups: str) -> Sequence[ObservedJob]:
        return [self._observed(name, body) for name, body in self.taken.items()] if groups else []

    def look_for(self, *keys: str) -> Sequence[ObservedJob]:
        return [each for each in self.look("all") if each.key in keys]

    def _observed(self, name: str, body: Mapping[str, object]) -> ObservedJob:
        labels: Mapping[str, str] = body["labels"]  # type: ignore[assignment]
        return ObservedJob(
            key=labels["ocicaliban-job"], attempt=int(labels["ocicaliban-attempt"]), name=name, state="RUNNING",
            status="running", created=1.0,
        )  # fmt: skip

    def cancel(self, names: Sequence[str]) -> Mapping[str, str]:
        return {}

    def explain(self, fault: Exception, before: str) -> OcicalibanError:
        return self.refusal or OcicalibanError(str(fault))


class Registry:
    """A registry that has what was pushed to it."""

    def __init__(self) -> None:
        self.pushed: list[Destination] = []
        self.there: RemoteImage | None = RemoteImage(
            digest=DIGEST, has_config=True, entrypoint=("python3",), command=("x.py",)
        )

    def push(self, image: object, target: Destination, registry: object, **how: object) -> Pushed:
        before: Callable[[], None] = how["before"]  # type: ignore[assignment]
        before()
        self.pushed.append(target)
        return Pushed(repository=target.repository, digest=DIGEST, sent=10, saved=20)

    def look(self, target: Destination, name: str, reporter: object) -> RemoteImage | None:
        return self.there


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(client, "connect", lambda project, region, **_: made)
    monkeypatch.setattr(library, "preload", lambda: None)
    return made


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry()
    monkeypatch.setattr(push, "connect", lambda target, reporter: made)
    monkeypatch.setattr(push, "push", made.push)
    monkeypatch.setattr(lookup, "find_image", made.look)
    return made


def prepared(sweep: str = "", args: tuple[str, ...] = ("--lr", "1"), **how: object) -> CloudJobs:
    told = {"mode": "cloud", "module": "train.py", "repository": "ghcr.io/ada/digits", "region": "", **how}
    names = MachinesRequest.__annotations__
    machines = MachinesRequest(**{name: value for name, value in told.items() if name in names})  # type: ignore[arg-type]
    request = CloudRequest(**{name: value for name, value in told.items() if name not in names})  # type: ignore[arg-type]
    return cloud_jobs.prepare(request, machines, sweep, args)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"module": ""}, "cloud needs a MODULE"),
        ({"gpu_spec": "1xT4", "nogpu": True}, "--nogpu and --gpu-spec exclude each other"),
        ({"image_tag": "x"}, "--image-tag and --to exclude each other"),
        ({"image_tag": "x", "repository": "", "extras": ("a",)}, "--image-tag and --extras exclude"),
        ({"group": "a b"}, "is not a valid name for a group"),
        ({"label": ("a",)}, "not of the form KEY=VALUE"),
        ({"cloud_key": "nowhere.json"}, "there is no file"),
        ({"region": "mars"}, "no region 'mars'"),
        ({"output_dir": "results"}, "--output-dir results"),
    ],
)
def test_what_no_job_can_be_is_told_before_anything_slow(world: World, how: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        prepared(**how)  # type: ignore[arg-type]


def test_a_notebook_in_a_subfolder_starts_there_and_where_its_output_goes_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write({"work/study.ipynb": "{}"})
    locked = Resolution(inputs="", requirements="papermill==2.6.0\n")
    monkeypatch.setattr(resolver, "resolve_additions", lambda *_: locked)
    monkeypatch.chdir(world.project / "work")
    jobs = prepared(module="study.ipynb")
    assert "the executed notebook is lost with its container: --output-dir" in capsys.readouterr().err
    body = json.loads(list(cloud_dry_run.dry_run_lines(jobs))[-1])
    container = body["job_spec"]["worker_pool_specs"][0]["container_spec"]
    there = ["env", "--chdir=/usr/app/work", "python3", "/opt/ocicaliban/notebook.py", "study.ipynb"]
    assert (container["command"], container["args"]) == (there, ["--lr", "1"])
    prepared(module="study.ipynb", output_dir="gs://bucket/results")
    assert "lost" not in capsys.readouterr().err


def test_a_job_is_built_pushed_and_submitted(
    world: World, service: Service, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    group = cloud_jobs.submit(prepared(gpu_spec="2xV100", label=("team=vision",), timeout="1h", group="g"))
    assert group == "g"
    [job] = world.jobs()
    [body] = service.taken.values()
    assert job.submission.image == f"ghcr.io/ada/digits@{DIGEST}" and job.submission.project == str(world.project)
    options = job.submission.options
    assert (options["project_id"], options["region"], options["gpu"]) == ("ada-digits", "us-central1", True)
    assert sorted(options) == [
        "cloud_key", "dirs", "extras", "gpu", "group", "image_tag", "mode", "module", "no_cache", "project_id",
        "region", "repository", "tls_verify", "version", "vertex", "with_groups",
    ]  # fmt: skip
    assert job.last and job.last.handle in service.taken
    assert "vision" in json.dumps(body) and "NVIDIA_TESLA_V100" in json.dumps(body)
    told = capsys.readouterr()
    assert "g: 1 job to us-central1" in told.err and "pushed ghcr.io/ada/digits@" in told.err
    assert "ocicaliban status --group g" in told.err and not told.out


def test_the_same_command_goes_on_after_it_was_interrupted(
    world: World, service: Service, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write({"sweep.json": '{"x": [1, 2, 3]}'})
    jobs = prepared("sweep.json")
    service.refusal, service.after = Refused("no quota"), 2
    with pytest.raises(Refused):
        cloud_jobs.submit(jobs)
    assert "1 of 3 jobs were submitted; the others wait" in capsys.readouterr().err
    service.refusal = None
    cloud_jobs.submit(jobs)
    assert len(service.taken) == 3 and len(world.jobs()) == 3
    assert "this command was interrupted before; the 2 jobs that are left are submitted now" in capsys.readouterr().err


def test_what_a_killed_command_had_submitted_is_not_submitted_twice(
    world: World, service: Service, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    first = cloud_jobs.submit(prepared())
    with world.history() as history:
        [made] = history.submissions()
    lock = world.folder / f"state/ocicaliban/submissions/{made.id}-{int(made.created * 1000)}.lock"
    lock.touch()  # a killed process leaves it
    assert cloud_jobs.submit(prepared()) == first
    assert len(service.taken) == 1 and "none is submitted twice" in capsys.readouterr().err
    assert cloud_jobs.submit(prepared()) != first and len(service.taken) == 2


def test_jobs_that_the_service_refuses_are_not_left_waiting(world: World, service: Service, registry: Registry) -> None:
    service.refusal, service.after = Refused("no quota", "ask for more"), 1
    with pytest.raises(Refused, match="no quota\nno job of g was submitted") as caught:
        cloud_jobs.submit(prepared(group="g"))
    assert caught.value.hint == "ask for more; to try the same again: ocicaliban resubmit --group g"
    assert world.statuses() == ["stopped"]
    service.refusal = None
    assert resubmit.resubmit("g", all_jobs=False, rebuild=False).groups == ("g",)
    assert len(service.taken) == 1


def test_a_service_that_refuses_before_is_heard_before_the_push(
    world: World, service: Service, registry: Registry
) -> None:
    service.refusal, service.after = Refused("no permission"), 0
    with pytest.raises(Refused, match="no permission"):
        cloud_jobs.submit(prepared())
    assert registry.pushed == [] and world.jobs() == ()


def test_a_group_is_resumed_and_rebuilt(world: World, service: Service, registry: Registry) -> None:
    world.write({"sweep.json": '{"x": [1, 2]}'})
    service.refusal, service.after = Refused("no quota"), 2
    with pytest.raises(Refused):
        cloud_jobs.submit(prepared("sweep.json", group="g"))
    service.refusal = None
    assert resume.resume("g").groups == ("g",)
    assert len(service.taken) == 2
    with world.history() as history:
        for job in history.jobs():
            assert job.last and history.end(job.id, job.last.number, "failed", ended=2.0)
    registry.pushed.clear()
    assert resubmit.resubmit("g", all_jobs=False, rebuild=True).groups == ("g",)
    assert len(service.taken) == 4 and len(registry.pushed) == 1


def test_an_image_that_left_its_registry_is_told(world: World, service: Service, registry: Registry) -> None:
    cloud_jobs.submit(prepared(group="g"))
    [job] = world.jobs()
    registry.there = None
    for tag, hint in (("", "ocicaliban stop --group g, and then ocicaliban resubmit"), ("x:v1", "push it again")):
        request = CloudRequest(mode="cloud", image_tag=tag)
        with pytest.raises(UsageError, match=r"the image of g is not in ghcr\.io/ada/digits any more") as caught:
            cloud_image.check(job.submission, request, waiting=True)
        assert caught.value.hint.startswith(hint)


def test_an_image_of_a_registry_is_looked_up(world: World, service: Service, registry: Registry) -> None:
    def found(image_tag: str, module: str = "") -> cloud_image.CloudImage:
        jobs = prepared(image_tag=image_tag, repository="", module=module)
        return cloud_image.look_up(jobs.request, evolve(jobs.first, args=()))

    image = found("ghcr.io/ada/digits:v1")
    assert (image.reference, image.entrypoint, image.command) == (
        f"ghcr.io/ada/digits@{DIGEST}", ("python3",), ("x.py",),
    )  # fmt: skip
    assert found("localhost:5055/digits", "train.py").entrypoint == ("python3", "train.py")
    with pytest.raises(UsageError, match="'sha256:12' is not a digest"):
        found("ghcr.io/ada/digits@sha256:12")
    registry.there = RemoteImage(digest=DIGEST, has_config=True)
    with pytest.raises(UsageError, match="the image has no entry point"):
        found("ghcr.io/ada/digits:v1")
    registry.there = None
    with pytest.raises(UsageError, match="the registry has no such image"):
        found("ghcr.io/ada/digits:v1")


def test_a_mode_that_mounts_cannot_go_to_the_cloud(world: World, service: Service, registry: Registry) -> None:
    text = (world.project / "ocicaliban.toml").read_text()
    world.write({"ocicaliban.toml": text + '[modes]\nmounted = ["base", "source-mount", "command"]\n'})
    with pytest.raises(UsageError, match="mounts folders of this machine"):
        cloud_jobs.submit(prepared(mode="mounted"))


def test_a_dry_run_shows_the_layers_and_the_jobs(world: World, service: Service, registry: Registry) -> None:
    world.write({"sweep.json": '{"x": [1, 2]}'})
    lines = list(cloud_dry_run.dry_run_lines(prepared("sweep.json")))
    comments = [line for line in lines if line.startswith("#")]
    bodies = [json.loads(line) for line in lines[len(comments) :]]
    assert comments and len(bodies) == 2
    assert {body["labels"]["ocicaliban-job"] for body in bodies} == {"000000000001", "000000000002"}
    assert f"ghcr.io/ada/digits@sha256:{'0' * 64}" in lines[-1]
    assert not registry.pushed and not service.taken and not access.exists()
    [line] = cloud_dry_run.dry_run_lines(prepared(image_tag="ghcr.io/ada/digits:v1", repository=""))
    assert DIGEST in line
