"""The input `command`: what a container starts."""

from __future__ import annotations

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.project import binder_files, entry_point


def of_command(module: str, command: tuple[str, ...]) -> Provided:
    """Return the values for a module and the command that starts it; pure."""
    return Provided(values={"module": module, "command": command, "has_command": bool(command)})


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    if not context.command or (parameters and parameters.values.get("start") is False):
        return of_command(context.request.module, context.command)
    words, path = binder_files.start_command(context.project.root, entry_point.APP)
    if path and not words:
        context.reporter.note(f"{path} does not run its arguments, so it is not used to start the container")
    return of_command(context.request.module, (*words, *context.command))


PROVIDER = Provider(kind="command", provide=_provide, empty=of_command("", ()), always=True, reads_contents=False)
