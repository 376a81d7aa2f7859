"""Ask the user once for what a project wants of this machine outside of the project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from ocicaliban.app import place
from ocicaliban.build import demands, planner
from ocicaliban.build.demands import Demand
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.project import allowed
from ocicaliban.project.config import load_project
from ocicaliban.recipes import catalog
from ocicaliban.reporter import confirmed

_COMMAND = "`ocicaliban allow`"


def require(planned: PlannedImage, *, build: bool = False) -> None:
    """Return if the user has allowed what the plan wants, or, at a terminal, allows it now.

    With `build`, an image is built and no container started. Raises UsageError otherwise.
    """
    wanted = [each for each in planned.demands if each.build or not build]
    if not wanted:
        return
    root = planned.project.root
    known = allowed.load(root)
    left = [each for each in wanted if each.identity not in known]
    if not left:
        return
    listed = "\n".join(f"  {line}" for line in demands.lines(left))
    message = f"the project {root} wants what lies outside of it:\n{listed}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(message, f"read these files; {_COMMAND} in the project's folder allows it")
    if not confirmed(f"{message}\nDo you allow this?"):
        raise UsageError("the project is not allowed what it wants", f"{_COMMAND} allows it, once and for all")
    allowed.save(root, {*known, *(each.identity for each in left)})


def allow() -> Iterator[str]:
    """Allow the project in the current folder what it wants in any mode, and yield a line for each.

    What was allowed before and is not wanted any more is forgotten. Raises UsageError for a mistake in its files.
    """
    root = place.project_root()
    found = _wanted(root)
    if found:
        allowed.save(root, [each.identity for each in found])
    else:
        allowed.revoke(root)
    yield from (f"allowed: {line}" for line in demands.lines(found))
    if not found:
        yield f"the project {root} wants nothing outside of it"


def _wanted(root: Path) -> tuple[Demand, ...]:
    """Return what the project wants in its modes, on this machine with a GPU and without."""
    found: list[Demand] = []
    for mode in sorted(catalog.modes(load_project(root))):
        request = PlanRequest(root=root, mode=mode, resolve=False)
        for asked in (request, evolve(request, gpu_elsewhere=True), evolve(request, mount=True)):
            found += _planned(asked).demands
    return tuple(dict.fromkeys(found))


def _planned(request: PlanRequest) -> PlannedImage:
    try:
        return planner.plan_project(request)
    except OcicalibanError:
        # What keeps one mode from being built is no matter here, unless it concerns the recipes.
        return planner.plan_project(evolve(request, contents=False))


def described(planned: PlannedImage) -> list[dict[str, object]]:
    """Return what a plan wants outside of the project as values for JSON."""
    known = allowed.load(planned.project.root) if planned.demands else frozenset()
    return [
        {"kind": each.kind, "what": each.what, "file": each.place, "allowed": each.identity in known}
        for each in planned.demands
    ]


def lines(planned: PlannedImage) -> list[str]:
    """Return the lines of a plan about what it wants outside of the project."""
    known = allowed.load(planned.project.root) if planned.demands else frozenset()
    out = []
    for each, line in zip(planned.demands, demands.lines(planned.demands), strict=True):
        state = "allowed" if each.identity in known else f"not allowed yet: {_COMMAND}"
        out.append(f"outside of the project: {line}, {state}")
    return out


def revoke() -> str:
    """Allow the project in the current folder nothing, and return a line that says so."""
    root = place.project_root()
    return f"{root}: {'revoked' if allowed.revoke(root) else 'nothing was allowed'}"


def listed_values() -> list[dict[str, object]]:
    """Return what is allowed for each project as values for JSON."""
    return [{"project": str(root), "allowed": [*identities]} for root, identities in allowed.everything()]


def listed() -> Iterator[str]:
    """Yield lines with what is allowed for each project."""
    for root, identities in allowed.everything():
        yield f"{root}:"
        yield from (f"  {each}" for each in identities)
