"""The commands layers list, show and eject."""

from __future__ import annotations

import typer

from ocicaliban.cli.output import print_lines
from ocicaliban.cli.usage import Command

app = typer.Typer(no_args_is_help=True, help="List, show and copy layer recipes.")


@app.command("list", cls=Command)
def list_() -> None:
    """List the recipes and where they come from."""
    from ocicaliban.app import layers

    print_lines(*layers.listed())


@app.command(cls=Command)
def show(name: str) -> None:
    """Show the parameters and steps of a recipe."""
    from ocicaliban.app import layers

    print_lines(*layers.described(name))


@app.command(cls=Command)
def eject(name: str) -> None:
    """Copy a recipe into the project, to edit it.

    The copy is in the project's folder layers/, and is used in place of the built-in one.
    """
    from ocicaliban.app import layers

    print_lines(str(layers.eject(name)))
