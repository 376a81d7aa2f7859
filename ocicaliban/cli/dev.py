"""The commands dev ...: tools for trying things out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Tools for trying things out.")


@app.callback()
def dev() -> None:
    """Tools for trying things out."""


@app.command("vertex-emulator")
def vertex_emulator(
    port: Annotated[int, typer.Option("--port", "-p", help="The port to listen on; 0 takes a free one.")] = 0,
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
    import os
    import shlex
    import signal
    import stat
    import threading

    from ocicaliban import paths
    from ocicaliban.emulator import faults as ordered
    from ocicaliban.errors import OcicalibanError, UsageError

    try:
        from ocicaliban.emulator.server import Emulator
    except ImportError as exc:
        hint = "pip install 'ocicaliban[vertex]' (300 MB)"
        raise OcicalibanError(f"the emulator needs Vertex AI's client library: {exc}", hint) from exc

    if faults and not Path(faults).is_file():
        raise UsageError(f"--faults: there is no file {faults}", "make it first, empty if nothing shall go wrong yet")
    place = Path(folder).expanduser().absolute() if folder else paths.state() / "vertex-emulator"

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    order = ordered.Order(file=Path(faults) if faults else None, say=say)
    emulator = Emulator(
        folder=place,
        gcs=Path(gcs).expanduser().absolute() if gcs else place / "gcs",
        port=port,
        region=region,
        project=project,
        parallel=jobs,
        registries=tuple(registry or ()),
        order=order,
        say=say,
    )
    over = threading.Event()
    with emulator:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: over.set())
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            os.fchmod(sys.stdout.fileno(), 0o600)  # the storage's address has a secret in it
        for name, value in emulator.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        say(f"# {region} is ready; Ctrl-C ends it, and its jobs")
        over.wait()
        say("# ending")
