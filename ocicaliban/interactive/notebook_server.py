"""Start, find and end notebook servers in their containers."""

from __future__ import annotations

import http.client
import os
import secrets
from pathlib import Path

from ocicaliban.containers import podman
from ocicaliban.errors import OcicalibanError
from ocicaliban.interactive.jupyter_command import TOKEN_VARIABLE
from ocicaliban.interactive.notebook import ADDRESS, LABEL, NotebookServer, NotebookSettings, ServerEnded
from ocicaliban.system import files

_START_LABEL = "ocicaliban.start"
_START_TIMEOUT = 120.0  # seconds
_POLL_INTERVAL = 0.02  # seconds
_REQUEST_TIMEOUT = 10  # seconds
_GRACE = 10  # seconds between SIGTERM and SIGKILL


def start(argv: tuple[str, ...], container: str, settings: NotebookSettings) -> NotebookServer:
    """Start the detached `container` with podman's command line `argv`; return when its server answers.

    Raises ToolError with podman's message if the container cannot be started, ServerEnded with the server's if that
    ends. Nothing of it remains then.
    """
    server = NotebookServer(container=container, settings=settings, token=secrets.token_hex(24))
    # Another container may have this name: only one with this label may be removed.
    label, position = f"{_START_LABEL}={secrets.token_hex(8)}", argv.index("run") + 1
    argv = (*argv[:position], "--label", label, *argv[position:])
    ready = False
    try:
        doing = "the notebook's container cannot be started"
        podman.start_detached(argv, env={TOKEN_VARIABLE: server.token}, doing=doing)
        _wait_until_ready(server)
        ready = True
    finally:
        if not ready:
            podman.remove_labelled(label, grace=_GRACE)
            _page(server).unlink(missing_ok=True)
    return server


def wait_for_end(server: NotebookServer) -> None:
    """Wait until the server ends. Raises ServerEnded with its output unless it ended well, or was removed."""
    with podman.waiting_for(server.container) as ended:
        ended(None)
    if _exit_code(server) not in ("0", ""):
        raise _ended(server)


def stop(server: NotebookServer) -> None:
    """End a server and remove its container; it is not an error if it is gone already."""
    podman.remove(server.container, grace=_GRACE)
    _page(server).unlink(missing_ok=True)


def process_of(server: NotebookServer) -> int:
    """Return the first process of a server's container, 0 if it does not run any more."""
    return next((int(found["State"]["Pid"]) for found in podman.inspect_containers([server.container])), 0)


def find_servers() -> tuple[NotebookServer, ...]:
    """Return the user's servers, sorted by name, including those that have ended."""
    servers = []
    for container in podman.inspect_containers(podman.with_label(LABEL)):
        environ = dict(item.partition("=")[::2] for item in container["Config"]["Env"])
        try:
            settings = NotebookSettings.from_label(container["Config"]["Labels"][LABEL])
        except ValueError:
            continue  # another program's, which has copied our label
        servers.append(
            NotebookServer(
                container=container["Name"],
                settings=settings,
                token=environ.get(TOKEN_VARIABLE, ""),
                state=container["State"]["Status"],
            )
        )
    return tuple(sorted(servers, key=lambda server: (server.name, server.settings.port)))


def write_redirect_page(server: NotebookServer) -> Path:
    """Write a page that leads a browser to the server, and return its path.

    Only the user can read it; others could see the token in a browser's arguments.
    """
    page = _page(server)
    page.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f'<!DOCTYPE html><meta http-equiv="refresh" content="0;url={server.url}">\n')
    return page


def _page(server: NotebookServer) -> Path:
    return files.state() / "notebooks" / f"{server.container}.html"


def _wait_until_ready(server: NotebookServer) -> None:
    with podman.waiting_for(server.container) as ended:
        for _ in range(int(_START_TIMEOUT / _POLL_INTERVAL)):
            if _answers(server):
                return
            if ended(_POLL_INTERVAL):
                raise _ended(server)
    raise OcicalibanError(
        f"the notebook server does not answer after {_START_TIMEOUT:g} seconds\n{_output(server)}",
        "if the home folder's file system hangs: --bare starts it without the home folder",
    )


def _answers(server: NotebookServer) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, server.settings.port, timeout=_REQUEST_TIMEOUT)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {server.token}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ended(server: NotebookServer) -> ServerEnded:
    """Return the error for a server that has ended, with its output."""
    code = _exit_code(server)
    output = _output(server)
    return ServerEnded(
        f"the notebook server ended with {f'exit code {code}' if code else 'no exit code'}"
        + (f"\n{output}" if output else ""),
        "--bare starts it without the settings in your home folder"
        if code != "137"
        else "it was killed: check that there is enough memory",
    )


def _exit_code(server: NotebookServer) -> str:
    return podman.exit_code(server.container)


def _output(server: NotebookServer) -> str:
    return podman.logs(server.container)
