"""Google's client library for Vertex AI, whose import takes seconds."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from concurrent import futures
from types import ModuleType
from typing import Any

from attrs import frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, first_line
from ocicaliban.system import installation, threads


@frozen(kw_only=True)
class Library:
    """What we use of Google's library; `faults` is its module of exceptions."""

    JobServiceClient: Any
    CustomJob: Any
    faults: ModuleType


_loading: futures.Future[Library] | None = None


def preload() -> None:
    """Begin to import the library in the background; a second call does nothing."""
    global _loading
    if _loading is None:
        _loading = threads.start(_load)


def _load() -> Library:
    google_auth.quieten()
    service, job = _parts("services.job_service", "types.custom_job")
    faults = importlib.import_module("google.api_core.exceptions")
    return Library(JobServiceClient=service.JobServiceClient, CustomJob=job.CustomJob, faults=faults)


_PACKAGE = "google.cloud.aiplatform_v1"


def _parts(*names: str) -> tuple[ModuleType, ...]:
    """Import modules of Google's package, without the hundreds that it imports beside them: a third of the time.

    The package asks Python 3.15 to import the others on use (PEP 810). On an older Python, empty packages replace those
    that contain the modules, while these are imported. A later import of the package gets all of it.
    """
    found = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else None
    if sys.version_info < (3, 15) and found is not None:
        empty = {}
        for above in ("", *(name.rpartition(".")[0] for name in names)):
            package = ModuleType(f"{_PACKAGE}.{above}".rstrip("."))
            package.__path__ = [os.path.join(folder, above) for folder in found.submodule_search_locations or ()]
            empty[package.__name__] = package
        sys.modules.update(empty)
        try:
            return tuple(importlib.import_module(f"{_PACKAGE}.{name}") for name in names)
        except ImportError:
            pass  # another version needs more of itself
        finally:
            for name in empty:
                del sys.modules[name]
    importlib.import_module(_PACKAGE)
    return tuple(importlib.import_module(f"{_PACKAGE}.{name}") for name in names)


def library() -> Library:
    """Return the library once it is imported. Raises OcicalibanError if it is missing or does not fit."""
    preload()
    assert _loading is not None
    fault = _loading.exception()
    if fault is None:
        return _loading.result()
    words = "Vertex AI's client library cannot be imported"
    if isinstance(fault, ImportError):
        hint = f"{installation.with_extra('vertex')} (300 MB); the emulator needs it as well"
        raise OcicalibanError(f"{words}: {fault}", hint) from fault
    # Versions that do not go together: protobuf and gRPC raise whatever comes first.
    hint = installation.with_extra("vertex").replace(" install ", " install --upgrade ", 1)
    raise OcicalibanError(f"{words}: {type(fault).__name__}: {first_line(fault)}", hint) from fault
