"""The command cloud: builds the image, pushes it, and submits a job for each point of a sweep to Vertex AI."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import asdict, evolve, frozen

from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Module, NoCache
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from ocicaliban.experiment import Sweep
    from ocicaliban.history import History
    from ocicaliban.model import Job, Submission
    from ocicaliban.session import Planned
    from ocicaliban.targets.vertex import Service
    from ocicaliban.vertex import Options

_MANY = 1000
"""So many jobs may be an accident."""


def cloud(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build.")] = "cloud",
    project_id: Annotated[
        str, typer.Option("--project-id", envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud's project.")
    ] = "",
    region: Annotated[str, typer.Option("--region", envvar="CLOUDSDK_AI_REGION", help="Where the jobs run.")] = "",
    machine_type: Annotated[str, typer.Option("--machine-type", help="For example n1-standard-8, a2-highgpu-1g.")] = "",
    gpu_spec: Annotated[str, typer.Option("--gpu-spec", help="GPUs of each machine: 2xV100, 1xL4, 8xH100.")] = "",
    tpu_spec: Annotated[str, typer.Option("--tpu-spec", help="TPU chips: 8xV3.")] = "",
    service_account: Annotated[str, typer.Option("--service-account", help="Who the jobs are.")] = "",
    network: Annotated[str, typer.Option("--network", help="The VPC network that they are in.")] = "",
    boot_disk: Annotated[int | None, typer.Option("--boot-disk", help="Gigabytes of the boot disk.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Machines that are cheaper, and may be taken away.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest that a job may run: 12h, 90m, 3600.")] = "",
    max_restarts: Annotated[
        int | None, typer.Option("--max-restarts", min=0, help="0: a job that fails is not started again.")
    ] = None,
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="Machines for each job.")] = 1,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="KEY=VALUE", help="A label; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The jobs' names begin with it (default: the group).")] = "",
    output_dir: Annotated[
        str,
        typer.Option("--output-dir", metavar="gs://...", help="Where each job's /out goes, in a folder of its own."),
    ] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="REPOSITORY", help="Where the image is pushed to, as in `ocicaliban push`.")
    ] = "",
    image_tag: Annotated[
        str, typer.Option("--image-tag", help="Run this image, which is in a registry; build and push nothing.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Submit what the table of machines contradicts.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help=f"Submit more than {_MANY} jobs without asking.")] = False,
    experiment_config: Annotated[
        str, typer.Option("--experiment-config", metavar="FILE|stdin", help="A sweep file: a job for each point.")
    ] = "",
    group: Annotated[
        str, typer.Option("-g", "--group", "--xgroup", help="The group of the jobs (default: a new one).")
    ] = "",
    extras: Extras = None,
    dirs: Dirs = None,
    no_cache: NoCache = False,
    cloud_key: CloudKey = "",
    tls_verify: Annotated[bool, typer.Option("--tls-verify/--no-tls-verify", help="As podman's.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs; build, push and submit nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Build the image, push it and submit MODULE to Vertex AI; arguments after -- go to the script."""
    from ocicaliban import clouds, groups, vertex
    from ocicaliban.cli import start
    from ocicaliban.cli.experiment import read
    from ocicaliban.targets import vertex as service

    start.require_user()
    if not module and mode == "cloud" and not image_tag:
        raise UsageError("cloud needs a MODULE", "ocicaliban cloud trainer.train -- --lr 0.1")
    points = read(experiment_config) if experiment_config else None
    if group:
        groups.check(group)
    region = region or clouds.REGION
    machine, doubts = vertex.machine(machine_type, gpu_spec, tpu_spec, region, force)
    options = vertex.Options(
        machine=machine,
        replicas=replicas,
        boot_disk=boot_disk,
        spot=spot,
        timeout=_seconds(timeout),
        restarts=max_restarts,
        service_account=service_account,
        network=network,
        output=output_dir,
        labels=tuple(map(_label, label or ())),
        name=name,
    )
    for doubt in doubts:
        start.say(f"warning: {doubt}")
    asked = Submitting(
        mode=mode, module=module, project_id=project_id, region=region, repository=to, image_tag=image_tag, group=group,
        extras=tuple(extras or ()), dirs=tuple(dirs or ()), no_cache=no_cache, cloud_key=cloud_key,
        tls_verify=tls_verify, gpu=bool(gpu_spec),
    )  # fmt: skip
    args: tuple[str, ...] = context.obj.script
    _sane(points, options, args, asked)
    if dry_run:
        _dry_run(asked, options, points, args)
        return
    service.preload()  # seconds, which are not felt while the image is built and pushed
    _ask(points, yes)
    raise typer.Exit(_submit(asked, options, points, args))


@frozen(kw_only=True)
class Submitting:
    """What `cloud` was told of the image and of where it goes."""

    mode: str
    module: str
    project_id: str
    region: str
    repository: str
    image_tag: str
    group: str
    extras: tuple[str, ...]
    dirs: tuple[str, ...]
    no_cache: bool
    cloud_key: str
    tls_verify: bool
    gpu: bool


_TIME = re.compile(r"(\d+)([dhms]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(text: str) -> int | None:
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None or not int(match[1]):
        raise UsageError(f"--timeout {text}: not a length of time", "for example 12h, 90m or 3600")
    return int(match[1]) * _SECONDS[match[2]]


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--label {text}: no KEY=VALUE", "for example --label team=vision")
    return key, value


def _first(points: Sweep | None, args: tuple[str, ...], asked: Submitting) -> Job:
    """The first job as it would be, for a look at it."""
    from ocicaliban import experiment
    from ocicaliban.model import Job, JobSpec, Submission

    spec = next(experiment.specs(points, args)) if points else JobSpec(args=args)
    made = Submission(
        group=asked.group or "group", user="", host="", project=str(Path.cwd()), mode=asked.mode, module=asked.module
    )
    return Job(id=0, key="0" * 12, submission=made, parameters=spec.parameters, args=spec.args)


_NO_DIGEST = f"image@sha256:{'0' * 64}"


def _sane(points: Sweep | None, options: Options, args: tuple[str, ...], asked: Submitting) -> None:
    """Raise UsageError for what no job can be, before anything slow."""
    from ocicaliban import vertex

    vertex.custom_job(_first(points, args, asked), _NO_DIGEST, options)


def _ask(points: Sweep | None, yes: bool) -> None:
    from ocicaliban import experiment

    count = experiment.count(points) if points else 1
    if count <= _MANY or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{count} jobs are many", "--yes, if you mean it")
    typer.confirm(f"submit {count} jobs?", abort=True, err=True)


def _planned(asked: Submitting, *, resolve: bool) -> Planned:
    from ocicaliban import session
    from ocicaliban.cli import start

    planned = session.read(
        Path.cwd(),
        asked.mode,
        asked.module,
        gpu_elsewhere=asked.gpu,
        extras=asked.extras,
        dirs=asked.dirs,
        resolve=resolve,
        fresh=asked.no_cache,
        say=start.say,
    )
    if planned.plan.launch.mounts:
        hint = 'take "source-copy" into its list instead of "source-mount"'
        raise UsageError(f"the mode '{asked.mode}' mounts folders of this machine, which the cloud has not", hint)
    return planned


def _dry_run(asked: Submitting, options: Options, points: Sweep | None, args: tuple[str, ...]) -> None:
    from ocicaliban import experiment, render, vertex
    from ocicaliban.cli.image import state

    if not asked.image_tag:
        planned = _planned(asked, resolve=False)
        for line in render.lines(planned.plan, *state(planned)):
            print(f"# {line}")
    first = _first(points, args, asked)
    for spec in experiment.specs(points, args) if points else ():
        body, _ = vertex.custom_job(evolve(first, parameters=spec.parameters, args=spec.args), _NO_DIGEST, options)
        print(json.dumps(body))
    if not points:
        print(json.dumps(vertex.custom_job(first, _NO_DIGEST, options)[0]))


def _is_slow(planned: Planned) -> bool:
    """Whether more than files are to be put into the image: then what can fail is looked at before."""
    from ocicaliban import base as bases
    from ocicaliban import store

    known = store.images()
    if bases.present(planned.plan.base) is None:
        return True
    return any(layer.runs and store.find(layer.name, layer.key, known) is None for layer in planned.plan.layers)


def _submit(asked: Submitting, options: Options, points: Sweep | None, args: tuple[str, ...]) -> int:
    """Build, push, submit; returns the exit code."""
    from ocicaliban import experiment, groups, history
    from ocicaliban.cli import start
    from ocicaliban.model import JobSpec

    with history.open(say=start.say) as known:
        made, at, options = prepared(asked, options)
        count = experiment.count(points) if points else 1
        specs = experiment.specs(points, args) if points else iter([JobSpec(args=args)])
        made = known.submit(evolve(made, group=asked.group or groups.new(Path.cwd())), specs)
        start.say(f"{made.group}: {count} job{'s' if count > 1 else ''} to {asked.region}")
        return send(known, made, options, at)


def prepared(asked: Submitting, options: Options) -> tuple[Submission, Service, Options]:
    """What the jobs have in common, with their image in the registry, and the connection to the service.

    What can be refused is asked before anything slow. Raises OcicalibanError where it is.
    """
    from concurrent.futures import ThreadPoolExecutor

    from ocicaliban import attend, clouds, git
    from ocicaliban.cli import start
    from ocicaliban.cli.push import Pushing, pushed, resolved
    from ocicaliban.model import Configure, Launch, Submission

    def connected() -> Service:
        from ocicaliban.targets import vertex as service

        at = service.connect(asked.project_id, asked.region, key_file=asked.cloud_key)
        at.check()
        return at

    launch, key = Launch(), ""
    with ThreadPoolExecutor(1) as beside:
        connecting = beside.submit(connected)
        if asked.image_tag:
            reference = resolved(asked.image_tag, asked.tls_verify, asked.cloud_key)
        else:
            to = Pushing(repository=asked.repository, tls_verify=asked.tls_verify, cloud_key=asked.cloud_key)
            to.check()
            planned = _planned(asked, resolve=True)
            if _is_slow(planned):
                connecting.result()
            image = start.built(planned, asked.no_cache)
            start.record_built(planned)
            if connecting.done():
                connecting.result()
            reference = pushed(image, to)
            launch, key = planned.plan.launch, planned.plan.key
            steps = [step for layer in planned.plan.layers for step in layer.steps if isinstance(step, Configure)]
            entry = next((step.entrypoint for step in reversed(steps) if step.entrypoint), ())
            options = evolve(options, entrypoint=launch.command or entry)
        at = connecting.result()
    kept = evolve(asked, project_id=at.project)
    made = Submission(
        group=asked.group,
        user=attend.user(),
        host=attend.host(),
        target=clouds.TARGET,
        project=str(Path.cwd()),
        mode=asked.mode,
        module=asked.module,
        image=reference,
        plan_key=key,
        launch=launch,
        options={**asdict(kept), "vertex": asdict(options)},
    )
    commit, dirty = git.head(Path.cwd())
    return evolve(made, commit=commit, dirty=dirty), at, options


def send(known: History, made: Submission, options: Options, at: Service) -> int:
    """Submit what is queued of a submission; returns the exit code."""
    from ocicaliban import clouds, output
    from ocicaliban.cli import start

    count = known.counts(submission=made.id)["queued"]
    with output.counting(f"{made.group}: submitted", count, say=start.say) as one:
        clouds.submit(known, made, options, at, lambda job, name: one(f"job {job.id}: {name}"), start.say)
    start.say(f"  to see them: ocicaliban status --group {made.group}")
    print(made.group)
    return 0


def again(made: Submission) -> tuple[Submitting, Options]:
    """What `cloud` was told, from the history."""
    from ocicaliban import attend, vertex

    own = {name: value for name, value in made.options.items() if name in Submitting.__annotations__}
    return attend.structured(own, Submitting), attend.structured(made.options["vertex"], vertex.Options)
