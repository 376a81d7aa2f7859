"""The commands layers list, show and eject."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.output import print_json, print_lines
from ocicaliban.cli.usage import Command

Recipe = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.recipes, help="The recipe's name.")]

app = typer.Typer(no_args_is_help=True, help="List, show and copy layer recipes.")


@app.command("list", cls=Command)
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the recipes and where they come from."""
    from ocicaliban.app import layers
    from ocicaliban.jobs import status_table

    rows = layers.listed()
    if as_json:
        print_json([dict(zip(("name", "origin", "summary"), row, strict=True)) for row in rows], indent=2)
    else:
        print_lines(*status_table.aligned(rows))


@app.command(cls=Command)
def show(name: Recipe) -> None:
    """Show the parameters and steps of a recipe."""
    from ocicaliban.app import layers

    print_lines(*layers.described(name))


@app.command(cls=Command)
def eject(name: Recipe) -> None:
    """Copy a recipe into the project, to edit it.

    The copy is in the project's folder layers/, and is used in place of the built-in one.
    """
    from ocicaliban.app import layers

    print_lines(str(layers.eject(name)))
