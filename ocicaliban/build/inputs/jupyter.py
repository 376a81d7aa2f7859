"""The input `jupyter`: what a notebook's server needs in addition to the project's requirements."""

from __future__ import annotations

import re

from attrs import evolve

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError, nearest

_PACKAGES = {"lab": "jupyterlab", "notebook": "notebook"}
"""The package of each interface."""


def of_requirements(text: str) -> Provided:
    """Return the values for the server's own locked requirements; pure."""
    return Provided(values={"jupyter_lock": text})


def packages(parameters: InputParameters) -> tuple[str, ...]:
    """Return the requirements that the recipe's parameters ask for. Raises UsageError for a wrong parameter."""
    interface, version = parameters.text("interface"), parameters.text("version")
    if interface not in _PACKAGES:
        message = f"{parameters.setting('interface')}: there is no interface '{interface}'"
        raise UsageError(message, nearest(interface, _PACKAGES))
    package = _PACKAGES[interface]
    if version:
        if not re.fullmatch(r"\d+(\.\d+)*([a-z]+\d+)?", version):
            message = f"{parameters.setting('version')}: '{version}' is not a version of {package}"
            raise UsageError(message, "give a version or the beginning of one, for example 4.4")
        package += f"=={version}" + (".*" if version.replace(".", "").isdigit() else "")
    # Older servers have other names for their settings.
    return package, "jupyter-server>=2", *parameters.texts("packages")


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    wanted = packages(parameters)
    if not context.environment_base.python:
        return of_requirements(f"# {wanted[0]}, not resolved yet\n")
    name = f"{parameters.text('interface')}-{context.variant}"
    requirements = context.provided["requirements"]
    resolution = resolver.resolve_additions(
        str(requirements.values["lock"]),
        wanted,
        context.environment_base,
        context.lock.resolution("jupyter", name),
        requirements.indexes,
        "Jupyter",
        context.conda_modules,
    )
    return evolve(of_requirements(resolution.requirements), resolutions={name: resolution})


PROVIDER = Provider(kind="jupyter", provide=_provide, empty=of_requirements(""), lock_section="jupyter")
