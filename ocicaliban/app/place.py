"""Where a command was started: which project it is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from attrs import evolve

from ocicaliban.app.requests import ImageRequest
from ocicaliban.project import root
from ocicaliban.reporter import Reporter

R = TypeVar("R", bound=ImageRequest)


def project_root() -> Path:
    """Return the folder of the project that the current folder belongs to."""
    return root.locate(Path.cwd()).root


def entered(request: R, reporter: Reporter) -> R:
    """Return a request with the current folder, and tell the user if the project is a folder above."""
    place = root.locate(Path.cwd())
    if not place.folder:
        return request  # one from the history has the folder in which it was made
    reporter.note(f"the project is {place.root}")
    return evolve(request, folder=place.folder)


def in_project(request: ImageRequest, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return paths that a request names, relative to the project."""
    return tuple(os.path.normpath(os.path.join(request.folder, name)) for name in names)
