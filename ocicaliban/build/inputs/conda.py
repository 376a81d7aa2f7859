"""The input `conda`: conda's packages, and the folder of the environment that all other packages go into."""

from __future__ import annotations

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.model.project import Instance

VENV = "/opt/venv"
PREFIX = "/opt/conda"


def of_packages(python: str = "", instances: tuple[Instance, ...] = ()) -> Provided:
    """Return the values and layers of conda's packages; pure.

    `python` is the version of the Python among them. Without one, Python packages go into a virtual environment.
    """
    return Provided(
        values={"environment": PREFIX if python else VENV, "conda_python": python},
        instances=instances,
    )


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    return of_packages()


PROVIDER = Provider(
    kind="conda", provide=_provide, empty=of_packages(), lock_section="conda", layers="group of conda packages"
)
