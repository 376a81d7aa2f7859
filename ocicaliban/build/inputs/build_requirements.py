"""Lock what the build of a package requires."""

from __future__ import annotations

import re

from ocicaliban.build.inputs.provider import PlanContext
from ocicaliban.dependencies import resolver
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.project.lockfile import Resolution

_OWN_WHEELS = (70, 1)
"""The version since which setuptools builds wheels without the package wheel."""


def resolved(context: PlanContext, build: PackageBuild, locked: Resolution | None, name: str) -> Resolution:
    """Return the requirements of the build of the package `name`. Versions in `locked` are kept where possible.

    Raises ToolError with uv's explanation if they cannot be resolved.
    """
    indexes = context.provided["requirements"].indexes
    what = f"what the build of {name} requires"
    base = context.environment_base
    found = resolver.resolve_additions("", build.requires, base, locked, indexes, what)
    old = re.search(r"^setuptools==(\d+)\.(\d+)", found.requirements, re.M)
    if old is None or (int(old[1]), int(old[2])) >= _OWN_WHEELS:
        return found
    return resolver.resolve_additions("", (*build.requires, "wheel"), base, found, indexes, what)
