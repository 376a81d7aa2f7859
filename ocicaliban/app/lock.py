"""Write, renew or check the project's lock without building."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.app import build, place
from ocicaliban.app.requests import LockRequest
from ocicaliban.build import lock_changes, planner
from ocicaliban.build.lock_changes import Change
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.recipe import Variant
from ocicaliban.project import config, lockfile
from ocicaliban.project.lockfile import Lock
from ocicaliban.reporter import TERMINAL, Reporter

_USUAL = "build"
"""The mode whose recipes need what a lock holds; a project may have others."""
_NOTEBOOK = "notebook"


@frozen(kw_only=True)
class Locked:
    """What `lock` found: the lock's file, whether it was `there`, and in what the lock now differs from it."""

    path: Path
    there: bool
    changes: tuple[Change, ...]

    @property
    def out_of_date(self) -> OcicalibanError | None:
        """The error of a check, None if the lock holds."""
        if not self.there:
            return OcicalibanError(f"there is no {lockfile.NAME}", "ocicaliban lock writes it; commit it")
        if self.changes:
            return OcicalibanError(f"{lockfile.NAME} is out of date: {self.changes[0].line}", "ocicaliban lock")
        return None


def lock(request: LockRequest) -> Locked:
    """Bring the lock of the project in the current folder up to date, or look whether it is.

    What still holds is kept, unless it is to be upgraded. Entries that nothing needs any more are removed. A check
    writes nothing, and fetches or makes no base image. Raises UsageError if a name to upgrade stands for nothing, and
    OcicalibanError if something cannot be resolved; the lock is as before then.
    """
    build.note_root()
    if request.names and not request.upgrade:
        raise UsageError(f"one word too many: {request.names[0]}", f"ocicaliban lock --upgrade {request.names[0]}")
    if request.check and request.upgrade:
        raise UsageError("--check and --upgrade exclude each other", "give one of them")
    request = evolve(place.entered(request, TERMINAL), mode=_USUAL)
    root = place.project_root()
    before = lockfile.read_lock(root)
    variants = _variants(request, before)
    now = lock_changes.without(before, request.names) if request.upgrade else before
    base = request.upgrade and (not request.names or "base" in request.names)
    used: dict[str, set[str]] = {}
    reporter = _once()
    for asked in _plans(request, root, before, variants):
        # A base that was made a moment ago is not made again for the next variant.
        fresh = base and not any(each.kind == "bootstrap" for each in now.base.values())
        planned = planner.plan_project(evolve(asked, lock=now, fresh=fresh, resolve=not request.check), reporter)
        now = planned.lock
        for section, names in planned.resolutions.items():
            used.setdefault(section, set()).update(names)
    now = _pruned(now, used, before)
    there = (root / lockfile.NAME).is_file()
    found = Locked(path=root / lockfile.NAME, there=there, changes=lock_changes.changes(before, now))
    if not request.check:
        lockfile.write_lock(root, now)
    return found


def _once() -> Reporter:
    """Return a reporter that says each line once: the plans are much alike."""
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said:
            said.add(line)
            TERMINAL.say(line)

    return Reporter(say)


def _variants(request: LockRequest, lock: Lock) -> tuple[Variant, ...]:
    """Return the kinds of machines that are locked: the one that is asked for, and those that the lock has."""
    if request.gpu_wanted is None:
        here: Variant = "gpu" if build.choose_gpus(request) else "cpu"
    else:
        here = "gpu" if request.gpu_wanted else "cpu"
    both: tuple[Variant, Variant] = ("cpu", "gpu")
    return tuple(each for each in both if each == here or each in lock.base)


def _plans(request: LockRequest, root: Path, lock: Lock, variants: tuple[Variant, ...]) -> Iterator[PlanRequest]:
    """Yield a plan for each thing that resolves something of its own: variants, scripts, modes, notebooks."""
    asked = build.plan_request(request, ())
    modes = [mode for mode in config.load_project(root).modes if mode not in (_USUAL, _NOTEBOOK)]
    scripts = place.in_project(request, request.scripts)
    missing = next((name for name in scripts if not (root / name).is_file()), "")
    if missing:
        raise UsageError(f"--script {missing}: there is no such file", "give the path of a script or a notebook")
    for variant in variants:
        one = evolve(asked, gpu_elsewhere=variant == "gpu")
        yield one
        yield from (evolve(one, mode=mode) for mode in modes)
        named = (name.partition(" ")[2] for name in lock.sections.get("python", {}) if name.startswith(f"{variant} "))
        # The module of a plan is relative to the folder that the command was called in.
        modules = [name for name in dict.fromkeys((*named, *scripts)) if (root / name).is_file()]
        if variant in lock.sections.get("papermill", {}) and (notebook := _notebook(root)):
            modules.append(notebook)
        yield from (evolve(one, module=module, folder="") for module in dict.fromkeys(modules))
        if any(name.endswith(f"-{variant}") for name in lock.sections.get("jupyter", {})):
            yield evolve(one, mode=_NOTEBOOK)


def _notebook(root: Path) -> str:
    """Return the path of a notebook of the project, "" if there is none. All run in the same environment."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if found := sorted(name for name in names if name.endswith(".ipynb")):
            return os.path.relpath(os.path.join(folder, found[0]), root)
    return ""


def _pruned(lock: Lock, used: dict[str, set[str]], before: Lock) -> Lock:
    """Return the lock without what no plan has used. Sections that no plan was asked for stay."""
    sections = {
        section: {name: each for name, each in held.items() if name in used[section] or _unknown(section, name, used)}
        if section in used
        else held
        for section, held in lock.sections.items()
    }
    return evolve(lock, sections={section: held for section, held in sections.items() if held})


def _unknown(section: str, name: str, used: dict[str, set[str]]) -> bool:
    """Whether no plan could tell if a resolution is needed: none had the recipe's input."""
    return section in lockfile.SEPARATE and not used[section]
