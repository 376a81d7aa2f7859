"""The commands build, run and plan. What they work with is imported where they run: completion and help need none."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, Module, Mount, NoCache

if TYPE_CHECKING:
    from ocicaliban import gpu
    from ocicaliban.model import Image
    from ocicaliban.session import Planned


# The grammar of a reference in the OCI distribution spec, with a port and without a digest.
_TAG = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _require_user() -> None:
    if os.geteuid() == 0:
        _say("note: running as root; ocicaliban is made for an ordinary user, and needs no root")


def _built(planned: Planned, no_cache: bool) -> Image:
    from ocicaliban import builder

    return builder.build(planned.plan, planned.inputs, say=_say, cache=not no_cache)


def _record(planned: Planned) -> None:
    from ocicaliban import record

    record.save(planned.project.root, planned.plan, planned.trees)


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
    from ocicaliban.errors import UsageError

    _require_user()
    if tag and not _TAG.fullmatch(tag):
        raise UsageError(f"'{tag}' is no name for an image", "lower case, as in digits:v1 or ghcr.io/me/digits:v1")
    if cloud_key:
        _say("note: no credential enters an image; give --cloud-key to `ocicaliban run`")
    planned = session.read(
        Path.cwd(),
        mode,
        module,
        gpus=session.choose_gpus(gpu_wanted, gpus, _say),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        mount=mount,
        fresh=no_cache,
        say=_say,
    )
    image = _built(planned, no_cache)
    _record(planned)
    if tag:
        proc.run(("buildah", "tag", image.id, tag))
    print(json.dumps({"id": image.id, "digest": image.digest, "key": planned.plan.key}) if as_json else image.id)


def run(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build and run.")] = "run",
    image_id: Annotated[str, typer.Option("--image-id", help="Run this image; build nothing.")] = "",
    podman_args: Annotated[
        str, typer.Option("--podman-args", "--docker-run-args", help="More arguments for `podman run`.")
    ] = "",
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
    from ocicaliban import hot, podman, proc, render, session, store
    from ocicaliban.errors import UsageError
    from ocicaliban.model import Image

    if not module and not image_id and mode == "run":
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run train.py -- --lr 0.1")
    given = (*_cloud_key(cloud_key), *podman.words(podman_args))
    if image_id and not proc.ok(("podman", "image", "exists", image_id)):
        raise UsageError(f"there is no image '{image_id}'", "`podman images` lists them; `ocicaliban build` makes one")
    if not dry_run:
        _require_user()
    with hot.recording() as found:
        devices = session.choose_gpus(gpu_wanted, gpus, _say)
        planned = session.read(
            Path.cwd(),
            mode,
            module,
            gpus=devices,
            extras=tuple(extras or ()),
            dirs=tuple(dirs or ()),
            mount=mount,
            resolve=not dry_run and not image_id,
            fresh=no_cache,
            say=_say,
        )
    if devices and not planned.plan.launch.devices:
        if gpu_wanted or gpus:
            raise UsageError(f"the mode '{mode}' has no recipe that brings the GPU", "add \"cuda\" to its list")
        devices = ()
    if not (image_id or context.obj.script or _starts(planned)):
        hint = 'add "command" to its list' if module else "give a MODULE, or words to run after --"
        raise UsageError(f"the mode '{mode}' has nothing to start", hint)
    if dry_run:
        for line in render.lines(planned.plan, *_state(planned)):
            print(f"# {line}")
    making = ""
    if image_id:
        image = Image(id=image_id, digest="", key="")
    elif dry_run:
        words = ["ocicaliban", "build", "--mode", mode]
        words += ["--gpus", ",".join(device.qualified for device in devices)] if devices else ["--nogpu"]
        words += [word for extra in extras or () for word in ("--extras", extra)]
        words += [word for folder in dirs or () for word in ("--dir", folder)]
        words += [flag for flag, wanted in (("--mount", mount), ("--no-cache", no_cache)) if wanted]
        # A failing build would leave podman without an image in the middle of its words.
        making = f"image=$({shlex.join([*words, *([module] if module else [])])}) || exit\n"
        image = Image(id='"$image"', digest="", key="")
    else:
        image = _built(planned, no_cache)
    where = f"running on {'the GPU: ' + ', '.join(d.qualified for d in devices) if devices else 'the CPU'}"
    name = podman.container_name(given)
    options, extra, script = _gpu_arguments(devices, dry_run)
    argv = podman.run_argv(
        image,
        planned.plan.launch,
        context.obj.script,
        name=name,
        terminal=podman.terminal(),
        extra=(*extra, *given),
        entrypoint=podman.entry_command(Path.cwd(), module) if image_id else (),
    )
    argv = (argv[0], *options, *argv[1:])
    if dry_run:
        print(script + making, end="")
        raw = {*options[1:], *(() if image_id else (image.id,))}
        print(" ".join(word if word in raw else shlex.quote(word) for word in proc.in_cgroup2(argv)))
        return
    _say(where)

    def meanwhile() -> None:
        if image_id:
            return
        _record(planned)
        if no_cache or podman_args or cloud_key:
            return
        hot.remember(
            context.obj.argv,
            found,
            read=(*map(str, (*planned.looked_for, *store.settings_files())), proc.tool("podman"), *options[1:]),
            entries=planned.paths(),
            said=where,
            image=image.id,
            index=store.index_file(),
            command=argv,
        )

    raise typer.Exit(podman.run(argv, name, meanwhile))


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


def _cloud_key(path: str) -> tuple[str, ...]:
    """podman's options that let the container, and no image, have the key file."""
    from ocicaliban import podman
    from ocicaliban.errors import UsageError

    if not path:
        return ()
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UsageError(f"--cloud-key: there is no file {file}", "give the path of a service account's JSON key")
    inside = "/run/secrets/cloud-key.json"
    return *podman.bind(f"{file}:{inside}:ro"), "--env", f"GOOGLE_APPLICATION_CREDENTIALS={inside}"


def _gpu_arguments(devices: tuple[gpu.Device, ...], dry_run: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """podman's global options, run's options, and for a dry run the lines of shell that come before them."""
    from ocicaliban import gpu, paths, proc

    if not devices:
        return (), (), ""
    words = proc.run(("podman", "--version")).split()
    version = tuple(int(part) for part in words[-1].split(".")[:3] if part.isdigit())
    options, hooks = gpu.arguments(devices, version)
    if not hooks:
        return (), options, ""
    if dry_run:
        return ("--hooks-dir", '"$hooks"'), options, gpu.hooks_script(hooks)
    return ("--hooks-dir", str(gpu.write_hooks(hooks, paths.cache() / "hooks"))), options, ""


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
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    debug: Debug = False,
) -> None:
    """Show the stack of layers and which of them are there."""
    from ocicaliban import base as bases
    from ocicaliban import render, session, snapshot
    from ocicaliban.errors import UsageError

    if as_json and containerfile:
        raise UsageError("--json and --containerfile exclude each other")
    planned = session.read(
        Path.cwd(),
        mode,
        module,
        gpus=session.choose_gpus(gpu_wanted, gpus, _say),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        resolve=False,
    )
    if containerfile:
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
