"""The commands build, run and plan. What they work with is imported where they run: completion and help need none."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, ImageId, Module, Mount, NoCache, PodmanArgs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocicaliban.cli.start import Ready
    from ocicaliban.session import Planned


# The grammar of a reference in the OCI distribution spec, with a port and without a digest.
_TAG = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?")


def build(
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build.")] = "build",
    tag: Annotated[str, typer.Option("--tag", "-t", help="A name for the image.")] = "",
    no_cache: NoCache = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print id, digest and key as JSON.")] = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    mount: Mount = False,
    cloud_key: CloudKey = "",
    debug: Debug = False,
) -> None:
    """Build the project's image and print its id."""
    from ocicaliban import proc, session
    from ocicaliban.cli import start
    from ocicaliban.errors import UsageError

    start.require_user()
    if tag and not _TAG.fullmatch(tag):
        raise UsageError(f"'{tag}' is no name for an image", "lower case, as in digits:v1 or ghcr.io/me/digits:v1")
    if cloud_key:
        start.say("note: no credential enters an image; give --cloud-key to `ocicaliban run`")
    planned = session.read(
        Path.cwd(),
        mode,
        module,
        gpus=session.choose_gpus(gpu_wanted, gpus, start.say),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        mount=mount,
        fresh=no_cache,
        say=start.say,
    )
    image = start.built(planned, no_cache)
    start.record_built(planned)
    if tag:
        proc.run(("buildah", "tag", image.id, tag))
    print(json.dumps({"id": image.id, "digest": image.digest, "key": planned.plan.key}) if as_json else image.id)


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
    for line in render.lines(ready.planned.plan, *_state(ready.planned)):
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


def _state(planned: Planned) -> tuple[dict[str, int], dict[str, str]]:
    """Of each layer that the store has its bytes, by key; of the others why they are missing, by name."""
    from ocicaliban import base as bases
    from ocicaliban import record, store

    known, sizes = store.images(), store.image_sizes()
    base = bases.present(planned.plan.base)
    below = sizes.get(base.id, 0) if base else 0
    there = {planned.plan.base_key: below} if base else {}
    for layer in planned.plan.layers:
        if image := store.find(layer.name, layer.key, known):
            whole = sizes.get(image.id, below)
            there[layer.key], below = whole - below, whole
    before = record.load(planned.project.root, planned.plan.mode)
    return there, record.reasons(planned.plan, planned.trees, before)


def plan(
    mode: Annotated[str, typer.Argument(help="build, run, shell, notebook, cloud, or one of the project's")],
    module: Module = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    containerfile: Annotated[bool, typer.Option("--containerfile", help="As a plain Containerfile.")] = False,
    diff: Annotated[str, typer.Option("--diff", metavar="MODE", help="What differs from this mode instead.")] = "",
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    debug: Debug = False,
) -> None:
    """Show the stack of layers and which of them are there."""
    from ocicaliban import base as bases
    from ocicaliban import render, session, snapshot
    from ocicaliban.cli import start
    from ocicaliban.errors import UsageError

    if as_json + containerfile + bool(diff) > 1:
        raise UsageError("--json, --containerfile and --diff exclude each other")
    read = functools.partial(
        session.read,
        Path.cwd(),
        gpus=session.choose_gpus(gpu_wanted, gpus, start.say),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        resolve=False,
    )
    planned = read(mode, module)
    if diff:
        other = read(diff)
        mounting = [each.plan.mode for each in (other, planned) if each.mounts_project]
        left_out = session.left_out(planned.project, tuple(dirs or ())) if len(mounting) == 1 else ()
        missed, always = ([path for path in left_out if snapshot.is_built_in(path) is known] for known in (False, True))
        print("\n".join(render.difference(other.plan, planned.plan, missed, always, mounts="".join(mounting[:1]))))
    elif containerfile:
        root = Path.cwd()
        sources = {
            digest: render.Source(
                folder=os.path.relpath(tree.root, root),
                tree=tree,
                # Not the project itself, which the Containerfile comes into.
                whole=snapshot.whole_folders(tree) - ({""} if tree.root == root else set()),
            )
            for digest, tree in planned.trees.items()
        }
        local = bases.present(planned.plan.base) if planned.plan.base.kind != "registry" else None
        name = local.names[0] if local and local.names else ""
        print(render.containerfile(planned.plan, sources, name), end="")
    elif as_json:
        print(json.dumps(render.as_json(planned.plan, *_state(planned)), indent=2))
    else:
        print("\n".join(render.lines(planned.plan, *_state(planned))))
