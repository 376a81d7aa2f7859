"""Small projects that other tools have locked, for tests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.model.image import Base

LOCKS = Path(__file__).parent / "data" / "locks"


def base_with(python: str) -> Base:
    """Return a base image for Linux on x86_64 with this Python."""
    return Base(kind="registry", reference="r", digest="sha256:aa", python=python, platform="linux/amd64", libc="2.36")


def copied(name: str, to: Path) -> Path:
    """Copy a project to the folder `to`, and return its path."""
    return Path(shutil.copytree(LOCKS / name, to / name))


def resolved(
    declaration: Declaration, python: str = "3.11.2", extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()
) -> str:
    """Return what a declaration locks for a Python, with these extras and additional groups."""
    target = ResolutionTarget(
        base=base_with(python),
        variant="cpu",
        extras=declaration.resolved_extras(extras, "cpu"),
        groups=declaration.resolved_groups(groups),
    )
    return declaration.resolve(target, "")


def versions(requirements: str) -> dict[str, str]:
    """Return the version of each package that has one in locked requirements."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", requirements, re.M))
