"""The input `debian-packages`: those that the recipe lists, and those that the project's files ask for."""

from __future__ import annotations

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.model.project import Instance


def of_packages(listed: tuple[str, ...], declared: tuple[str, ...]) -> Provided:
    """Return one layer with the packages that the recipe's parameter and the project's files list; pure."""
    if not declared:
        return Provided()
    return Provided(instances=(Instance(label="", values={"packages": tuple(sorted({*listed, *declared}))}),))


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    listed = parameters.texts("packages") if parameters else ()
    return of_packages(listed, context.environment.debian_packages)


PROVIDER = Provider(kind="debian-packages", provide=_provide, empty=Provided())
