"""Collect what a submission is made from, so that its jobs can be published later."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban import __version__
from ocicaliban.app import plan
from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi, driver
from ocicaliban.jobs import origin
from ocicaliban.jobs.origin import Machine, Origin
from ocicaliban.project import config, git, lockfile
from ocicaliban.recipes import catalog
from ocicaliban.system import machine

if TYPE_CHECKING:
    from ocicaliban.app.launch import PreparedLaunch
    from ocicaliban.build.planner import PlannedImage
    from ocicaliban.jobs.expansion import Sweep

RECIPES = "recipes"
"""The folder of the recipes among the files."""

CONTAINERFILE = "Containerfile"


def of_launch(prepared: PreparedLaunch, sweep: Sweep | None = None) -> Origin:
    """Return what the jobs of a launch are made from. A file that cannot be read is left out."""
    planned = prepared.planned
    files = {} if prepared.request.image_id else {**dict(declarations(planned)), **dict(_recipes(planned))}
    if files:
        with contextlib.suppress(UsageError):  # some plans cannot be written as one
            files[CONTAINERFILE] = plan.containerfile_of(planned)
    return Origin(
        program=__version__,
        machine=this_machine(prepared.devices),
        remote=git.remote(planned.project.root),
        sweep_name=sweep.name if sweep else "",
        sweep=sweep.text if sweep and len(sweep.text) <= origin.LARGEST_FILE else "",
        files=files,
    )


def this_machine(devices: tuple[cdi.Device, ...] = ()) -> Machine:
    """Return this machine, with the GPUs of these devices."""
    return Machine(
        processor=machine.processor(),
        cores=os.cpu_count() or 0,
        memory=machine.memory(),
        gpus=driver.gpu_names() if devices else (),
        driver=driver.version() if devices else "",
    )


def declarations(planned: PlannedImage) -> Iterator[tuple[str, str]]:
    """Yield the settings, the lock and the files that declare the environment, by their paths in the project."""
    root = planned.project.root
    declared = [file.path for file in planned.environment.files]
    for name in dict.fromkeys((config.NAME, lockfile.NAME, *declared)):
        path = root / name
        if path.resolve().is_relative_to(root.resolve()) and (text := _text(path)) is not None:
            yield name, text


def _recipes(planned: PlannedImage) -> Iterator[tuple[str, str]]:
    """Yield the files of the recipes that the mode has."""
    for name in catalog.modes(planned.project)[planned.plan.mode]:
        folder = catalog.folder(planned.project, name)
        for path in sorted(folder.rglob("*")):
            # A link of a project that somebody else wrote could name any file of this machine.
            if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
                continue
            if (text := _text(path)) is not None:
                yield f"{RECIPES}/{name}/{path.relative_to(folder)}", text


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > origin.LARGEST_FILE:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
