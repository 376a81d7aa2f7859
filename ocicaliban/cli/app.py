"""The command line: gathers the groups of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban import __version__
from ocicaliban.cli import dev, image, layers
from ocicaliban.cli.clean import clean
from ocicaliban.cli.doctor import doctor
from ocicaliban.cli.experiment import expand
from ocicaliban.cli.jobs import logs, resubmit, resume, status, stop
from ocicaliban.cli.notebook import notebook
from ocicaliban.cli.options import Given, Scripted
from ocicaliban.cli.push import push
from ocicaliban.cli.run import run
from ocicaliban.cli.shell import shell
from ocicaliban.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Caliban writes its options with underscores.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ocicaliban {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an error comes from.")] = False,
) -> None:
    """Build a research project's container image from layer recipes, without a daemon or root, and run it."""
    if isinstance(context.obj, Given) and context.obj.script and context.invoked_subcommand not in _START_SCRIPTS:
        raise UsageError(f"{context.invoked_subcommand} starts no script", "leave -- and what comes after it away")


_START_SCRIPTS = ("run", "shell")

app.command()(image.build)
app.command(cls=Scripted)(run)
app.command(cls=Scripted)(shell)
app.command()(notebook)
app.command()(push)
app.command()(image.plan)
app.command()(expand)
app.command()(status)
app.command()(logs)
app.command()(stop)
app.command()(resume)
app.command()(resubmit)
app.add_typer(layers.app, name="layers")
app.command()(clean)
app.add_typer(dev.app, name="dev")
app.command()(doctor)
