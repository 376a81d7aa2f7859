"""What all commands have in common: the form of their help and of their errors, and --quiet."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from ocicaliban import reporter
from ocicaliban.errors import UsageError

# typer has its own copy of click since 0.26; this finds the class of either.
_TyperUsageError: Any = typer.BadParameter.__mro__[1]

_WORDS = (
    (r" is not a valid int( range)?$", " is not a whole number"),
    (r" is not a valid float( range)?$", " is not a number"),
    (r"^Got unexpected extra arguments?(\(s\))? \((.*)\)$", r"unexpected argument: \2"),
)


_PANELS = {
    "Build": (
        *("mode", "image_id", "image_tag", "mount", "no_cache", "extras", "with_groups", "dirs", "allow_secrets"),
        *("repository", "tls_verify", "tag", "compression"),
    ),
    "GPU": ("gpu_wanted", "gpus", "share_gpus", "gpus_per_job", "gpu_spec", "nogpu", "tpu_spec"),
    "Sweep and jobs": (
        *("experiment_config", "sweep_format", "group", "jobs", "fail_fast", "retries", "out", "watch"),
        *("output_dir", "label", "name", "force", "yes", "max_restarts", "timeout", "replicas"),
    ),
    "Search": ("search", "trials", "goal", "prune"),
    "Container": (
        *("env", "env_file", "volume", "publish", "shm_size", "workdir", "cpus", "memory", "podman_args", "cloud_key"),
        *("bare", "shell"),
    ),
    "Machines": ("project_id", "region", "machine_type", "service_account", "network", "boot_disk", "spot"),
    "Slurm": (
        *("target", "partition", "account", "qos", "time", "nodes", "gres", "constraint", "slurm_args", "runtime"),
        *("grace", "wait"),
    ),
}
"""The names of the parameters in each panel; the rest is in a panel that is just called Options."""

_REST = "Options"
_FEWEST = 15
"""Options of a command that need no panels."""


def sections(params: Iterable[Any], ctx: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the sections of a command's help: their titles, and lines of two words each."""
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, tuple[str, str]]] = []
    for param in params:
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if param.param_type_name == "argument":
            arguments.append(record)
        else:
            options.append((param.name or "", record))
    found = {title: [line for name, line in options if name in names] for title, names in _PANELS.items()}
    placed = {name for names in _PANELS.values() for name in names}
    rest = [line for name, line in options if name not in placed]
    if len(options) <= _FEWEST:
        found, rest = {}, [line for _, line in options]
    titled = [(title, lines) for title, lines in found.items() if lines]
    return [each for each in (("Arguments", arguments), *titled, (_REST, rest)) if each[1]]


def _be_quiet(_: Any, __: Any, wanted: bool) -> None:
    reporter.be_quiet(wanted)


_QUIET = TyperOption(
    param_decls=["-q", "--quiet"],
    is_flag=True,
    default=False,
    is_eager=True,
    expose_value=False,
    callback=_be_quiet,
    help="Print no notes and no progress, only the result, warnings and errors.",
)


class Command(TyperCommand):
    """A command, with --quiet, and with its options in panels."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters: the command's own, --quiet and --help."""
        *own, last = super().get_params(ctx)
        return [*own, _QUIET, last]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options, in their panels."""
        for title, lines in sections(self.get_params(ctx), ctx):
            with formatter.section(title):
                formatter.write_dl(lines)


class CommandGroup(TyperGroup):
    """The group of all commands. It raises our UsageError where typer would print its own, with the usage."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the options before the command. Raises UsageError."""
        with _our_words():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest of the command line and run the command. Raises UsageError."""
        with _our_words():
            return super().invoke(ctx)


@contextlib.contextmanager
def _our_words() -> Iterator[None]:
    """Raise our error for one of typer, except for the help that a command prints if it gets no words."""
    try:
        yield
    except _TyperUsageError as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":
            raise
        raise _translated(exc) from exc


def _translated(exc: Any) -> UsageError:
    path = exc.ctx.command_path if exc.ctx else "ocicaliban"
    hint = f"{path} --help"
    if type(exc).__name__ == "NoSuchOption":
        message = f"no such option: {exc.option_name}"
        if exc.possibilities:
            hint = f"did you mean '{exc.possibilities[0]}'?"
        return UsageError(message, hint)
    message, _, more = str(exc.format_message()).partition(". ")
    message = message.rstrip(".")
    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    if more.startswith("Did you mean"):
        hint = more[0].lower() + more[1:]
    return UsageError(message[0].lower() + message[1:], hint)
