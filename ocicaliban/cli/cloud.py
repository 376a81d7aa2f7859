"""The command cloud: builds and pushes the image, and submits a job for each point of a sweep to Vertex AI."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.options import (
    AllowSecrets,
    Debug,
    Dirs,
    Extras,
    Module,
    NewGroup,
    NoCache,
    SweepFormat,
    TlsVerify,
    WithGroups,
    request,
    truth,
)
from ocicaliban.cli.output import print_exactly, print_lines
from ocicaliban.errors import UsageError

_MANY = 1000
"""More jobs than this may be an accident."""


# Longer than 60 lines: most of them are its 35 options.
def cloud(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", autocompletion=completion.modes, help="The mode to build.")] = "cloud",
    project_id: Annotated[
        str, typer.Option("--project-id", envvar="GOOGLE_CLOUD_PROJECT", help="The Google Cloud project.")
    ] = "",
    region: Annotated[
        str, typer.Option("--region", envvar="CLOUDSDK_AI_REGION", help="The region in which the jobs run.")
    ] = "",
    machine_type: Annotated[
        str, typer.Option("--machine-type", help="The machine type, such as n1-standard-8 or a2-highgpu-1g.")
    ] = "",
    gpu_spec: Annotated[str, typer.Option("--gpu-spec", help="The GPUs of each machine: 2xV100, 1xL4, 8xH100.")] = "",
    nogpu: Annotated[bool, typer.Option("--nogpu", help="Use no GPU; the default without --gpu-spec.")] = False,
    tpu_spec: Annotated[str, typer.Option("--tpu-spec", help="The TPU chips of each machine: 8xV3.")] = "",
    service_account: Annotated[
        str, typer.Option("--service-account", help="The service account that the jobs run as.")
    ] = "",
    network: Annotated[str, typer.Option("--network", help="The VPC network that the jobs join.")] = "",
    boot_disk: Annotated[
        int | None, typer.Option("--boot-disk", min=100, max=64000, help="The size of the boot disk in gigabytes.")
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Use spot machines, which are cheaper and may be preempted.")
    ] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest time a job may run: 12h, 1h30m, 3600.")] = "",
    max_restarts: Annotated[
        int | None, typer.Option("--max-restarts", min=0, help="With 0, a job that fails is not restarted.")
    ] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, max=100_000, help="The number of machines for each job.")
    ] = 1,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "-l", "--label", metavar="KEY=VALUE", help="A label for the jobs (KEY:VALUE too); may be repeated."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The prefix of the jobs' names (default: the group).")] = "",
    output_dir: Annotated[
        str,
        typer.Option(
            "--output-dir",
            metavar="gs://...",
            help="The place for results: each job's /out is a folder in it.",
        ),
    ] = "",
    repository: Annotated[
        str, typer.Option("--to", metavar="REPOSITORY", help="Push the image there, as `ocicaliban push` does.")
    ] = "",
    image_tag: Annotated[
        str, typer.Option("--image-tag", help="Run this image from a registry; build and push nothing.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Submit even what the table of machines says is invalid.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help=f"Submit more than {_MANY} jobs without asking.")] = False,
    experiment_config: Annotated[
        str,
        typer.Option(
            "--experiment-config", metavar="FILE|stdin", help="A sweep file: submit a job for each of its combinations."
        ),
    ] = "",
    sweep_format: SweepFormat = "flags",
    group: NewGroup = "",
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    no_cache: NoCache = False,
    cloud_key: Annotated[
        str,
        typer.Option("--cloud-key", help="A service account's key file to log in to Google; the jobs do not see it."),
    ] = "",
    tls_verify: TlsVerify = "true",
    mount: Annotated[bool, typer.Option("--mount", hidden=True)] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs; build, push and submit nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Submit jobs to Vertex AI.

    It builds and pushes the image, and submits MODULE; arguments after -- go to the script.
    """
    given = locals()
    from ocicaliban.app import cloud_dry_run, cloud_jobs
    from ocicaliban.app.requests import CloudRequest, MachinesRequest

    if mount:
        raise UsageError("--mount: the cloud cannot mount a folder of this machine", "leave it out: cloud copies it")
    jobs = cloud_jobs.prepare(
        request(CloudRequest, given, tls_verify=truth("--tls-verify", tls_verify)),
        request(MachinesRequest, given),
        experiment_config,
        context.obj.script,
        sweep_format,
    )
    if dry_run:
        for line in cloud_dry_run.dry_run_lines(jobs):
            print_exactly([f"{line}\n"])
        return
    _confirm(jobs.count, yes)
    print_lines(str(cloud_jobs.submit(jobs)))


def _confirm(count: int, yes: bool) -> None:
    """Ask whether to submit so many jobs. Raises UsageError if there is no one to ask, Exit if the answer is no."""
    if count <= _MANY or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would submit {count} jobs", "if that is right, add --yes")
    if not typer.confirm(f"submit {count} jobs?", err=True):
        raise typer.Exit(1)
