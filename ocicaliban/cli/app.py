"""The command line: gathers the groups of commands."""

from __future__ import annotations

import typer

from ocicaliban.cli import image, layers
from ocicaliban.cli.clean import clean
from ocicaliban.cli.doctor import doctor

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Caliban writes its options with underscores.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)
app.command()(image.build)
app.command(context_settings={"allow_extra_args": True})(image.run)
app.command()(image.plan)
app.add_typer(layers.app, name="layers")
app.command()(clean)
app.command()(doctor)
