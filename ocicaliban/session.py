"""Reads the world for a command: project, lock, files and GPU into a Snapshot, and that into a Plan."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban import base as bases
from ocicaliban import catalog, gpu, load, lock, params, paths, podman, snapshot
from ocicaliban import plan as plans
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model import Base, Plan, Project, Recipe, Snapshot, Tree, Variant


@frozen(kw_only=True)
class Planned:
    """A plan with what executing it needs: the folders of its copy steps and the selected GPUs."""

    project: Project
    plan: Plan
    trees: dict[str, Tree]
    gpus: tuple[gpu.Device, ...]


def choose_gpus(want: bool | None, request: str | None) -> tuple[gpu.Device, ...]:
    """The CDI devices to use; `want` None uses a GPU if there is one.

    Raises OcicalibanError when a GPU is asked for and there is none: never a silent run on the CPU.
    """
    if want is False:
        return ()
    devices = gpu.discover(gpu.spec_dirs(os.environ))
    if not devices:
        if want or request:
            raise OcicalibanError(
                "there is no GPU here: no CDI device was found",
                "with an NVIDIA driver: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml; else use --nogpu",
            )
        return ()
    return gpu.select(devices, request)


def _memo(root: Path, what: str) -> Path:
    return paths.cache() / "trees" / hashlib.sha256(f"{root}\0{what}".encode()).hexdigest()[:32]


def _base(project: Project, recipes: tuple[Recipe, ...], variant: Variant) -> Base:
    recipe = next((recipe for recipe in recipes if recipe.name == "base"), None)
    if recipe is None:
        raise UsageError("the mode lists no recipe 'base'", "put \"base\" first in its list")
    values = params.resolve(recipe, project.layers.get("base", {}), variant)
    return bases.declared(str(values["image"]), str(values["bootstrap"]))


def _secret_files(project: Project, folder: Path) -> tuple[str, ...]:
    """Where the build secrets lie, relative to `folder`: those in it must not enter an image."""
    files = (project.root / Path(file).expanduser() for file in project.secrets.values())
    return tuple(os.path.relpath(file, folder) for file in files)


def read(
    root: Path,
    mode: str,
    module: str = "",
    *,
    gpus: tuple[gpu.Device, ...] = (),
    extras: tuple[str, ...] = (),
    dirs: tuple[str, ...] = (),
    mount: bool = False,
    resolve: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Planned:
    """Read the project in `root` and plan `mode` for it.

    Without `resolve` nothing is pulled, resolved or written: what the lock lacks stays unresolved in the plan.
    """
    project = load.load_project(root)
    recipes = catalog.recipes_for(project, mode)
    if mount:
        recipes = tuple(
            catalog.find(project, "source-mount") if recipe.provides == "source" else recipe for recipe in recipes
        )
    variant: Variant = "gpu" if gpus else "cpu"
    locked = lock.read(root)
    base = _base(project, recipes, variant)
    known = locked.base.get(variant)
    if known and known.kind == base.kind and known.reference == base.reference and base.kind != "local":
        base = known
    elif resolve:
        say(f"base: {base.reference}")
        base = bases.resolved(base)
        locked = lock.with_base(locked, variant, base)
        lock.write(root, locked)
    requirements = ""
    python = next((recipe for recipe in recipes if recipe.name == "python"), None)
    if python is not None and base.python:
        values = params.resolve(python, project.layers.get("python", {}), variant)
        wanted = (*project.extras, *extras, *_tuple(values["extras"]))
        known_python = locked.python.get(variant)
        given = str(values["requirements"])
        requirements, resolution = lock.requirements(project, locked, base, variant, given, tuple(sorted({*wanted})))
        if resolution is not None and resolution != known_python and resolve:
            lock.write(root, lock.with_python(locked, variant, resolution))
    trees: dict[str, Tree] = {}
    data: list[tuple[str, str]] = []
    folders = tuple(dict.fromkeys((*project.dirs, *dirs)))
    for name in folders:
        if not (root / name).resolve().is_relative_to(root.resolve()):
            raise UsageError(f"the folder '{name}' does not lie in the project", "copy or bind it into the project")
        tree = snapshot.read_tree(
            root / name, memo=_memo(root, name), exclude=_secret_files(project, root / name), ignore=False
        )
        trees[tree.digest] = tree
        data.append((name.strip("/"), tree.digest))
    source = ""
    if any(recipe.name == "source-copy" for recipe in recipes):
        left_out = (*folders, *_secret_files(project, root), lock.NAME)
        tree = snapshot.read_tree(root, memo=_memo(root, ""), exclude=left_out)
        trees[tree.digest] = tree
        source = tree.digest
    command = podman.entry_command(root, module)
    world = Snapshot(
        variant=variant,
        base=base,
        source=source,
        data=tuple(data),
        requirements=requirements,
        module=module,
        command=command,
    )
    plan = plans.plan(project, recipes, mode, world)
    if mount:
        plan = evolve(plan, launch=evolve(plan.launch, command=command))
    return Planned(project=project, plan=plan, trees=trees, gpus=gpus)


def _tuple(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
