"""The input `requirements`: the project's Python dependencies, locked, with a layer for each group of them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ocicaliban.build.inputs import cuda
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import resolver, size_tiers
from ocicaliban.model.project import Instance

KIND = "requirements"
SECTION = "python"


def of_groups(groups: Sequence[tuple[str, str]]) -> Provided:
    """Return the values and layers of locked requirements, given as groups with their labels; pure."""
    return Provided(
        values={"lock": "".join(text for _, text in groups), "has_requirements": bool(groups)},
        instances=tuple(
            Instance(label=label, values={"lock": text, "first": number == 0})
            for number, (label, text) in enumerate(groups)
        ),
    )


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    project, variant, base = context.project, context.variant, context.base
    given = parameters.text("requirements")
    path = resolver.declaration(project, given)
    if path is None and (name := resolver.unread(project)):
        context.reporter.note(f"{name} is not read; dependencies may stand in {', '.join(resolver.FOUND)}")
    if not base.python:
        # Until the base image is resolved, nobody knows for which Python. There will be a layer all the same.
        return of_groups([("", f"# {path.name}, not resolved yet\n")] if path else [])
    extras = tuple(sorted({*project.extras, *context.request.extras, *parameters.texts("extras")}))
    libraries = cuda.request(context)
    resolution = resolver.resolution(project, context.lock, base, variant, given, extras, libraries)
    if resolution is None:
        return of_groups([])
    groups = size_tiers.groups(resolution.requirements, resolution.weights)
    indexes = resolver.declared_indexes(project, given)
    return evolve(of_groups(groups), resolutions={variant: resolution}, indexes=indexes)


PROVIDER = Provider(
    kind=KIND, provide=_provide, empty=of_groups([]), lock_section=SECTION, layers="group of requirements"
)
