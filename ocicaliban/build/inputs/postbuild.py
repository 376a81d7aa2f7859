"""The input `postbuild`: the script that prepares the image once the source is in it."""

from __future__ import annotations

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.project import binder_files


def of_script(path: str) -> Provided:
    """Return the values for a script of the project, "" if there is none to run; pure."""
    return Provided(values={"postbuild": path})


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    path = binder_files.find(context.project.root, binder_files.POSTBUILD)
    if not path or (parameters and parameters.values.get("run") is False):
        return of_script("")
    if context.mounts_project:
        context.reporter.note(f"{path} is not run: the project is mounted, and it would change your files")
        return of_script("")
    if parameters is None:
        context.reporter.note(f'{path} is not run: the mode has no recipe "postbuild"')
    return of_script(path)


PROVIDER = Provider(kind="postbuild", provide=_provide, empty=of_script(""), always=True)
