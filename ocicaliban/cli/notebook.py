"""The command notebook."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.options import CloudKey, Debug, Extras, Gpu, Gpus, NoCache, PodmanArgs
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.interactive.notebook import NotebookServer


def notebook(
    lab: Annotated[
        bool | None, typer.Option("--lab/--classic", help="JupyterLab, or Notebook (default: JupyterLab).")
    ] = None,
    version: Annotated[
        str, typer.Option("--jupyter-version", help="Its version, or the beginning (default: the newest that fits).")
    ] = "",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="This port (0: the first free one from 8888).")
    ] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running, and return.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the notebooks that run, with their URLs.")] = False,
    stopped: Annotated[str, typer.Option("--stop", metavar="NAME|all", help="End one that runs, or all.")] = "",
    bare: Annotated[bool, typer.Option("--bare", help="Leave the home folder out.")] = False,
    podman_args: PodmanArgs = "",
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    cloud_key: CloudKey = "",
    debug: Debug = False,
) -> None:
    """Start JupyterLab or Notebook in the project's environment, print its URL, and end it with Ctrl-C."""
    from concurrent.futures import ThreadPoolExecutor

    from attrs import evolve

    from ocicaliban.app import launch as start
    from ocicaliban.errors import UsageError
    from ocicaliban.interactive import jupyter_command, notebook_server, ports, shell, ssh_tunnel
    from ocicaliban.interactive import notebook as notebooks

    if listed and stopped:
        raise UsageError("--list and --stop exclude each other")
    if listed:
        return _list()
    if stopped:
        return _stop(stopped)
    ports.free_port(port)  # before anything is built
    settings: dict[str, object] = {}
    if lab is not None:
        settings["interface"] = "lab" if lab else "notebook"
    if version:
        settings["version"] = version
    asked = start.Asked(
        mode="notebook",
        settings={"jupyter": settings},
        lived_in=True,
        podman_args=podman_args,
        no_cache=no_cache,
        gpu_wanted=gpu_wanted,
        gpus=gpus,
        extras=tuple(sorted({*(extras or ())})),
        cloud_key=cloud_key,
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_running)  # podman is asked while the project is read
        ready = start.ready(asked)
    launch = ready.planned.plan.launch
    about = notebooks.NotebookSettings(
        project=str(ready.planned.project.root),
        port=port,
        interface=notebooks.interface(launch),
        environment=notebooks.environment_key(ready.planned.plan),
        version=version,
        variant="gpu" if ready.devices else "cpu",
        extras=asked.extras,
    )
    for server in notebooks.outdated(running.result(), about):
        TERMINAL.note(f"{server.name} runs on with the packages from before; {_ends(server)} ends it")
    image = ready.image()
    start.record_built(ready.planned)
    home = None if bare else shell.home(os.environ)

    def begin(port: int) -> NotebookServer:
        own = evolve(about, port=port)
        command = ready.command(
            image,
            jupyter_command.arguments(launch, own),
            extra=jupyter_command.container_options(own, home, os.environ),
            entrypoint=jupyter_command.ENTRYPOINT,
            detached=True,
        )
        return notebook_server.start(command.argv, command.name, own)

    server = ports.start_on_free_port(port, begin)
    try:
        TERMINAL.say(ready.said)
        print(server.url, flush=True)
        node = socket.getfqdn()
        if node.partition(".")[0] == "localhost":
            node = socket.gethostname()  # /etc/hosts names the machine after its loopback
        if command := ssh_tunnel.command(server.settings.port, os.environ, getpass.getuser(), node):
            TERMINAL.say(f"on the machine where you sit, for the time you need it: {command}")
        if open_browser:
            _open(server)
        if detach:
            TERMINAL.say(f"{_ends(server)} ends it")
            return
        TERMINAL.say("Ctrl-C ends it")
        notebook_server.wait_for_end(server)
    except KeyboardInterrupt:
        TERMINAL.say("")
    finally:
        if not detach:
            notebook_server.stop(server)


def _ends(server: NotebookServer) -> str:
    return f"`ocicaliban notebook --stop {shlex.quote(server.name)}`"


def _open(server: NotebookServer) -> None:
    """Open the browser on a page that leads to the server."""
    import webbrowser

    from ocicaliban.interactive import notebook_server

    if not webbrowser.open(notebook_server.write_redirect_page(server).as_uri()):
        TERMINAL.note("there is no browser to be opened here")


def _running() -> tuple[NotebookServer, ...]:
    """The servers that run; containers of those that have ended are removed."""
    from ocicaliban.interactive import notebook_server

    found = []
    for server in notebook_server.find_servers():
        if server.state in ("exited", "stopped"):
            notebook_server.stop(server)
        else:
            found.append(server)
    return tuple(found)


def _list() -> None:
    from ocicaliban.errors import OcicalibanError

    for server in _running():
        try:
            mark = "" if _is_current(server) else "  (with the packages from before)"
        except OcicalibanError as exc:
            mark = f"  ({exc.message.splitlines()[0]})"
        print(f"{server.name}  {server.url}  {server.settings.project}{mark}")


def _is_current(server: NotebookServer) -> bool:
    """Whether the server's environment is what one would get now."""
    from ocicaliban.build import planner
    from ocicaliban.build.request import PlanRequest
    from ocicaliban.gpu import selection
    from ocicaliban.interactive import notebook as notebooks

    about = server.settings
    request = PlanRequest(
        root=Path(about.project),
        mode="notebook",
        gpus=selection.choose_gpus(about.variant == "gpu", None),
        extras=about.extras,
        resolve=False,
        settings={"jupyter": {"interface": about.interface, **({"version": about.version} if about.version else {})}},
    )
    planned = planner.plan_project(request)
    return notebooks.environment_key(planned.plan) == about.environment


def _stop(name: str) -> None:
    from ocicaliban.errors import UsageError, nearest
    from ocicaliban.interactive import notebook_server

    running = _running()
    chosen = [server for server in running if name in ("all", server.name, str(server.settings.port))]
    if not chosen and name != "all":
        raise UsageError(f"no notebook '{name}' runs", nearest(name, [server.name for server in running]))
    for server in chosen:
        notebook_server.stop(server)
        TERMINAL.say(f"{server.name} has ended")
