"""The input `cuda`: CUDA's libraries, which are installed with the requirements, and where they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.errors import UsageError
from ocicaliban.recipes import catalog

if TYPE_CHECKING:
    from ocicaliban.dependencies.cuda_wheels import CudaRequest

KIND = "cuda"


def of_libraries(path: str) -> Provided:
    """Return the values for the folders of CUDA's libraries, joined by colons; pure."""
    return Provided(values={"cuda_libraries": path})


def request(context: PlanContext) -> CudaRequest | None:
    """Return which libraries the project asks for; None if it asks for none, or if there is no GPU to use them."""
    parameters = context.parameters(KIND)
    if parameters is None or context.variant == "cpu" or not parameters.text("version"):
        return None
    from ocicaliban.dependencies import cuda_wheels  # few projects ask for it

    recipe = parameters.recipes[0].name
    folder = catalog.folder(context.project, recipe)
    return cuda_wheels.CudaRequest(
        recipe=recipe,
        version=parameters.text("version"),
        components=parameters.texts("components"),
        table=cuda_wheels.load_table(folder / "versions.toml"),
    )


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    libraries = request(context)
    if libraries is None:
        return of_libraries("")
    if context.parameters("requirements") is None:
        message = f"{parameters.setting('version')}: the mode has no recipe that installs Python packages"
        raise UsageError(message, 'add "python" to its list')
    base = context.environment_base
    if not base.python:
        return of_libraries("")
    from ocicaliban.dependencies import cuda_wheels

    environment = str(context.provided["conda"].values["environment"])
    locked = str(context.provided["requirements"].values["lock"])
    return of_libraries(cuda_wheels.library_path(libraries, locked, base.python, environment))


PROVIDER = Provider(kind=KIND, provide=_provide, empty=of_libraries(""))
