"""What a shell offers when the user types Tab: groups, jobs, modes, recipes, columns and scripts.

Nothing here prints or fails: a shell would show it in the middle of the user's line.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from functools import wraps

import typer

_NEWEST = 50
_DEEPEST = 4
_MOST = 500
_ENTRIES = 10_000

Offer = tuple[str, str]
"""A word, and what it means."""

Completer = Callable[[typer.Context, str], list[Offer]]


def _quiet(find: Callable[[typer.Context, str], Iterator[Offer]]) -> Completer:
    """Return a completer that offers nothing where something is wrong, whatever it is."""

    @wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> list[Offer]:
        found: list[Offer] = []
        with contextlib.suppress(Exception):
            found.extend(each for each in find(ctx, incomplete) if each[0].startswith(incomplete))
        return found

    return complete


def _groups() -> Iterator[Offer]:
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance, status_table
    from ocicaliban.reporter import SILENT

    if not access.exists():
        return
    with access.open(reporter=SILENT) as history:
        for each in history.groups(user=provenance.user(), newest=_NEWEST):
            yield each.name, status_table.counted(each.counts)


def _jobs() -> Iterator[Offer]:
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance, status_table
    from ocicaliban.reporter import SILENT

    yield "last", "what was started last"
    if not access.exists():
        return
    with access.open(reporter=SILENT) as history:
        for each in history.jobs(user=provenance.user(), newest=_NEWEST):
            yield str(each.id), f"{each.submission.group}: {each.status}, {status_table.typed(each)}"[:80]


@_quiet
def groups(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the user's groups."""
    yield from _groups()


@_quiet
def jobs(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the user's newest jobs."""
    yield from _jobs()


@_quiet
def jobs_and_groups(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the user's newest jobs and groups."""
    yield from _jobs()
    yield from _groups()


@_quiet
def modes(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the modes of the project."""
    from ocicaliban.app import place
    from ocicaliban.project.config import load_project
    from ocicaliban.recipes import catalog

    for name, recipes in catalog.modes(load_project(place.project_root())).items():
        yield name, ", ".join(recipes)[:80]


@_quiet
def recipes(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the recipes of the project."""
    from ocicaliban.app import place
    from ocicaliban.project.config import load_project
    from ocicaliban.recipes import catalog

    project = load_project(place.project_root())
    for name, _, _ in catalog.names(project):
        yield name, catalog.find(project, name).summary


@_quiet
def columns(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the columns of the report of the group on the command line; of several, separated by commas, the next."""
    from ocicaliban.app import report

    before, comma, _ = incomplete.rpartition(",")
    minus = "-" if incomplete.startswith("-") else ""
    group = str(ctx.params.get("name") or ctx.params.get("group") or "")
    for name in report.columns_on_record(group):
        yield f"{before}{comma}{minus}{name}", ""


@_quiet
def scripts(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the scripts and notebooks below the current folder, and modules if a dot says that one is meant."""
    left = _MOST
    for path in _files():
        name = os.path.basename(path)
        if not name.endswith((".py", ".ipynb")) or name == "__init__.py":
            continue
        yield path, ""
        if name.endswith(".py") and "." in incomplete and "/" not in incomplete:
            yield path.removesuffix(".py").replace("/", "."), ""
        left -= 1
        if not left:
            return


def _files() -> Iterator[str]:
    """Yield the files below the current folder, those of the upper folders first, until many entries were seen."""
    left = _ENTRIES
    pending = [("", 0)]
    for folder, depth in pending:  # which grows
        if not left:
            return
        try:
            with os.scandir(folder or ".") as found:
                entries = sorted(itertools.islice(found, left), key=lambda entry: entry.name)
        except OSError:
            continue
        left -= len(entries)
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if not entry.is_dir():
                yield path
            elif depth < _DEEPEST and not entry.is_symlink() and _may_have_scripts(entry.name):
                pending.append((path, depth + 1))


def _may_have_scripts(name: str) -> bool:
    return not name.startswith((".", "__")) and name not in ("node_modules", "venv", "env", "site-packages")
