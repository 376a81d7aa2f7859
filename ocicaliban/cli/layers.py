"""The commands layers list, show and eject."""

from __future__ import annotations

import typer

from ocicaliban.cli.output import print_lines

app = typer.Typer(no_args_is_help=True, help="List, show and copy the recipes for the layers of an image.")


@app.command("list")
def list_() -> None:
    """List the recipes and where they come from."""
    from ocicaliban.app import layers

    print_lines(*layers.listed())


@app.command()
def show(name: str) -> None:
    """Show what a recipe is for, which parameters it takes and what it does."""
    from ocicaliban.app import layers

    print_lines(*layers.described(name))


@app.command()
def eject(name: str) -> None:
    """Copy a recipe into the project's layers/ folder, where you can edit it."""
    from ocicaliban.app import layers

    print_lines(str(layers.eject(name)))
