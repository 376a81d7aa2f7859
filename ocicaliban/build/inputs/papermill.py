"""The input `papermill`: what runs a notebook as a job, in addition to the project's requirements."""

from __future__ import annotations

import re

from attrs import evolve

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError
from ocicaliban.project import entry_point


def of_requirements(text: str | None, *, environment_exists: bool = True) -> Provided:
    """Return the values for papermill's own locked requirements, None if nothing runs a notebook; pure."""
    return Provided(
        values={
            "runs_notebook": text is not None,
            "papermill_lock": text or "",
            "makes_notebook_environment": text is not None and not environment_exists,
        }
    )


def packages(parameters: InputParameters) -> tuple[str, ...]:
    """Return the requirements that the recipe's parameters ask for. Raises UsageError for a wrong version."""
    version = parameters.text("version")
    if not version:
        return "papermill", "ipykernel", *parameters.texts("packages")
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        message = f"{parameters.setting('version')}: '{version}' is not a version of papermill"
        raise UsageError(message, "give a version or the beginning of one, for example 2.6")
    return f"papermill=={version}.*", "ipykernel", *parameters.texts("packages")


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    module = context.request.module
    if not entry_point.is_notebook(module):
        return of_requirements(None)
    if parameters is None:
        raise UsageError(
            f"the mode '{context.request.mode}' has no recipe that runs the notebook '{module}'",
            'add "papermill" to its list, before the source',
        )
    exists = bool(context.provided["requirements"].values["has_environment"] or context.provided["project"].instances)
    if not context.environment_base.python:
        return of_requirements("# papermill, not resolved yet\n", environment_exists=exists)
    requirements = context.provided["requirements"]
    resolution = resolver.resolve_additions(
        str(requirements.values["lock"]),
        packages(parameters),
        context.environment_base,
        context.lock.resolution("papermill", context.variant),
        requirements.indexes,
        "papermill",
        context.conda_modules,
    )
    made = of_requirements(resolution.requirements, environment_exists=exists)
    return evolve(made, resolutions={context.variant: resolution})


PROVIDER = Provider(
    kind="papermill", provide=_provide, empty=of_requirements(None), always=True, lock_section="papermill"
)
