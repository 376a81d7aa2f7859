"""The commands dev ...: tools for trying things out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ocicaliban.reporter import TERMINAL, Reporter

_PROJECT = r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_REGION = r"[a-z]+(-[a-z]+[0-9]+)?"

app = typer.Typer(no_args_is_help=True, help="Tools for trying things out.")


@app.callback()
def dev() -> None:
    """Tools for trying things out."""


@app.command("vertex-emulator")
def vertex_emulator(
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 0,
    region: Annotated[str, typer.Option("--region", help="The region that it is.")] = "us-central1",
    project: Annotated[str, typer.Option("--project-id", help="The project that it has.")] = "rehearsal",
    gcs: Annotated[str, typer.Option("--gcs", metavar="DIR", help="A folder for the buckets, seen at /gcs.")] = "",
    registry: Annotated[
        list[str] | None,
        typer.Option("--registry", metavar="HOST", help="A registry without TLS; one on localhost needs no word."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="So many jobs run at once; with 0 all stay queued.")
    ] = 1,
    faults: Annotated[
        str, typer.Option("--faults", metavar="FILE", help="TOML: what shall go wrong; read again when it changes.")
    ] = "",
    folder: Annotated[
        str, typer.Option("--folder", metavar="DIR", help="Where the key, the certificate and the logs go.")
    ] = "",
) -> None:
    """Stand in for Vertex AI on this machine, until Ctrl-C: rehearse `ocicaliban cloud` without an account.

    Prints the environment variables to set in the shell that shall use it. Jobs run with podman. docs/vertex.md tells
    what the real service does otherwise.
    """
    import re
    import shlex
    import signal
    import threading

    from ocicaliban import google_auth
    from ocicaliban.emulator.faults import FaultInjector
    from ocicaliban.emulator.settings import EmulatorSettings
    from ocicaliban.errors import OcicalibanError, UsageError
    from ocicaliban.system import files

    for option, value, pattern, like in (
        ("--project-id", project, _PROJECT, "6 to 30 small letters, digits and hyphens, such as rehearsal"),
        ("--region", region, _REGION, "such as us-central1"),
    ):
        if not re.fullmatch(pattern, value):
            raise UsageError(f"{option} {value!r} is none that the service could have", like)
    google_auth.quieten()
    try:
        from ocicaliban.emulator.server import Emulator
    except ImportError as exc:
        hint = "pip install 'ocicaliban[vertex]' (300 MB)"
        raise OcicalibanError(f"the emulator needs Vertex AI's client library: {exc}", hint) from exc

    if faults and not Path(faults).exists():
        raise UsageError(f"--faults: there is no file {faults}", "make it first, empty if nothing shall go wrong yet")
    place = Path(folder).expanduser().absolute() if folder else files.state() / "vertex-emulator"

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    settings = EmulatorSettings(
        folder=place,
        gcs=Path(gcs).expanduser().absolute() if gcs else place / "gcs",
        port=port,
        region=region,
        project=project,
        parallel=jobs,
        insecure_registries=tuple(registry or ()),
    )
    injector = FaultInjector(file=Path(faults) if faults else None, reporter=TERMINAL)
    emulator = Emulator(settings, faults=injector, reporter=TERMINAL)
    with emulator:
        _keep_secret(sys.stdout.fileno(), TERMINAL)
        for name, value in emulator.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        TERMINAL.say(f"# {region} is ready; Ctrl-C ends it, and its jobs")
        over.wait()
        TERMINAL.say("# ending")


def _keep_secret(descriptor: int, reporter: Reporter) -> None:
    """Make the file that the addresses go to the user's alone: that of the storage has a secret in it."""
    import os
    import pwd
    import stat

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
        reporter.warning(f"the addresses hold a secret, and go to a file of another user: {', '.join(who)} can read it")
