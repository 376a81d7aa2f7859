"""The command shell."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli import container_options
from ocicaliban.cli.container_options import Env, EnvFile, Publish, ShmSize, Volume, Workdir
from ocicaliban.cli.options import (
    Account,
    AllowSecrets,
    CloudKey,
    Debug,
    Dirs,
    Extras,
    Gpu,
    Gpus,
    Gres,
    ImageId,
    NoCache,
    Partition,
    PodmanArgs,
    Runtime,
    ShareGpus,
    SlurmArgs,
    Target,
    TimeLimit,
    WithGroups,
    request,
)


def shell(
    context: typer.Context,
    shell: Annotated[str, typer.Option("--shell", help="bash, zsh or fish.  [default: your own]")] = "",
    bare: Annotated[bool, typer.Option("--bare", help="Do not mount the home folder.")] = False,
    image_id: ImageId = "",
    podman_args: PodmanArgs = "",
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    share_gpus: ShareGpus = False,
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    cloud_key: CloudKey = "",
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volume = None,
    publish: Publish = None,
    shm_size: ShmSize = "",
    workdir: Workdir = "",
    target: Target = "",
    partition: Partition = "",
    account: Account = "",
    time: TimeLimit = "",
    gres: Gres = "",
    slurm_args: SlurmArgs = "",
    runtime: Runtime = "",
    debug: Debug = False,
) -> None:
    """Open a shell in the project's environment.

    With -- it runs the command that follows instead. The project is mounted.
    """
    given = locals()
    from ocicaliban.app import run as runs
    from ocicaliban.app import shell as use_case
    from ocicaliban.app.requests import LaunchRequest, SlurmRequest

    asked = request(LaunchRequest, given, mode="shell", podman_args=container_options.podman_args(given))
    wanted = request(SlurmRequest, given)
    if runs.is_elsewhere(target, wanted):
        from ocicaliban.app import submissions

        there = submissions.interactive(target, "shell")
        raise typer.Exit(there.run_shell(asked, wanted, context.obj.script, bare=bare))
    raise typer.Exit(use_case.run(asked, context.obj.argv, context.obj.script, bare=bare))
