"""Start, find and end notebook servers."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban.app import gpu_leases, launch
from ocicaliban.app.launch import Start
from ocicaliban.app.requests import LaunchRequest, NotebookRequest
from ocicaliban.build import planner
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import OcicalibanError, UsageError, nearest
from ocicaliban.gpu import selection
from ocicaliban.gpu.lease import Leases
from ocicaliban.interactive import jupyter_command, notebook, notebook_server, pip_answer, ports, shell, ssh_tunnel
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings
from ocicaliban.recipes import catalog
from ocicaliban.reporter import TERMINAL


@frozen(kw_only=True)
class ListedServer:
    """A server that runs, and a remark on it: whether its packages are up to date, or why that is not known."""

    server: NotebookServer
    remark: str = ""


@frozen(kw_only=True)
class StartedServer:
    """A server that has started. `summary` has the lines for the user, `tunnel` the ssh command that leads to it.

    `leases` are those of its GPUs, which this process holds.
    """

    server: NotebookServer
    summary: str
    tunnel: str = ""
    leases: Leases = field(factory=Leases)


def start(request: LaunchRequest, wanted: NotebookRequest) -> StartedServer:
    """Build what is missing of the image, start a server, and return it when it answers.

    Raises OcicalibanError if the port is taken, or the server does not start.
    """
    ports.free_port(wanted.port)  # before anything is built
    request = evolve(
        request,
        lived_in=True,
        extras=tuple(sorted({*request.extras})),
        with_groups=tuple(sorted({*request.with_groups})),
        settings={"jupyter": _settings(wanted)},
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_running)  # podman answers while the project is read
        prepared = launch.prepare(request)
    starts = prepared.planned.plan.launch
    about = NotebookSettings(
        project=str(prepared.planned.project.root),
        port=wanted.port,
        interface=notebook.interface(starts),
        environment=notebook.environment_key(prepared.planned.plan),
        version=wanted.version,
        variant="gpu" if prepared.devices else "cpu",
        extras=request.extras,
        groups=request.with_groups,
    )
    for server in notebook.outdated(running.result(), about):
        TERMINAL.note(f"{server.name} still runs with the packages from before; {stop_hint(server)} ends it")
    prepared, image = prepared.made_here()
    prepared.record_built()
    home = None if wanted.bare else shell.home(os.environ)
    answer = pip_answer.variable(prepared.planned.environment.declaration)
    answer += pip_answer.mount(catalog.builtin_layers() / "shell" / "rc")

    def begin(port: int) -> NotebookServer:
        own = evolve(about, port=port)
        command = prepared.command(
            image,
            Start(
                args=jupyter_command.arguments(starts, own),
                extra=(*jupyter_command.container_options(own, home, os.environ), *answer),
                entrypoint=jupyter_command.ENTRYPOINT,
                detached=True,
                session="notebook",
            ),
        )
        return notebook_server.start(command.argv, command.name, own)

    leases = gpu_leases.session(prepared)  # until this process ends
    try:
        server = ports.start_on_free_port(wanted.port, begin)
    except BaseException:
        leases.close()
        raise
    return StartedServer(server=server, summary=prepared.summary, tunnel=_tunnel(server), leases=leases)


def leave_running(started: StartedServer) -> None:
    """Have the leases of a server's GPUs kept as long as it runs, beyond the end of this process."""
    if started.leases.units and (process := notebook_server.process_of(started.server)):
        started.leases.kept_until(process, ("ocicaliban", "notebook", started.server.name))


def _settings(wanted: NotebookRequest) -> dict[str, object]:
    """Return the parameters of the recipe `jupyter` that the user gives."""
    interface = {} if wanted.lab is None else {"interface": "lab" if wanted.lab else "notebook"}
    return {**interface, **({"version": wanted.version} if wanted.version else {})}


def _tunnel(server: NotebookServer) -> str:
    """Return the ssh command that leads to a server from the machine where the user sits, "" if it is this one."""
    node = socket.getfqdn()
    if node.partition(".")[0] == "localhost":
        node = socket.gethostname()  # /etc/hosts names the machine after its loopback
    return ssh_tunnel.command(server.settings.port, os.environ, getpass.getuser(), node)


def stop_hint(server: NotebookServer) -> str:
    """Return the command that ends a server, in backticks."""
    return f"`ocicaliban notebook --stop {shlex.quote(server.name)}`"


def _running() -> tuple[NotebookServer, ...]:
    """Return the servers that run, and remove the containers of those that have ended."""
    found = []
    for server in notebook_server.find_servers():
        if server.state in ("exited", "stopped"):
            notebook_server.stop(server)
        else:
            found.append(server)
    return tuple(found)


def listed() -> Iterator[ListedServer]:
    """Yield the servers that run."""
    for server in _running():
        try:
            remark = "" if _is_current(server) else "with the packages from before"
        except OcicalibanError as exc:
            remark = exc.message.splitlines()[0]
        yield ListedServer(server=server, remark=remark)


def _is_current(server: NotebookServer) -> bool:
    """Whether the server has the environment that a new one would have."""
    about = server.settings
    request = PlanRequest(
        root=Path(about.project),
        mode="notebook",
        gpus=selection.choose_gpus(about.variant == "gpu", None),
        extras=about.extras,
        groups=about.groups,
        resolve=False,
        settings={"jupyter": {"interface": about.interface, **({"version": about.version} if about.version else {})}},
    )
    return notebook.environment_key(planner.plan_project(request).plan) == about.environment


def stop(name: str) -> Iterator[NotebookServer]:
    """End the server with this name or port, or "all", and yield each. Raises UsageError if there is none."""
    running = _running()
    chosen = [server for server in running if name in ("all", server.name, str(server.settings.port))]
    if not chosen and name != "all":
        names = [server.name for server in running]
        raise UsageError(f"there is no notebook '{name}'", nearest(name, names) if names else "no notebook is running")
    for server in chosen:
        notebook_server.stop(server)
        yield server
