"""Write the man page from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ocicaliban import __version__
from ocicaliban.cli import usage

_FILES = (
    ("ocicaliban.toml", "The settings of the project, which may be in pyproject.toml, below [tool.ocicaliban], too."),
    ("ocicaliban.lock", "The digest of the base image, and the hashes of the dependencies. Commit it."),
    ("layers/NAME/layer.toml", "A recipe of the project's own."),
    ("~/.config/ocicaliban/config.toml", "Your settings for all projects."),
    ("~/.local/state/ocicaliban", "The history of all jobs, with their results and logs."),
    ("~/.cache/ocicaliban", "What can be made again."),
)
_VARIABLES = (
    ("NO_COLOR", "No colours at the terminal."),
    ("OCICALIBAN_DB_URL", "Where the history of jobs is."),
    ("OCICALIBAN_STORE", "Where images are stored."),
    ("OCICALIBAN_MOUNTED=0", "Store all layers, and mount none."),
)
_CODES = (
    ("0", "Everything went well."),
    ("1", "Something failed; the message says what, and the hint what to do."),
    ("2", "The command line or a file of settings is wrong."),
    ("130", "Ctrl-C."),
    ("other", "run, shell: the exit code of the script or the command."),
)


def lines(app: Any) -> Iterator[str]:
    """Yield the lines of the man page of a typer application, in roff."""
    import typer

    group: Any = typer.main.get_command(app)
    context = group.make_context("ocicaliban", [], resilient_parsing=True)
    yield f'.TH OCICALIBAN 1 "" "ocicaliban {__version__}" "User Commands"'
    yield from (".SH NAME", f"ocicaliban \\- {_escaped((group.help or '').rstrip('.').lower())}")
    yield from (".SH SYNOPSIS", ".B ocicaliban", "[OPTIONS] COMMAND [ARGS]...")
    yield ".SH OPTIONS"
    yield from _options(group, context)
    yield ".SH COMMANDS"
    for name in group.list_commands(context):
        yield from _command(group.get_command(context, name), f"ocicaliban {name}", context)
    for title, rows in (("FILES", _FILES), ("ENVIRONMENT", _VARIABLES), ("EXIT STATUS", _CODES)):
        yield f".SH {title}"
        for word, text in rows:
            yield from (".TP", f".B {_escaped(word)}", _escaped(text))


def _command(command: Any, path: str, parent: Any) -> Iterator[str]:
    context = type(parent)(command, info_name=path.rpartition(" ")[2], parent=parent)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _command(command.get_command(context, name), f"{path} {name}", context)
        return
    words = " ".join(command.collect_usage_pieces(context))
    yield from (f".SS {_escaped(path)} {_escaped(words)}", *_paragraphs(command.help or ""))
    yield from _options(command, context)


def _options(command: Any, context: Any) -> Iterator[str]:
    for title, rows in usage.sections(command.get_params(context), context):
        if title != "Options":
            yield from (".PP", f".I {_escaped(title)}")
        for word, text in rows:
            yield from (".TP", f".B {_escaped(word)}", *([_escaped(text)] if text else []))


def _paragraphs(text: str) -> Iterator[str]:
    for number, each in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield _escaped(" ".join(each.split()))


def _escaped(text: str) -> str:
    """Return a text in which roff sees no commands of its own."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
