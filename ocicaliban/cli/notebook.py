"""The command notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli import container_options
from ocicaliban.cli.container_options import Env, EnvFile, Publish, ShmSize, Volume, Workdir
from ocicaliban.cli.options import (
    Account,
    AllowSecrets,
    CloudKey,
    Debug,
    Extras,
    Gpu,
    Gpus,
    Gres,
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
from ocicaliban.cli.output import print_json, print_lines
from ocicaliban.errors import UsageError
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.app.notebook import StartedServer


# Longer than 60 lines: most of them are its options.
def notebook(
    lab: Annotated[
        bool | None, typer.Option("--lab/--classic", help="Start JupyterLab or Notebook (default: JupyterLab).")
    ] = None,
    version: Annotated[
        str,
        typer.Option("--jupyter-version", help="The version, or its first part (default: the newest that fits)."),
    ] = "",
    port: Annotated[
        int,
        typer.Option("--port", "-p", min=0, max=65535, help="The port (0: the first free one from 8888 on)."),
    ] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running, and return.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the running notebooks with their URLs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list, print JSON.")] = False,
    stopped: Annotated[str, typer.Option("--stop", metavar="NAME|all", help="Stop a running notebook, or all.")] = "",
    bare: Annotated[bool, typer.Option("--bare", help="Do not mount the home folder.")] = False,
    podman_args: PodmanArgs = "",
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    share_gpus: ShareGpus = False,
    extras: Extras = None,
    with_groups: WithGroups = None,
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
    """Start Jupyter in the project's environment.

    It prints the URL of JupyterLab or Notebook; Ctrl-C stops it.
    """
    given = locals()
    from ocicaliban.app import notebook as use_case
    from ocicaliban.app import run as runs
    from ocicaliban.app.requests import LaunchRequest, NotebookRequest, SlurmRequest

    wanted = request(SlurmRequest, given)
    if runs.is_elsewhere(target, wanted):
        from ocicaliban.app import submissions

        if listed or stopped or detach or open_browser:
            hint = "leave out --detach, --open, --list and --stop"
            raise UsageError("a notebook at Slurm lasts as long as its command", hint)
        there = submissions.interactive(target, "notebook")
        asked = request(LaunchRequest, given, mode="notebook", podman_args=container_options.podman_args(given))
        raise typer.Exit(there.run_notebook(asked, wanted, request(NotebookRequest, given), print_lines))
    if listed and stopped:
        raise UsageError("--list and --stop exclude each other", "leave one of them out")
    if as_json and not listed:
        raise UsageError("--json is for --list", "ocicaliban notebook --list --json")
    if as_json:
        found = use_case.listed()
        print_json(
            [
                {
                    "name": each.server.name,
                    "url": each.server.url,
                    "project": each.server.settings.project,
                    "remark": each.remark,
                }
                for each in found
            ],
            indent=2,
        )
    elif listed:
        each = None
        for each in use_case.listed():
            remark = f"  ({each.remark})" if each.remark else ""
            print_lines(f"{each.server.name}  {each.server.url}  {each.server.settings.project}{remark}")
        if each is None:
            TERMINAL.say("no notebook is running")
    elif stopped:
        server = None
        for server in use_case.stop(stopped):
            TERMINAL.say(f"{server.name} has ended")
        if server is None:
            TERMINAL.say("no notebook is running")
    else:
        asked = request(LaunchRequest, given, mode="notebook", podman_args=container_options.podman_args(given))
        _serve(use_case.start(asked, request(NotebookRequest, given)), open_browser=open_browser, detach=detach)


def _serve(started: StartedServer, *, open_browser: bool, detach: bool) -> None:
    """Print the URL of a server, and wait until it ends; end it with Ctrl-C, or leave it running."""
    from ocicaliban.app import notebook as use_case
    from ocicaliban.interactive import notebook_server

    server = started.server
    try:
        TERMINAL.say(started.summary)
        print_lines(server.url)
        if started.tunnel:
            TERMINAL.say(f"to reach it from your own machine, run there as long as you need it: {started.tunnel}")
        if open_browser:
            _open(started)
        if detach:
            use_case.leave_running(started)
            TERMINAL.say(f"{use_case.stop_hint(server)} ends it")
            return
        TERMINAL.say("Ctrl-C ends it")
        notebook_server.wait_for_end(server)
    except KeyboardInterrupt:
        TERMINAL.say("")
    finally:
        if not detach:
            notebook_server.stop(server)


def _open(started: StartedServer) -> None:
    """Open the browser on a page that leads to the server."""
    import webbrowser

    from ocicaliban.interactive import notebook_server

    if not webbrowser.open(notebook_server.write_redirect_page(started.server).as_uri()):
        TERMINAL.note("there is no browser on this machine")
