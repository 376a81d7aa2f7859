"""The options and arguments that several commands share."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from ocicaliban.errors import UsageError, nearest

Module = Annotated[
    str, typer.Argument(metavar="MODULE", help="trainer.train, trainer/train.py or another executable file")
]
Gpu = Annotated[bool | None, typer.Option("--gpu/--nogpu", help="Use the GPU (default: if there is one).")]
Gpus = Annotated[str | None, typer.Option("--gpus", help="Which: 0,1 or all or a UUID.")]
Extras = Annotated[list[str] | None, typer.Option("-e", "--extras", help="An extra of the project; may be repeated.")]
Dirs = Annotated[list[str] | None, typer.Option("-d", "--dir", help="A folder of data, in a layer of its own.")]
ImageId = Annotated[str, typer.Option("--image-id", help="Run this image; build nothing.")]
PodmanArgs = Annotated[str, typer.Option("--podman-args", "--docker-run-args", help="More arguments for `podman run`.")]
Mount = Annotated[bool, typer.Option("--mount", help="Mount the project instead of copying it.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Make every layer anew, and a base that no lock pins.")]
CloudKey = Annotated[
    str, typer.Option("--cloud-key", help="A service account's key file, which the container sees; no image holds it.")
]
TlsVerify = Annotated[
    str, typer.Option("--tls-verify", metavar="true|false", help="false: without TLS, or with any certificate.")
]
Debug = Annotated[bool, typer.Option("--debug", hidden=True)]


def truth(option: str, value: str) -> bool:
    """The value of an option that is written as podman does: --tls-verify=false. Raises UsageError."""
    if value not in ("true", "false"):
        raise UsageError(f"{option}: '{value}' is neither true nor false", f"{option}=false")
    return value == "true"


class Given(NamedTuple):
    """The whole command line, and of it the script's part, after `--`, which no option of ours is looked for in."""

    argv: list[str]
    script: tuple[str, ...]


class Scripted(TyperCommand):
    """A command that starts a script: what is not ours probably was meant for that one, and is told so."""

    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command's. Raises UsageError for words that belong behind `--`."""
        whole = list(args)  # the parser takes words away from its own
        try:
            rest = super().parse_args(ctx, args)
        except Exception as exc:
            # typer has its own copy of click since 0.26, so that the class has two names.
            if type(exc).__name__ != "NoSuchOption":
                raise
            option = str(exc.option_name)  # type: ignore[attr-defined]
            dashed = [word.replace("_", "-") for word in whole]  # Caliban's underscores, which the parser has changed
            first = next((n for n, word in enumerate(dashed) if word.startswith(option.replace("_", "-"))), 0)
            module = self._module(ctx, whole[:first])
            ours = [name for param in self.params for name in param.opts if name.startswith("--")]
            # Whoever knows the beginning of an option means that one, and not one that is only written alike.
            close = nearest(option, [name for name in ours if name.startswith(option)] or ours)
            if not module:
                raise UsageError(f"no such option: {option}", close) from exc
            meant = f" ({close})" if close.startswith("did") else ""
            raise UsageError(f"no such option: {option}{meant}", _behind(ctx, module, whole[first:])) from exc
        if ctx.args and not ctx.resilient_parsing:
            module = str(ctx.params.get("module") or "")
            raise UsageError(f"one word too many: {ctx.args[0]}", _behind(ctx, module, ctx.args))
        return rest

    def _module(self, ctx: Any, args: list[str]) -> str:
        """The MODULE among words that are known."""
        with self.make_context(ctx.info_name, args, parent=ctx.parent, resilient_parsing=True) as before:
            return str(before.params.get("module") or "")


def _behind(ctx: Any, module: str, words: list[str]) -> str:
    command = shlex.join([*ctx.command_path.split(), *([module] if module else [])])
    return f"the script's arguments go after --: {command} -- {shlex.join(words)}"
