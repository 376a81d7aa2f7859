"""The command cloud: builds the image, pushes it, and submits a job for each point of a sweep to Vertex AI."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.options import Debug, Dirs, Extras, Module, NoCache, TlsVerify, truth
from ocicaliban.errors import UsageError
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.jobs.expansion import Sweep

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
    nogpu: Annotated[bool, typer.Option("--nogpu", help="No GPU, which is so without --gpu-spec.")] = False,
    tpu_spec: Annotated[str, typer.Option("--tpu-spec", help="TPU chips: 8xV3.")] = "",
    service_account: Annotated[str, typer.Option("--service-account", help="Who the jobs are.")] = "",
    network: Annotated[str, typer.Option("--network", help="The VPC network that they are in.")] = "",
    boot_disk: Annotated[
        int | None, typer.Option("--boot-disk", min=100, max=64000, help="Gigabytes of the boot disk.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Machines that are cheaper, and may be taken away.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest that a job may run: 12h, 1h30m, 3600.")] = "",
    max_restarts: Annotated[
        int | None, typer.Option("--max-restarts", min=0, help="0: a job that fails is not started again.")
    ] = None,
    replicas: Annotated[int, typer.Option("--replicas", min=1, max=100_000, help="Machines for each job.")] = 1,
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
    cloud_key: Annotated[
        str,
        typer.Option("--cloud-key", help="A service account's key file, to log in at Google; the jobs do not see it."),
    ] = "",
    tls_verify: TlsVerify = "true",
    mount: Annotated[bool, typer.Option("--mount", hidden=True)] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs; build, push and submit nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Build the image, push it and submit MODULE to Vertex AI; arguments after -- go to the script."""
    from ocicaliban.app import cloud_jobs, launch
    from ocicaliban.app.sweep_input import read
    from ocicaliban.jobs import group_names
    from ocicaliban.targets.vertex import backend, library, machines
    from ocicaliban.targets.vertex.options import Options

    launch.require_user()
    if not module and mode == "cloud" and not image_tag:
        raise UsageError("cloud needs a MODULE", "ocicaliban cloud trainer.train -- --lr 0.1")
    if mount:
        raise UsageError("--mount: the cloud has no folder of this machine", "leave it out: the source is copied")
    if nogpu and gpu_spec:
        raise UsageError("--nogpu and --gpu-spec exclude each other", "leave one of the two out")
    if image_tag:
        for option, given in (("--to", to), ("--extras", extras), ("--dir", dirs), ("--no-cache", no_cache)):
            if given:
                hint = "the one names an image that is in a registry, the other tells how one is made: leave it out"
                raise UsageError(f"--image-tag and {option} exclude each other", hint)
    points = read(experiment_config) if experiment_config else None
    if group:
        group_names.check(group)
    region = region or backend.REGION
    machine, doubts = machines.machine(machine_type, gpu_spec, tpu_spec, region, force)
    options = Options(
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
        TERMINAL.warning(f"{doubt}")
    asked = cloud_jobs.Submitting(
        mode=mode, module=module, project_id=project_id, region=region, repository=to, image_tag=image_tag, group=group,
        extras=tuple(extras or ()), dirs=tuple(dirs or ()), no_cache=no_cache, cloud_key=launch.key_file(cloud_key),
        tls_verify=truth("--tls-verify", tls_verify), gpu=bool(gpu_spec),
    )  # fmt: skip
    args: tuple[str, ...] = context.obj.script
    first = cloud_jobs.check(points, options, args, asked)
    if dry_run:
        cloud_jobs.dry_run(asked, options, points, args, first)
        return
    _ask(points, yes)
    library.preload()  # seconds, which are not felt while the image is built and pushed
    raise typer.Exit(cloud_jobs.submit(asked, options, points, args, first))


_TIME = re.compile(r"\d+|(?:\d+[dhms])+")
_LONGEST = 315_576_000_000  # seconds, 10,000 years: the most that protobuf's Duration takes
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(text: str) -> int | None:
    if not text:
        return None
    seconds = 0
    if _TIME.fullmatch(told := text.lower()) and len(told) < 60:
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([dhms]?)", told))
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"--timeout {text}: not a length of time", "for example 12h, 1h30m or 3600")
    return seconds


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--label {text}: no KEY=VALUE", "for example --label team=vision")
    return key, value


def _ask(points: Sweep | None, yes: bool) -> None:
    from ocicaliban.jobs import expansion

    count = expansion.count(points) if points else 1
    if count <= _MANY or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would submit {count} jobs", "--yes, if you mean it")
    if not typer.confirm(f"submit {count} jobs?", err=True):
        raise typer.Exit(1)
