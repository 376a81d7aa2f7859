"""The command run. It imports what it needs when it runs: completion and --help need none of it."""

from __future__ import annotations

import os
from typing import Annotated, NoReturn

import typer

from ocicaliban.cli import completion, container_options
from ocicaliban.cli.container_options import Env, EnvFile, Publish, ShmSize, Volume, Workdir
from ocicaliban.cli.options import (
    AllowSecrets,
    CloudKey,
    Debug,
    Dirs,
    Extras,
    Gpu,
    Gpus,
    GpusPerJob,
    ImageId,
    Module,
    Mount,
    NewGroup,
    NoCache,
    PodmanArgs,
    ShareGpus,
    SweepFormat,
    WithGroups,
    request,
)
from ocicaliban.cli.output import print_exactly, print_lines
from ocicaliban.errors import UsageError


# Longer than 60 lines: most of them are its options.
def run(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[
        str, typer.Option("--mode", autocompletion=completion.modes, help="The mode to build and run.")
    ] = "run",
    image_id: ImageId = "",
    podman_args: PodmanArgs = "",
    mount: Mount = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    share_gpus: ShareGpus = False,
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    cloud_key: CloudKey = "",
    experiment_config: Annotated[
        str,
        typer.Option(
            "--experiment-config", metavar="FILE|stdin", help="A sweep file: run a job for each of its combinations."
        ),
    ] = "",
    sweep_format: SweepFormat = "flags",
    search: Annotated[
        str, typer.Option("--search", metavar="random|optuna", help="Choose points in the ranges of the sweep file.")
    ] = "",
    trials: Annotated[int | None, typer.Option("--trials", help="How many jobs a search has.")] = None,
    goal: Annotated[
        str, typer.Option("--goal", metavar="METRIC[:max|:min]", help="The metric that a search makes best.")
    ] = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="Stop jobs of a search whose curves are worse than the median.")
    ] = False,
    group: NewGroup = "",
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", help="How many jobs run at a time (default: one per GPU, or one without a GPU)."),
    ] = None,
    gpus_per_job: GpusPerJob = None,
    cpus: Annotated[float | None, typer.Option("--cpus", help="The maximum number of CPU cores for each job.")] = None,
    memory: Annotated[str, typer.Option("--memory", help="The maximum memory for each job: 8g, 500m.")] = "",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End the sweep when a job fails.")] = False,
    retries: Annotated[int, typer.Option("--retries", help="How many times to retry a failed job.")] = 0,
    out: Annotated[
        str,
        typer.Option("-o", "--out", metavar="DIR", help="The folder for results: each job's /out is a folder in it."),
    ] = "",
    target: Annotated[str, typer.Option("--target", help="Where the jobs run: local (this machine) or slurm.")] = "",
    partition: Annotated[str, typer.Option("--partition", help="Slurm: the partition.")] = "",
    account: Annotated[str, typer.Option("--account", help="Slurm: the account.")] = "",
    qos: Annotated[str, typer.Option("--qos", help="Slurm: the quality of service.")] = "",
    time: Annotated[str, typer.Option("--time", help="Slurm: the time limit of a job: 1h30m, 90 (minutes).")] = "",
    nodes: Annotated[int | None, typer.Option("--nodes", help="Slurm: the number of nodes for each job.")] = None,
    gres: Annotated[str, typer.Option("--gres", help="Slurm: generic resources, such as gpu:a100:2.")] = "",
    constraint: Annotated[str, typer.Option("--constraint", help="Slurm: the features of a node.")] = "",
    slurm_args: Annotated[str, typer.Option("--slurm-args", help="Slurm: more options for sbatch, in one text.")] = "",
    runtime: Annotated[
        str, typer.Option("--runtime", help="Slurm: podman, charliecloud or apptainer (default: what a node has).")
    ] = "",
    grace: Annotated[
        int | None, typer.Option("--grace", help="Slurm: seconds from SIGTERM to the end at the time limit.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Slurm: wait until its limits have let all jobs in.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Run it again at each save, until Ctrl-C.")] = False,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volume = None,
    publish: Publish = None,
    shm_size: ShmSize = "",
    workdir: Workdir = "",
    debug: Debug = False,
) -> None:
    """Run a script or a sweep in a container.

    It builds the missing layers of the image, and runs MODULE in it; arguments after -- go to the script. With a sweep
    file, it runs a job for each combination. After a crash, `ocicaliban resume` runs the rest.
    """
    given = locals()
    # A shell does not expand --out=~/results.
    folder = os.path.abspath(os.path.expanduser(out)) if out else ""
    if watch:
        _watch(context.obj.argv, folder, alone=not (experiment_config or target or dry_run))
    from ocicaliban.app import run as use_case
    from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest, SearchRequest, SlurmRequest

    asked = RunRequest(
        launch=request(LaunchRequest, given, podman_args=container_options.podman_args(given)),
        jobs=request(JobsRequest, given, out=folder),
        experiment_config=experiment_config,
        sweep_format=sweep_format,
        search=request(SearchRequest, given),
        args=context.obj.script,
    )
    wanted = request(SlurmRequest, given)
    if use_case.is_elsewhere(target, wanted):
        if dry_run:
            print_exactly(f"{line}\n" for line in use_case.script_elsewhere(target, asked, wanted))
        else:
            print_lines(str(use_case.run_elsewhere(target, asked, wanted)))
        return
    if dry_run:
        for line in use_case.dry_run_script(asked):
            print_exactly([f"{line}\n"])
        return
    raise typer.Exit(use_case.run(asked, context.obj.argv))


def _watch(argv: list[str], out: str, *, alone: bool) -> NoReturn:
    """Run again at each save; results go to `out`. Raises UsageError for more than a run on this machine."""
    if not alone:
        raise UsageError("--watch is for a single run on this machine", "leave out --watch, or the sweep")
    from ocicaliban.app import place
    from ocicaliban.app.watch import watch

    raise typer.Exit(watch(argv, place.project_root(), out))
