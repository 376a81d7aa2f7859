"""The input `command`: what a container starts."""

from __future__ import annotations

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider


def of_command(module: str, command: tuple[str, ...]) -> Provided:
    """Return the values for a module and the command that starts it; pure."""
    return Provided(values={"module": module, "command": command, "has_command": bool(command)})


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    return of_command(context.request.module, context.command)


PROVIDER = Provider(kind="command", provide=_provide, empty=of_command("", ()), always=True, reads_contents=False)
