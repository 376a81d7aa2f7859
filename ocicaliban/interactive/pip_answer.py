"""Tell people in a shell or a notebook how to add a package, where they try `pip install`."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.containers import command_line
from ocicaliban.dependencies import adding
from ocicaliban.dependencies.declaration import Declaration

FOLDER = "/run/ocicaliban"
"""Where a container sees the files for shells, the answer of pip among them."""


def variable(declaration: Declaration | None) -> tuple[str, ...]:
    """Return podman's option for the variable that holds the answer, in which PACKAGE stands for the names."""
    return "--env", f"OCICALIBAN_ADD={adding.how_to_add(declaration, 'PACKAGE')}"


def mount(files: Path) -> tuple[str, ...]:
    """Return podman's options that mount the `files` for shells."""
    return command_line.mount_option(f"{files}:{FOLDER}:ro")
