"""The input `shell`: the shell that people live in."""

from __future__ import annotations

import os

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider


def of_shell(package: str) -> Provided:
    """Return the values for a shell's package, "" if the base image has the shell; pure."""
    return Provided(values={"shell": package})


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    from ocicaliban.interactive import shell  # few modes have a shell

    return of_shell(shell.package(shell.choose(context.request.shell_name, os.environ)))


PROVIDER = Provider(kind="shell", provide=_provide, empty=of_shell(""), reads_contents=False)
