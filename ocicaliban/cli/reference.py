"""All commands at once, for `typer ocicaliban.cli.reference utils docs`, which writes their reference."""

from ocicaliban.cli.app import application

app = application()
