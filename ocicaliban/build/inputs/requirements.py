"""The input `requirements`: the project's Python dependencies, locked, with a layer for each group of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from attrs import evolve

from ocicaliban.build import other_python
from ocicaliban.build.inputs import cuda
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import locked_packages, resolver, size_tiers, uv_builds
from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.dependencies.indexes import NO_INDEX, project_indexes
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.size_tiers import Group
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.project import Instance
from ocicaliban.project.config import setting_place

_SECTION = "python"
_UNDECLARED = re.compile(r"\bno (?:dependency )?(extra|group) '(.*?)'(?:$|:)", re.S)
"""How each way of declaring dependencies says that an extra or a group is not declared."""


def of_groups(
    groups: Sequence[Group], conda_python: str = "", *, no_index: bool = False, uv_settings: str = ""
) -> Provided:
    """Return the values and layers of locked requirements; pure. `uv_settings` are those of uv for builds.

    With `conda_python`, the environment exists already when they are installed: the first layer does not configure it.
    With `no_index`, those that come from no index of their own come from folders and pages with links alone.
    """
    return Provided(
        values={
            "lock": "".join(group.requirements for group in groups),
            "index": "",
            "uv_settings": uv_settings,
            "has_requirements": bool(groups),
            "has_environment": bool(groups or conda_python),
        },
        instances=tuple(
            Instance(
                label=group.label,
                values={
                    "lock": group.requirements,
                    "index": group.index or (NO_INDEX if no_index else ""),
                    "first": number == 0 and not conda_python,
                },
            )
            for number, group in enumerate(groups)
        ),
    )


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    project, base, conda_python = context.project, context.environment_base, context.conda_python
    declaration = context.environment.declaration
    if not base.python:
        # Until the base image is resolved, it is unknown for which Python to resolve. There will be a layer anyway.
        text = f"# {declaration.path.name}, not resolved yet\n" if declaration else ""
        return of_groups([Group("", text)] if text else [], conda_python)
    indexes = declaration.indexes() if declaration else project_indexes(project.root)
    extras = tuple(sorted({*project.extras, *context.request.extras, *parameters.texts("extras")}))
    asked = tuple(sorted({*context.request.groups, *parameters.texts("groups")}))
    target = ResolutionTarget(
        base=base,
        variant=context.variant,
        provided=context.conda_modules,
        extras=extras,
        groups=asked,
        torch="any" if parameters.text("torch") == "any" else "cpu",
    )
    name = f"{context.variant} {declaration.shown}" if declaration and declaration.ALONE else context.variant
    locked = context.lock.resolution(_SECTION, name)
    own = evolve(base, python="") if conda_python else base
    with _placed(context, parameters), other_python.telling(own, indexes, context.environment.python):
        resolution = resolver.resolve(declaration, target, locked, indexes, cuda.request(context))
    if resolution is None:
        return of_groups([], conda_python)
    beside = (*resolution.folders, *resolution.checkouts)
    if beside and context.parameters("project") is None:
        raise UsageError(
            f"the mode '{context.request.mode}' has no recipe that installs packages from folders or git: {beside[0]}",
            'add "project" to the mode\'s list, after "python"',
        )
    groups = size_tiers.divided(resolution.requirements, resolution.weights, resolution.indexes)
    return evolve(
        of_groups(
            groups,
            conda_python,
            no_index=indexes.no_index,
            uv_settings=uv_builds.build_settings(declaration) if resolution.requirements else "",
        ),
        resolutions={name: resolution},
        indexes=evolve(indexes, pins=resolution.indexes),
        downloads=resolution.weights,
        packages=locked_packages.count(resolution.requirements, base) + len(beside),
    )


@contextlib.contextmanager
def _placed(context: PlanContext, parameters: InputParameters) -> Iterator[None]:
    """Add file and line to an error about an extra or a group that is not declared, if the configuration names it."""
    try:
        yield
    except OcicalibanError as fault:
        named: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [(("extras",), context.project.extras, "extra")]
        for key, kind in (("extras", "extra"), ("groups", "group")):
            keys = tuple(parameters.setting(key).split("."))
            if key not in context.request.settings.get(keys[1], {}):
                named.append((keys, parameters.texts(key), kind))
        if undeclared := _UNDECLARED.search(fault.message):
            for keys, names, kind in named:
                if kind == undeclared[1] and undeclared[2] in {*names, *map(normalized, names)}:
                    place = setting_place(context.project.root, keys)
                    raise UsageError(f"{place}: {'.'.join(keys)}: {fault.message}", fault.hint) from fault
        raise


PROVIDER = Provider(
    kind="requirements", provide=_provide, empty=of_groups([]), lock_section=_SECTION, layers="group of requirements"
)
