"""The commands dev ...: tools for trying ocicaliban out."""

from __future__ import annotations

import os
import pwd
import shlex
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from ocicaliban.cli.options import request
from ocicaliban.cli.output import print_exactly
from ocicaliban.cli.usage import Command
from ocicaliban.reporter import TERMINAL, Reporter
from ocicaliban.system import files

app = typer.Typer(no_args_is_help=True, help="Tools for trying ocicaliban out.")


@app.callback()
def dev() -> None:
    """Tools for trying ocicaliban out."""


@app.command("vertex-emulator", cls=Command)
def vertex_emulator(
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The port to listen on; 0 chooses a free one.")
    ] = 0,
    region: Annotated[str, typer.Option("--region", help="The region that it emulates.")] = "us-central1",
    project: Annotated[str, typer.Option("--project-id", help="The project that it has.")] = "rehearsal",
    gcs: Annotated[
        str, typer.Option("--gcs", metavar="DIR", help="The folder of the buckets, which jobs see as /gcs.")
    ] = "",
    registry: Annotated[
        list[str] | None,
        typer.Option("--registry", metavar="HOST", help="A registry without TLS; not needed for one on localhost."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="How many jobs run at a time; with 0 all stay queued.")
    ] = 1,
    faults: Annotated[
        str, typer.Option("--faults", metavar="FILE", help="A TOML file of faults; it is read again when it changes.")
    ] = "",
    env_file: Annotated[
        str,
        typer.Option(
            "--env-file", metavar="FILE", help="Write the variables into this file when it is ready, for `. FILE`."
        ),
    ] = "",
    folder: Annotated[
        str, typer.Option("--folder", metavar="DIR", help="Where the key, the certificate and the logs go.")
    ] = "",
) -> None:
    """Emulate Vertex AI on this machine until Ctrl-C, to rehearse `ocicaliban cloud` without an account.

    It prints the environment variables to set in the shell that will use it, or writes them into --env-file, which is
    there as long as it is ready. Jobs run with podman. docs/vertex.md lists
    what the real service does differently.
    """
    given = locals()
    from ocicaliban.app import emulator as use_case
    from ocicaliban.app.requests import EmulatorRequest

    emulator = use_case.prepare(request(EmulatorRequest, given))
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    file = Path(os.path.abspath(os.path.expanduser(env_file))) if env_file else None
    with emulator:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in emulator.environment().items()]
        if file:
            files.replace(file, "".join(lines), mode=0o600)  # one of the addresses contains a secret
        else:
            _keep_secret(sys.stdout.fileno(), TERMINAL)
            print_exactly(lines)
        TERMINAL.say(f"# {region} is ready; Ctrl-C ends it and its jobs")
        over.wait()
        TERMINAL.say("# ending")
    if file:
        file.unlink(missing_ok=True)


def _keep_secret(descriptor: int, reporter: Reporter) -> None:
    """Let only the user read the file that stdout goes to: one of the addresses contains a secret."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return
    try:
        os.fchmod(descriptor, 0o600)
    except PermissionError:
        try:
            owner = pwd.getpwuid(status.st_uid).pw_name
        except KeyError:
            owner = f"user {status.st_uid}"
        who = [owner, *(["its group"] if status.st_mode & stat.S_IRGRP else [])]
        who += ["everybody else"] if status.st_mode & stat.S_IROTH else []
        reporter.warning(f"the addresses contain a secret, and go to another user's file: {', '.join(who)} can read it")
