"""The command run. What it works with is imported where it runs: completion and help need none."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.image import state
from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, ImageId, Module, Mount, NoCache, PodmanArgs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocicaliban.cli.start import Ready
    from ocicaliban.session import Planned


def run(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build and run.")] = "run",
    image_id: ImageId = "",
    podman_args: PodmanArgs = "",
    mount: Mount = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    cloud_key: CloudKey = "",
    debug: Debug = False,
) -> None:
    """Build what is missing of the image and run MODULE in it; arguments after -- go to the script."""
    from ocicaliban import podman
    from ocicaliban.cli import start
    from ocicaliban.errors import UsageError

    if not module and not image_id and mode == "run":
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run train.py -- --lr 0.1")
    asked = start.Asked(
        mode=mode,
        module=module,
        image_id=image_id,
        podman_args=podman_args,
        mount=mount,
        dry_run=dry_run,
        no_cache=no_cache,
        gpu_wanted=gpu_wanted,
        gpus=gpus,
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        cloud_key=cloud_key,
    )
    ready = start.ready(asked)
    args = context.obj.script
    if not (image_id or args or _starts(ready.planned)):
        hint = 'add "command" to its list' if module else "give a MODULE, or words to run after --"
        raise UsageError(f"the mode '{mode}' has nothing to start", hint)
    entrypoint = podman.entry_command(Path.cwd(), module) if image_id else ()
    if dry_run:
        print("\n".join(_dry_run(ready, args, entrypoint)))
        return
    image = ready.image()
    command = ready.command(image, args, entrypoint=entrypoint)
    start.say(ready.said)
    raise typer.Exit(podman.run(command.argv, command.name, lambda: ready.keep(context.obj.argv, image, command)))


# What images for others to build upon have as their command.
_BARE = {"sh", "bash", "dash", "python", "python3"}


def _starts(planned: Planned) -> bool:
    """Whether a container of the plan would start anything but a bare shell."""
    from ocicaliban import base as bases
    from ocicaliban import store
    from ocicaliban.model import Configure

    steps = [step for layer in planned.plan.layers for step in layer.steps]
    if planned.plan.launch.command or any(isinstance(step, Configure) and step.entrypoint for step in steps):
        return True
    base = bases.present(planned.plan.base)
    if base is None:
        return True  # nobody knows yet: a dry run
    config = store.config(base).get("config") or {}
    words = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    return len(words) > 1 or (len(words) == 1 and os.path.basename(words[0]) not in _BARE)


def _dry_run(ready: Ready, args: tuple[str, ...], entrypoint: tuple[str, ...]) -> Iterator[str]:
    """The lines of a script that does what `run` would do."""
    from ocicaliban import proc, render
    from ocicaliban.model import Image

    asked = ready.asked
    for line in render.lines(ready.planned.plan, *state(ready.planned)):
        yield f"# {line}"
    if asked.image_id:
        image = Image(id=asked.image_id, digest="", key="")
    else:
        words = ["ocicaliban", "build", "--mode", asked.mode]
        words += ["--gpus", ",".join(device.qualified for device in ready.devices)] if ready.devices else ["--nogpu"]
        words += [word for extra in asked.extras for word in ("--extras", extra)]
        words += [word for folder in asked.dirs for word in ("--dir", folder)]
        words += [flag for flag, wanted in (("--mount", asked.mount), ("--no-cache", asked.no_cache)) if wanted]
        words += [asked.module] if asked.module else []
        # A failing build in podman's own words would leave it without an image there.
        yield f"image=$({shlex.join(words)}) || exit"
        image = Image(id='"$image"', digest="", key="")
    command = ready.command(image, args, entrypoint=entrypoint)
    yield from command.script.splitlines()
    raw = {*command.options[1:], *(() if asked.image_id else (image.id,))}
    yield " ".join(word if word in raw else shlex.quote(word) for word in proc.in_cgroup2(command.argv))
