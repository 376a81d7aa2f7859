"""Set up the emulator of Vertex AI."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban import google_auth
from ocicaliban.app.requests import EmulatorRequest
from ocicaliban.emulator.faults import FaultInjector
from ocicaliban.emulator.settings import EmulatorSettings
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import files, installation

if TYPE_CHECKING:
    from ocicaliban.emulator.server import Emulator

_PROJECT = r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_REGION = r"[a-z]+(-[a-z]+[0-9]+)?"


def prepare(request: EmulatorRequest) -> Emulator:
    """Return an emulator, which a `with` statement starts and ends.

    Raises UsageError if the request is not valid, OcicalibanError if the client library is not installed.
    """
    for option, value, pattern, hint in (
        ("--project-id", request.project, _PROJECT, "6 to 30 small letters, digits and hyphens, such as rehearsal"),
        ("--region", request.region, _REGION, "such as us-central1"),
    ):
        if not re.fullmatch(pattern, value):
            raise UsageError(f"{option} {value!r} is not a name that the service could have", hint)
    google_auth.quieten()
    try:
        from ocicaliban.emulator.server import Emulator
    except ImportError as exc:
        hint = f"{installation.with_extra('vertex')} (300 MB)"
        raise OcicalibanError(f"the emulator needs Vertex AI's client library: {exc}", hint) from exc
    if request.faults and not Path(request.faults).exists():
        raise UsageError(
            f"--faults: there is no file {request.faults}", "create it first; it may be empty until something must fail"
        )
    folder = (
        Path(os.path.expanduser(request.folder)).absolute() if request.folder else files.state() / "vertex-emulator"
    )
    settings = EmulatorSettings(
        folder=folder,
        gcs=Path(os.path.expanduser(request.gcs)).absolute() if request.gcs else folder / "gcs",
        port=request.port,
        region=request.region,
        project=request.project,
        parallel=request.jobs,
        insecure_registries=request.registry,
    )
    injector = FaultInjector(file=Path(request.faults) if request.faults else None, reporter=TERMINAL)
    return Emulator(settings, faults=injector, reporter=TERMINAL)
