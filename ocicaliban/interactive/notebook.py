"""Notebook servers, each in a container: where they listen, how they are found again, how they end.

A server has the host's network and listens on 127.0.0.1: other interfaces refuse, there is no proxy between, and a
kernel reaches what a job reaches. Its token is handed over by the environment and read back from podman, because
arguments can be seen by every user of a machine. What runs is podman's to tell; nothing is written down beside it.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
import shlex
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from attrs import asdict, field, frozen

from ocicaliban.containers import podman
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.interactive import shell
from ocicaliban.model.image import Launch, Plan
from ocicaliban.project import entry_point
from ocicaliban.system import files

ADDRESS = "127.0.0.1"
"""Not `localhost`, which may be ::1 first: there another user could listen and be handed the token."""

_LABEL = "ocicaliban.notebook"
_START = "ocicaliban.start"
_LAST = 65535
_PATIENCE = 120.0
_PAUSE = 0.02
_TOKEN = "JUPYTER_TOKEN"
_RUNTIME = "/tmp/jupyter"

# The command line goes before every configuration file, of which the user's could set an empty token; sys.argv is no
# argument that others see.
ENTRYPOINT = (
    "python3",
    "-c",
    # Collecting garbage while so much is imported is a tenth of the start.
    "import gc, os, runpy, shutil, sys; gc.set_threshold(50_000); "
    f"sys.argv = [*sys.argv[1:], '--IdentityProvider.token=' + os.environ.pop('{_TOKEN}')]; "
    "runpy.run_path(shutil.which(sys.argv[0]) or sys.argv[0], run_name='__main__')",
)
"""Starts the server whose command line comes after it, with the token."""

_OPTIONS = (
    f"--ServerApp.ip={ADDRESS}",
    "--ServerApp.port_retries=0",
    "--ServerApp.open_browser=False",
    "--ServerApp.allow_root=True",
    f"--ServerApp.root_dir={entry_point.APP}",
    "--ServerApp.base_url=/",
    "--ServerApp.certfile=",
    "--ServerApp.keyfile=",
    "--ServerApp.sock=",
    "--LabApp.extension_manager=readonly",
    "--log-level=WARN",
)


class ServerEnded(OcicalibanError):
    """A server ended before it answered, or with an error."""


@frozen(kw_only=True)
class Settings:
    """What a server was started with; it stands in a label of its container.

    `environment` is the key of the layers that a job has too (see `environment`).
    """

    project: str
    port: int
    interface: str
    environment: str
    version: str
    variant: str
    extras: tuple[str, ...]


@frozen(kw_only=True)
class Server:
    """A server and its container; `state` in podman's words."""

    container: str
    settings: Settings
    token: str = field(repr=False)
    state: str = "running"

    @property
    def name(self) -> str:
        """What people call it: the project's folder and the port."""
        return f"{Path(self.settings.project).name}-{self.settings.port}"

    @property
    def url(self) -> str:
        """Where a browser finds it, with its token."""
        page = "lab" if self.settings.interface == "lab" else "tree"
        return f"http://{ADDRESS}:{self.settings.port}/{page}?token={self.token}"


def environment(plan: Plan) -> str:
    """The key of the layers in which what a job uses is installed: those below Jupyter's and the source's."""
    key = plan.base_key
    for layer in plan.layers:
        if layer.name.split()[0] in ("data", "jupyter", "source-mount"):
            break
        key = layer.key
    return key


def outdated(servers: Iterable[Server], now: Settings) -> tuple[Server, ...]:
    """Those of the same project that were started with other packages than one would get `now`."""
    return tuple(
        server
        for server in servers
        if (server.settings.project, server.settings.variant, server.settings.extras)
        == (now.project, now.variant, now.extras)
        and server.settings.environment != now.environment
    )


def interface(launch: Launch) -> str:
    """`lab` or `notebook`. Raises UsageError for a mode that starts no Jupyter."""
    command = launch.command[0] if launch.command else ""
    if not command.startswith("jupyter-"):
        raise UsageError("the mode 'notebook' lists no recipe 'jupyter'", 'add "jupyter" to its list')
    return command.removeprefix("jupyter-")


# --- where it listens ---


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((ADDRESS, port))
            tried.listen(1)
        except OSError as exc:
            if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
    return True


def free_port(given: int = 0, first: int = 8888) -> int:
    """The `given` port, or else the first free one from `first`. Raises UsageError when that cannot be had."""
    if given:
        if not is_free(given):
            raise UsageError(f"the port {given} is taken, or not for you", "without -p the first free one is taken")
        return given
    for port in range(first, _LAST + 1):
        if is_free(port):
            return port
    raise UsageError("there is no free port", "give one with -p")


def on_free_port(given: int, start: Callable[[int], Server]) -> Server:
    """Start a server by `start` on the `given` port, or on the first that is free, and still is when it begins."""
    port = free_port(given)
    while True:
        try:
            return start(port)
        except ServerEnded:
            if given or is_free(port):
                raise
            port = free_port(first=port + 1)  # another one was quicker


def addresses(name: str) -> tuple[str, ...]:
    """The addresses that a host's name stands for; none when nobody knows it."""
    try:
        return tuple(str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except OSError:
        return ()


def tunnel(
    port: int,
    environ: Mapping[str, str],
    user: str,
    node: str,
    resolved: Callable[[str], Collection[str]] = addresses,
) -> str:
    """The ssh command that brings the port to where the user sits; empty where they sit at this machine, `node`.

    The host is the one that the user's ssh reached: by the name that leads to its address, or by the address. From a
    job of Slurm's that is the login node, whose environment the job has, and through it goes the way to the node.
    """
    words = environ.get("SSH_CONNECTION", "").split()
    address, at = (words[2], words[3]) if len(words) == 4 else ("", "22")
    job = "SLURM_JOB_ID" in environ
    if not address and not job:
        return ""
    entry = environ.get("SLURM_SUBMIT_HOST", "") if job else node
    host = entry if not address or address in resolved(entry) else address
    argv = ["ssh", "-N", "-L", f"{port}:{ADDRESS}:{port}"]
    here = environ.get("SLURMD_NODENAME") or node
    if job and here.split(".")[0] != entry.split(".")[0]:
        if host:
            bracketed = f"[{host}]" if ":" in host else host
            argv += ["-J", f"{user}@{bracketed}" + (f":{at}" if at != "22" else "")]
        return shlex.join([*argv, f"{user}@{here}"])
    return shlex.join([*argv, *(["-p", at] if at != "22" else []), f"{user}@{host}"])


# --- the container ---


def options(settings: Settings, home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """podman's options for a server with these settings, with the home folder if there is one."""
    label = json.dumps(asdict(settings))
    words = ["--log-driver", "k8s-file", "--label", f"{_LABEL}={label}", "--env", _TOKEN]
    # Its own folder for what runs: process numbers in containers are alike, and would meet in the home.
    words += ["--env", f"JUPYTER_RUNTIME_DIR={_RUNTIME}", "--env", "JUPYTER_PREFER_ENV_PATH=1"]
    words += ["--env", "LANG=C.UTF-8"]  # its terminals would be in the C locale
    return *words, *shell.lived_in(home, environ)


def arguments(launch: Launch, settings: Settings) -> tuple[str, ...]:
    """What comes after `ENTRYPOINT`."""
    return *launch.command, *_OPTIONS, f"--ServerApp.port={settings.port}"


def start(argv: tuple[str, ...], container: str, settings: Settings) -> Server:
    """Start the detached `container` by podman's command line `argv`, and wait until its server answers.

    Raises ToolError with podman's words where it cannot be started, ServerEnded with the server's; then nothing of it
    is left.
    """
    server = Server(container=container, settings=settings, token=secrets.token_hex(24))
    # The name may be somebody else's container's: only what bears this mark is ours to remove.
    mark, place = f"{_START}={secrets.token_hex(8)}", argv.index("run") + 1
    argv = (*argv[:place], "--label", mark, *argv[place:])
    ready = False
    try:
        podman.start_detached(argv, env={_TOKEN: server.token}, doing="the notebook's container cannot be started")
        _until_ready(server)
        ready = True
    finally:
        if not ready:
            podman.remove_labelled(mark, grace=10)
            _page(server).unlink(missing_ok=True)
    return server


def _answers(server: Server) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, server.settings.port, timeout=10)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {server.token}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until_ready(server: Server) -> None:
    with podman.waiting_for(server.container) as ended:
        for _ in range(int(_PATIENCE / _PAUSE)):
            if _answers(server):
                return
            if ended(_PAUSE):
                raise _died(server)
    raise OcicalibanError(
        f"the notebook's server does not answer after {_PATIENCE:g} seconds\n{_said(server)}",
        "a file system of the home that hangs? --bare leaves the home out",
    )


def until_end(server: Server) -> None:
    """Wait until the server ends. Raises ServerEnded with what it said unless it ended well, or was removed."""
    with podman.waiting_for(server.container) as ended:
        ended(None)
    if _exit_code(server) not in ("0", ""):
        raise _died(server)


def _exit_code(server: Server) -> str:
    return podman.exit_code(server.container)


def _said(server: Server) -> str:
    return podman.logs(server.container)


def _died(server: Server) -> ServerEnded:
    code = _exit_code(server)
    said = _said(server)
    return ServerEnded(
        f"the notebook's server ended with {code or 'no exit code'}" + (f"\n{said}" if said else ""),
        "--bare starts it without the settings in your home" if code != "137" else "was there too little memory?",
    )


def stop(server: Server) -> None:
    """End a server and remove its container; one that is gone already is no fault."""
    podman.remove(server.container, grace=10)
    _page(server).unlink(missing_ok=True)


def servers() -> tuple[Server, ...]:
    """The user's servers, by name, also those that have ended, as podman knows them."""
    found = []
    for one in podman.inspect_containers(podman.with_label(_LABEL)):
        label = json.loads(one["Config"]["Labels"][_LABEL])
        environ = dict(item.partition("=")[::2] for item in one["Config"]["Env"])
        settings = Settings(**{**label, "extras": tuple(label["extras"])})
        server = Server(
            container=one["Name"], settings=settings, token=environ.get(_TOKEN, ""), state=one["State"]["Status"]
        )
        found.append(server)
    return tuple(sorted(found, key=lambda server: (server.name, server.settings.port)))


def _page(server: Server) -> Path:
    return files.state() / "notebooks" / f"{server.container}.html"


def redirect(server: Server) -> Path:
    """A page that leads to the server: a browser's arguments, with the token, could be seen by others."""
    page = _page(server)
    page.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f'<!DOCTYPE html><meta http-equiv="refresh" content="0;url={server.url}">\n')
    return page
