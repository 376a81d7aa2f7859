"""The commands build and plan. What they work with is imported where they run: completion and help need none."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, Module, Mount, NoCache
from ocicaliban.errors import UsageError
from ocicaliban.reporter import TERMINAL

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
    from ocicaliban.app import launch
    from ocicaliban.build import planner
    from ocicaliban.build.request import PlanRequest
    from ocicaliban.containers import buildah
    from ocicaliban.gpu import selection

    launch.require_user()
    if tag and not _TAG.fullmatch(tag):
        raise UsageError(f"'{tag}' is no name for an image", "lower case, as in digits:v1 or ghcr.io/me/digits:v1")
    if cloud_key:
        TERMINAL.note("no credential enters an image; give --cloud-key to `ocicaliban run`")
    request = PlanRequest(
        root=Path.cwd(),
        mode=mode,
        module=module,
        gpus=selection.choose_gpus(gpu_wanted, gpus, TERMINAL),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        mount=mount,
        fresh=no_cache,
    )
    planned = planner.plan_project(request, TERMINAL)
    image = launch.built(planned, no_cache)
    launch.record_built(planned)
    if tag:
        buildah.tag(image.id, tag)
    print(json.dumps({"id": image.id, "digest": image.digest, "key": planned.plan.key}) if as_json else image.id)


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
    from attrs import evolve

    from ocicaliban.app import images
    from ocicaliban.build import base_image, plan_view, planner
    from ocicaliban.build.containerfile import CopiedTree, as_containerfile
    from ocicaliban.build.inputs import folders
    from ocicaliban.build.request import PlanRequest
    from ocicaliban.gpu import selection
    from ocicaliban.project import ignore_rules, source_tree

    if as_json + containerfile + bool(diff) > 1:
        raise UsageError("--json, --containerfile and --diff exclude each other")
    request = PlanRequest(
        root=Path.cwd(),
        mode=mode,
        module=module,
        gpus=selection.choose_gpus(gpu_wanted, gpus, TERMINAL),
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        resolve=False,
    )
    planned = planner.plan_project(request)
    if diff:
        other = planner.plan_project(evolve(request, mode=diff, module=""))
        mounting = [each.plan.mode for each in (other, planned) if each.mounts_project]
        left_out = folders.left_out(planned.project, tuple(dirs or ())) if len(mounting) == 1 else ()
        missed, always = (
            [path for path in left_out if ignore_rules.is_built_in(path) is known] for known in (False, True)
        )
        print("\n".join(plan_view.difference(other.plan, planned.plan, missed, always, mounts="".join(mounting[:1]))))
    elif containerfile:
        sources = {
            digest: CopiedTree(
                folder=os.path.relpath(tree.root),
                tree=tree,
                # Not the project itself, which the Containerfile comes into.
                whole=source_tree.whole_folders(tree) - ({""} if tree.root == request.root else set()),
            )
            for digest, tree in planned.trees.items()
        }
        local = base_image.present(planned.plan.base) if planned.plan.base.kind != "registry" else None
        name = local.names[0] if local and local.names else ""
        print(as_containerfile(planned.plan, sources, name), end="")
    elif as_json:
        print(json.dumps(plan_view.as_json(planned.plan, *images.state(planned)), indent=2))
    else:
        print("\n".join(plan_view.stack_lines(planned.plan, *images.state(planned))))
