"""The commands build, run, plan and layers; gathers the others."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ocicaliban import base as bases
from ocicaliban import builder, catalog, gpu, podman, proc, record, render, session, snapshot, store
from ocicaliban.cli.clean import clean
from ocicaliban.cli.doctor import doctor
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model import Image, Project

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)
layers_app = typer.Typer(no_args_is_help=True, help="The recipes that images are made of.")
app.add_typer(layers_app, name="layers")
app.command()(clean)
app.command()(doctor)

Module = Annotated[str, typer.Argument(help="trainer.train, trainer/train.py or another executable file")]
Gpu = Annotated[bool | None, typer.Option("--gpu/--nogpu", help="Use the GPU (default: if there is one).")]
Gpus = Annotated[str | None, typer.Option("--gpus", help="Which: 0,1 or all or a UUID.")]
Extras = Annotated[list[str] | None, typer.Option("-e", "--extras", help="An extra of the project; may be repeated.")]
Dirs = Annotated[list[str] | None, typer.Option("-d", "--dir", help="A folder of data, in a layer of its own.")]
NoCache = Annotated[bool, typer.Option("--no-cache", "--no_cache", help="Make every layer anew.")]
Debug = Annotated[bool, typer.Option("--debug", hidden=True)]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _root() -> Path:
    return Path.cwd()


def _require_user() -> None:
    if os.geteuid() == 0:
        _say("note: running as root; ocicaliban is made for an ordinary user, and needs no root")


def _secrets(project: Project) -> dict[str, Path]:
    return {name: Path(path).expanduser() for name, path in project.secrets.items()}


def _built(planned: session.Planned, no_cache: bool) -> Image:
    secrets = _secrets(planned.project)
    made: list[str] = []

    def say(line: str) -> None:
        made.append(line)
        _say(line)

    image = builder.build(planned.plan, planned.trees, say=say, cache=not no_cache, secrets=secrets)
    if made:
        record.save(planned.project.root, planned.plan, planned.trees)
    return image


@app.command()
def build(
    module: Module = "",
    tag: Annotated[str, typer.Option("--tag", "-t", help="A name for the image.")] = "",
    no_cache: NoCache = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print id, digest and key as JSON.")] = False,
    gpu_wanted: Gpu = None,
    extras: Extras = None,
    dirs: Dirs = None,
    debug: Debug = False,
) -> None:
    """Build the project's image and print its id."""
    _require_user()
    devices = session.choose_gpus(gpu_wanted, None)
    planned = session.read(
        _root(), "build", module, gpus=devices, extras=tuple(extras or ()), dirs=tuple(dirs or ()), say=_say
    )
    image = _built(planned, no_cache)
    if tag:
        proc.run(("buildah", "tag", image.id, tag))
    print(json.dumps({"id": image.id, "digest": image.digest, "key": planned.plan.key}) if as_json else image.id)


def _gpu_arguments(devices: tuple[gpu.Device, ...], scratch: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """podman's global options and run's options for the devices."""
    if not devices:
        return (), ()
    words = proc.run(("podman", "--version")).split()
    version = tuple(int(part) for part in words[-1].split(".")[:3] if part.isdigit())
    if gpu.native(devices, podman_version=version):
        return (), tuple(word for device in devices for word in ("--device", device.qualified))
    injection = gpu.resolve(devices)
    files = gpu.hook_files(injection)
    folder = ""
    if files:
        folder = tempfile.mkdtemp(prefix="ocicaliban-hooks-")
        scratch.append(folder)
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
    args = gpu.podman_args(injection)
    return (("--hooks-dir", folder) if folder else ()), args


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def run(
    context: typer.Context,
    module: Module = "",
    image_id: Annotated[str, typer.Option("--image-id", "--image_id", help="Run this image; build nothing.")] = "",
    podman_args: Annotated[
        str, typer.Option("--podman-args", "--docker_run_args", help="More arguments for `podman run`.")
    ] = "",
    mount: Annotated[bool, typer.Option("--mount", help="Mount the project instead of copying it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Print what would be done.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    debug: Debug = False,
) -> None:
    """Build what is missing of the image and run MODULE in it; arguments after -- go to the script."""
    if not module and not image_id:
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run train.py -- --lr 0.1")
    if not dry_run:
        _require_user()
    devices = session.choose_gpus(gpu_wanted, gpus)
    planned = session.read(
        _root(),
        "run",
        module,
        gpus=devices,
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        mount=mount,
        resolve=not dry_run and not image_id,
        say=_say,
    )
    entrypoint = podman.entry_command(_root(), module) if image_id else ()
    name = podman.container_name()
    scratch: list[str] = []
    try:
        if dry_run:
            for line in render.lines(planned.plan, _there(planned), _reasons(planned)):
                print(f"# {line}")
            image = Image(id=image_id or '"$(ocicaliban build ' + shlex.quote(module) + ')"', digest="", key="")
        elif image_id:
            image = Image(id=image_id, digest="", key="")
        else:
            image = _built(planned, no_cache)
        if not dry_run:
            _say(f"running on {'the GPU: ' + ', '.join(d.qualified for d in devices) if devices else 'the CPU'}")
        options, extra = _gpu_arguments(devices, scratch)
        argv = podman.run_argv(
            image,
            planned.plan.launch,
            tuple(context.args),
            name=name,
            terminal=podman.terminal(),
            extra=(*extra, *podman.words(podman_args)),
            entrypoint=entrypoint,
        )
        argv = (argv[0], *options, *argv[1:])
        if dry_run:
            print(" ".join(word if word == image.id and not image_id else shlex.quote(word) for word in argv))
            return
        raise typer.Exit(podman.run(argv, name))
    finally:
        for folder in scratch:
            shutil.rmtree(folder, ignore_errors=True)


def _there(planned: session.Planned) -> dict[str, int]:
    """Bytes of each layer that the store has, by key: what its image holds more than the one below."""
    known, sizes = store.images(), store.image_sizes()
    base = bases.present(planned.plan.base)
    below = sizes.get(base.id, 0) if base else 0
    found = {planned.plan.base_key: below} if base else {}
    for layer in planned.plan.layers:
        if image := store.find(layer.name, layer.key, known):
            whole = sizes.get(image.id, below)
            found[layer.key], below = whole - below, whole
    return found


def _reasons(planned: session.Planned) -> dict[str, str]:
    before = record.load(planned.project.root, planned.plan.mode)
    return record.reasons(planned.plan, planned.trees, before)


@app.command()
def plan(
    mode: Annotated[str, typer.Argument(help="build, run, shell, notebook, cloud, or one of the project's")],
    module: Module = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    containerfile: Annotated[bool, typer.Option("--containerfile", help="As a plain Containerfile.")] = False,
    gpu_wanted: Gpu = None,
    extras: Extras = None,
    dirs: Dirs = None,
    debug: Debug = False,
) -> None:
    """Show the stack of layers and which of them are there."""
    devices = session.choose_gpus(gpu_wanted, None)
    if as_json and containerfile:
        raise UsageError("--json and --containerfile exclude each other")
    planned = session.read(
        _root(), mode, module, gpus=devices, extras=tuple(extras or ()), dirs=tuple(dirs or ()), resolve=False
    )
    if containerfile:
        sources = {
            digest: render.Source(
                folder=os.path.relpath(tree.root, _root()),
                tree=tree,
                # Not the project itself, which the Containerfile comes into.
                whole=snapshot.whole_folders(tree) - ({""} if tree.root == _root() else set()),
            )
            for digest, tree in planned.trees.items()
        }
        local = bases.present(planned.plan.base) if planned.plan.base.kind in ("bootstrap", "local") else None
        name = local.names[0] if local and local.names else ""
        print(render.containerfile(planned.plan, sources, name), end="")
        return
    there, reasons = _there(planned), _reasons(planned)
    if as_json:
        print(json.dumps(render.as_json(planned.plan, there, reasons), indent=2))
    else:
        print("\n".join(render.lines(planned.plan, there, reasons)))


def _project() -> Project:
    from ocicaliban.load import load_project

    return load_project(_root())


@layers_app.command("list")
def layers_list() -> None:
    """List the recipes and where they come from."""
    project = _project()
    found = [(catalog.find(project, name), origin) for name, origin, _ in catalog.names(project)]
    width = max(len(recipe.name) for recipe, _ in found)
    for recipe, origin in found:
        print(f"{recipe.name:{width}}  {origin:8}  {recipe.summary}")


@layers_app.command("show")
def layers_show(name: str) -> None:
    """Show what a recipe does and which parameters it takes."""
    recipe = catalog.find(_project(), name)
    print(f"{recipe.name}: {recipe.summary}")
    if recipe.after:
        print(f"after: {', '.join(recipe.after)}")
    for key, param in recipe.params.items():
        default = "" if param.default in (None, "", ()) else f" (default {param.default})"
        print(f"  {key}: {param.type}{', required' if param.required else ''}{default}  {param.help}".rstrip())
    for step in recipe.steps:
        print(f"step: {step.do} {step.script or step.to}{' when ' + step.when if step.when else ''}".rstrip())


@layers_app.command("eject")
def layers_eject(name: str) -> None:
    """Copy a recipe into the project's layers/ folder, to be edited."""
    project = _project()
    catalog.find(project, name)
    folder = next(folder for known, _, folder in catalog.names(project) if known == name)
    target = project.root / "layers" / name
    if target.exists():
        raise OcicalibanError(f"{target} is there already", "edit it, or remove it first")
    shutil.copytree(folder, target)
    print(target)
