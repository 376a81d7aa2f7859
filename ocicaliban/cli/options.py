"""The options and arguments that several commands share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.usage import Command
from ocicaliban.errors import UsageError, nearest


def _names_of_extras(context: typer.Context, given: list[str] | None) -> list[str] | None:
    """Return the extras as they are. Raises UsageError for one that is a variable, which -e means to podman."""
    for name in given or ():
        if "=" in name:
            raise UsageError(f"-e {shlex.quote(name)}: -e names an extra of the project", _variable_hint(context, name))
    return given


def _folders_of_data(context: typer.Context, given: list[str] | None) -> list[str] | None:
    """Return the folders as they are. Raises UsageError for a script: to podman, -d means the background."""
    for name in given or ():
        if name.endswith((".py", ".ipynb", ".sh")) and not os.path.isdir(name):
            command = f"{context.command_path} {shlex.quote(name)}"
            hint = f"leave -d out: {command}; in the background: nohup {command} &"
            raise UsageError(f"-d {name}: -d names a folder of data, and this is a script", hint)
    return given


def _variable_hint(context: typer.Context, given: str) -> str:
    """Return how to give a container the variable `given` ("NAME=VALUE")."""
    command = context.command
    option = f"--env {shlex.quote(given)}"
    if any(param.name == "env" for param in command.params):
        return f"for a variable in the container: {option}"
    if command.name == "cloud":
        return "give the script an argument after --; the jobs get no variables of yours"
    return f"an image has no variables of yours; set them when it runs: ocicaliban run {option} MODULE"


Module = Annotated[
    str,
    typer.Argument(
        metavar="MODULE",
        autocompletion=completion.scripts,
        help="trainer.train (or -m trainer.train), trainer/train.py, study.ipynb or another executable file",
    ),
]
Gpu = Annotated[bool | None, typer.Option("--gpu/--nogpu", help="Use the GPU (default: if there is one).")]
Gpus = Annotated[str | None, typer.Option("--gpus", help="The GPUs to use: 0,1, all or a UUID.")]
GpusPerJob = Annotated[
    int | None, typer.Option("--gpus-per-job", help="The number of GPUs for each job; jobs share none.")
]
ShareGpus = Annotated[
    bool,
    typer.Option("--share-gpus", help="Use GPUs that others use already, and let others use yours."),
]
Target = Annotated[str, typer.Option("--target", help="Where it runs: local (this machine) or slurm (a node).")]
Partition = Annotated[str, typer.Option("--partition", help="Slurm: the partition.")]
Account = Annotated[str, typer.Option("--account", help="Slurm: the account.")]
TimeLimit = Annotated[str, typer.Option("--time", help="Slurm: the time limit: 1h30m, 90 (minutes).")]
Gres = Annotated[str, typer.Option("--gres", help="Slurm: generic resources, such as gpu:a100:2.")]
SlurmArgs = Annotated[str, typer.Option("--slurm-args", help="Slurm: more options for srun, in one text.")]
Runtime = Annotated[str, typer.Option("--runtime", help="Slurm: podman or apptainer (default: what the node has).")]
Extras = Annotated[
    list[str] | None,
    typer.Option("-e", "--extras", callback=_names_of_extras, help="An extra of the project; may be repeated."),
]
WithGroups = Annotated[
    list[str] | None,
    typer.Option("--with-group", metavar="NAME", help="A dependency group of the project; may be repeated."),
]
Dirs = Annotated[
    list[str] | None,
    typer.Option("-d", "--dir", callback=_folders_of_data, help="A folder of data to put into its own layer."),
]
AllowSecrets = Annotated[
    list[str] | None,
    typer.Option("--allow-secret", metavar="FILE", help="A file that may contain a credential; may be repeated."),
]
ImageId = Annotated[str, typer.Option("--image-id", help="Run this image; build nothing.")]
PodmanArgs = Annotated[
    str, typer.Option("--podman-args", "--docker-run-args", help="Additional options for `podman run`.")
]
Mount = Annotated[bool, typer.Option("--mount", help="Mount the project instead of copying it.")]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Build every layer again, and fetch the base image again if it is not locked."),
]
CloudKey = Annotated[
    str, typer.Option("--cloud-key", help="A service account's key file for the container; no image contains it.")
]
TlsVerify = Annotated[
    str, typer.Option("--tls-verify", metavar="true|false", help="With false, use no TLS, or accept any certificate.")
]
SweepFormat = Annotated[
    str,
    typer.Option(
        "--sweep-format",
        metavar="flags|hydra",
        help="How a sweep's parameters reach the script: --lr 0.1 (flags) or lr=0.1 (hydra).",
    ),
]
NewGroup = Annotated[
    str,
    typer.Option(
        *("-g", "--group", "--xgroup"),
        autocompletion=completion.groups,
        help="The group of the jobs (default: a new one).",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", hidden=True)]

T = TypeVar("T")


def request(kind: type[T], given: Mapping[str, object], **more: object) -> T:
    """Return a request of this type, with its fields taken from a command's parameters (`locals()`) by name.

    `more` takes precedence. A list becomes a tuple. A field that the command has no parameter for keeps its default.
    """
    import attrs  # completion and --help do without

    values: dict[str, object] = {}
    for field in attrs.fields(kind):  # type: ignore[arg-type]
        name = field.name
        if name in more or name in given:
            value = more.get(name, given.get(name))
            if isinstance(value, list) or (value is None and field.default == ()):
                value = tuple(value or ())
            values[name] = value
    return kind(**values)


def alone(option: str, others: Mapping[str, object]) -> None:
    """Raise UsageError if one of the `others` is given together with `option`, "" if that is not given itself."""
    for other, value in others.items():
        if option and value:
            raise UsageError(f"{option} and {other} exclude each other", "leave one of them out")


def truth(option: str, value: str) -> bool:
    """Return the value of an option that has podman's form, as --tls-verify=false. Raises UsageError."""
    if value not in ("true", "false"):
        raise UsageError(f"{option} '{value}' is neither true nor false", f"{option}=false")
    return value == "true"


_SHORT = 5
"""The length of the shortest option that one may take for a misspelt option of ours: --lr is not meant to be --dir."""


class CommandLine(NamedTuple):
    """The whole command line, and the script's part of it after `--`, in which we look for no options of ours."""

    argv: list[str]
    script: tuple[str, ...]


class ModuleCommand(Command):
    """A command that may have a MODULE, which can be given as to Python: `-m MODULE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        if any(param.name == "module" for param in self.params):
            args = self._without_m(args)
        return super().parse_args(ctx, args)

    def _without_m(self, args: list[str]) -> list[str]:
        """Return the words without -m. The word after an option that takes a value is a value."""
        takes_value = {name for param in self.params if not getattr(param, "is_flag", False) for name in param.opts}
        words: list[str] = []
        for number, word in enumerate(args):
            value = number and args[number - 1].replace("_", "-") in takes_value
            if value or not word.startswith("-m"):
                words.append(word)
            elif len(word) > 2:
                words.append(word[2:])
        return words


class ScriptCommand(ModuleCommand):
    """A command that runs a script. It tells a user who gives the script's options before `--`."""

    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises UsageError for words that belong after `--`."""
        whole = list(args)  # the parser takes words away from its own list
        try:
            rest = super().parse_args(ctx, args)
        except Exception as exc:
            # typer has its own copy of click since 0.26, so the class has two names.
            if type(exc).__name__ != "NoSuchOption":
                raise
            option = str(exc.option_name)  # type: ignore[attr-defined]
            dashed = [word.replace("_", "-") for word in whole]  # the parser has changed Caliban's underscores
            first = next((n for n, word in enumerate(dashed) if word.startswith(option.replace("_", "-"))), 0)
            module = self._module(ctx, whole[:first])
            ours = [name for param in self.params for name in param.opts if name.startswith("--")]
            # A user who knows how an option begins means that one, not one that is only spelled alike.
            close = nearest(option, [name for name in ours if name.startswith(option)] or ours)
            if not close.startswith("did") or len(option) < _SHORT:
                close = ""
            if not module:
                other = f"{_what_goes(ctx)} after --; `{ctx.command_path} --help` lists the options before it"
                raise UsageError(f"no such option: {option}", close or other) from exc
            meant = f" ({close})" if close else ""
            raise UsageError(f"no such option: {option}{meant}", _after_dashes(ctx, module, whole[first:])) from exc
        if ctx.args and not ctx.resilient_parsing:
            module = str(ctx.params.get("module") or "")
            raise UsageError(f"one word too many: {ctx.args[0]}", _after_dashes(ctx, module, ctx.args))
        return rest

    def _module(self, ctx: Any, args: list[str]) -> str:
        """Return the MODULE among words that are valid."""
        with self.make_context(ctx.info_name, args, parent=ctx.parent, resilient_parsing=True) as before:
            return str(before.params.get("module") or "")


def _after_dashes(ctx: Any, module: str, words: list[str]) -> str:
    """Return a hint with the command line in which the words go to the script."""
    command = shlex.join([*ctx.command_path.split(), *([module] if module else [])])
    return f"{_what_goes(ctx)} after --: {command} -- {shlex.join(words)}"


def _what_goes(ctx: Any) -> str:
    takes_module = any(param.name == "module" for param in ctx.command.params)
    return "the script's arguments go" if takes_module else "the command goes"
