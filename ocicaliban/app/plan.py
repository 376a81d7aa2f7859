"""Show the plan of an image without building it."""

from __future__ import annotations

import os

from attrs import evolve

from ocicaliban.app import build, consent, place
from ocicaliban.app.requests import BuildRequest
from ocicaliban.build import base_image, environment_view, last_build, local_image, plan_view, planner
from ocicaliban.build.containerfile import CopiedTree, as_containerfile, made_by
from ocicaliban.build.inputs import folders
from ocicaliban.build.plan_view import Stock
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import image_store
from ocicaliban.dependencies.apt.tree import PackageTree
from ocicaliban.project import ignore_rules, source_tree
from ocicaliban.reporter import TERMINAL


def stock(planned: PlannedImage, *, here: bool = True) -> Stock:
    """Return what there is of a plan and why the rest is missing: in the store, and in folders for containers here."""
    known, sizes = image_store.images(), image_store.image_sizes()
    base = base_image.present(planned.plan.base)
    below = sizes.get(base.id, 0) if base else 0
    stored = {planned.plan.base_key: below} if base else {}
    for layer in planned.plan.layers:
        if image := image_store.find_layer(layer.name, layer.key, known):
            whole = sizes.get(image.id, below)
            stored[layer.key], below = whole - below, whole
    before = last_build.load(planned.project.root, planned.plan.mode)
    return Stock(
        sizes=stored,
        reasons=last_build.reasons(planned.plan, planned.trees, before),
        mounted=local_image.mounted_layers(planned.plan) if here else frozenset(),
    )


def _request(request: BuildRequest) -> PlanRequest:
    """Return what the planner is asked; it must not pull or write anything."""
    request = place.entered(request, TERMINAL)
    return evolve(build.plan_request(request, build.choose_gpus(request)), resolve=False)


def _planned(request: BuildRequest) -> PlannedImage:
    return planner.plan_project(_request(request), TERMINAL)


def layer_lines(request: BuildRequest) -> tuple[str, ...]:
    """Return a line for each layer of the plan, which says whether the store has it, and for what it wants outside."""
    planned = _planned(request)
    return *plan_view.stack_lines(planned.plan, stock(planned)), *consent.lines(planned)


def as_json(request: BuildRequest) -> dict[str, object]:
    """Return the plan and its layers in the store as a value for JSON."""
    planned = _planned(request)
    described = environment_view.as_json(planned.environment, planned.packages, planned.python, planned.python_reason)
    return {**plan_view.as_json(planned.plan, stock(planned)), "environment": described} | (
        {"outside": consent.described(planned)} if planned.demands else {}
    )


def difference(request: BuildRequest, mode: str) -> list[str]:
    """Return lines that tell in what the plan differs from the one of another mode, which starts no module."""
    asked = _request(request)
    planned = planner.plan_project(asked)
    other = planner.plan_project(evolve(asked, mode=mode, module=""))
    mounting = [each.plan.mode for each in (other, planned) if each.mounts_project]
    left_out = folders.left_out(planned.project, asked.dirs) if len(mounting) == 1 else ()
    missed, always = ([path for path in left_out if ignore_rules.is_built_in(path) is known] for known in (False, True))
    return [*plan_view.difference(other.plan, planned.plan, missed, always, mounts="".join(mounting[:1]))]


def containerfile(request: BuildRequest) -> str:
    """Return the plan as a Containerfile that any builder takes."""
    return containerfile_of(_planned(request))


def containerfile_of(planned: PlannedImage) -> str:
    """Return a plan as a Containerfile that any builder takes, with the project's folder as its context."""
    root = planned.project.root
    sources = {
        digest: CopiedTree(
            folder=os.path.relpath(tree.root, root),
            tree=tree,
            # Not the project itself, because the Containerfile is written into it.
            whole=source_tree.whole_folders(tree) - ({""} if tree.root == root else set()),
        )
        for digest, tree in planned.trees.items()
    }
    for digest, made in planned.made_trees.items():
        if isinstance(made, PackageTree):
            sources[digest] = made_by(made.script, digest)
    local = base_image.present(planned.plan.base) if planned.plan.base.kind != "registry" else None
    name = local.names[0] if local and local.names else ""
    return as_containerfile(planned.plan, sources, name)
