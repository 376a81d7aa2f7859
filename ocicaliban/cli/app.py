"""The command line: which commands there are, and where."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from ocicaliban import __version__
from ocicaliban.cli.options import CommandLine, ModuleCommand, ScriptCommand
from ocicaliban.cli.usage import CommandGroup
from ocicaliban.errors import UsageError

# In the order of --help: the module below ocicaliban.cli that has a function with the command's name.
_COMMANDS = {
    "init": "init",
    "build": "image",
    "run": "run",
    "shell": "shell",
    "cloud": "cloud",
    "push": "push",
    "notebook": "notebook",
    "plan": "image",
    "lock": "lock",
    "expand": "experiment",
    "status": "jobs",
    "logs": "jobs",
    "get": "jobs",
    "stop": "jobs",
    "resume": "jobs",
    "resubmit": "jobs",
    "report": "report",
    "publish": "publish",
    "reproduce": "publish",
    "inspect": "publish",
    "list": "publish",
    "layers": "layers",
    "allow": "allow",
    "clean": "clean",
    "dev": "dev",
    "doctor": "doctor",
}
_FUNCTIONS = {"list": "list_"}
"""The functions of commands whose names Python has already."""
_START_SCRIPTS = ("run", "shell", "cloud")
_GROUPS = ("layers", "dev")


def application(first: str = "") -> typer.Typer:
    """Return the application, with one command only if `first`, the first word of the command line, is a command.

    typer looks at every option of every command that it has before it runs one, which takes a while.
    """
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={
            "help_option_names": ["-h", "--help"],
            # Caliban writes its options with underscores.
            "token_normalize_func": lambda token: token.replace("_", "-"),
        },
    )
    app.callback()(main)
    for name, module in _COMMANDS.items():
        if first in _COMMANDS and name != first:
            continue
        found = importlib.import_module(f"ocicaliban.cli.{module}")
        if name in _GROUPS:
            app.add_typer(found.app, name=name)
        else:
            command = getattr(found, _FUNCTIONS.get(name, name))
            app.command(name, cls=ScriptCommand if name in _START_SCRIPTS else ModuleCommand)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ocicaliban {__version__}")
        raise typer.Exit


def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an error comes from.")] = False,
) -> None:
    """Build a research project's container image from layer recipes, without a daemon or root, and run it."""
    given = context.obj
    if isinstance(given, CommandLine) and given.script and context.invoked_subcommand not in _START_SCRIPTS:
        raise UsageError(f"{context.invoked_subcommand} runs no script", "leave out -- and what comes after it")
