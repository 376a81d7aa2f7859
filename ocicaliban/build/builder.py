"""Build the image of a plan: find each layer by its key, make those that are missing, and clean up in any case."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build import base_image, downloads, other_python, package_layers, steps
from ocicaliban.build.package_layers import Environment
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import buildah, image_store, layer_cache, oci_layout, workspace
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Configure, Copy, Image, MadeTree, Plan, PlannedLayer, Run, Tree
from ocicaliban.reporter import Reporter


def build(plan: Plan, context: BuildContext, *, reporter: Reporter, cache: bool = True) -> Image:
    """Return the image of `plan`, and make the layers that the store lacks.

    `reporter` shows each layer that is made. Without `cache`, every layer is made again. Raises OcicalibanError if a
    step fails.
    """
    workspace.remove_leftovers()
    if cache and plan.layers:
        top = plan.layers[-1]
        if image := image_store.find_layer(top.name, top.key) or layer_cache.find(top.name, top.key):
            image_store.mark_used(image.id)
            layer_cache.keep(image, top.name, top.key, reporter.warning)
            return image
    if not plan.layers:
        return base_image.ensure(plan.base, reporter=reporter, published=context.published)
    # The Python of a conda environment is not the base's, and its packages decide it.
    python = evolve(plan.base, python="") if any("conda" in layer.kinds for layer in plan.layers) else plan.base
    with workspace.open_workspace() as folder:
        parent, start = _highest(plan) if cache else (None, 0)
        downloads.fetch_first(plan.layers[start:], context.made_trees, reporter)
        if parent is None:
            parent = base_image.ensure(plan.base, reporter=reporter, published=context.published)
        if much := downloads.announcement(plan.layers[start:], context.downloads, context.made_trees):
            reporter.note(much)
        making = _Making(
            folder=folder,
            context=context,
            reporter=reporter,
            cache=cache,
            environment=_environment(plan, context, reporter),
        )
        below = image_store.layer_name(plan.layers[start - 1].name, plan.layers[start - 1].key) if start else ""
        for layer in plan.layers[start:]:
            with workspace.exclusive(layer.key):
                # Another process may have made it while this one waited.
                image = image_store.find_layer(layer.name, layer.key) if cache else None
                if image is None:
                    with other_python.telling(
                        python, context.indexes, context.python, other_python.locked_in(plan.layers)
                    ):
                        image = _made(layer, parent, below, making)
                    layer_cache.keep(image, layer.name, layer.key, reporter.warning)
                parent, below = image, image_store.layer_name(layer.name, layer.key)
                image_store.mark_used(parent.id)
    return parent


def _highest(plan: Plan) -> tuple[Image | None, int]:
    """Return the highest layer of a plan that the store has, or its files have, and the number of those up to it."""
    stored = image_store.images()
    for index, layer in reversed(list(enumerate(plan.layers))):
        if image := image_store.find_layer(layer.name, layer.key, stored) or layer_cache.find(layer.name, layer.key):
            return image, index + 1
    return None, 0


@frozen(kw_only=True)
class _Making:
    """How layers are made: the work folder, what the plan refers to, and whether what is kept may be used."""

    folder: Path
    context: BuildContext
    reporter: Reporter
    cache: bool
    environment: Environment | None


def _environment(plan: Plan, context: BuildContext, reporter: Reporter) -> Environment | None:
    """Return the environment that the layers of packages make; None if there are none."""
    first = package_layers.first_of(plan.layers)
    if first is None:
        return None
    below = evolve(plan, layers=plan.layers[:first])
    return Environment(below=lambda: build(below, context, reporter=reporter), first=plan.layers[first].key)


def _made(layer: PlannedLayer, parent: Image, below: str, making: _Making) -> Image:
    """Make a layer on top of `parent`; `below` is the parent's name, "" for the base."""
    folder, reporter = making.folder, making.reporter
    if layer.loses_owners:
        reporter.note(
            f"{layer.name}: all files belong to root, because containers have one uid; the layer has its own key"
        )
    with reporter.making(layer.name, taken=_copied_size(layer, making.context)) as made:
        given = steps.with_files(layer, folder, making.context, reporter)
        copied = None
        if making.environment:
            copied = package_layers.as_trees(layer, making.environment, folder, given, again=not making.cache)
        if copied:
            image = tree_layer(copied.layer, parent, folder, evolve(given, trees=copied.trees))
        elif layer.runs:
            image = _run_layer(layer, parent, folder, given, below)
        else:
            image = tree_layer(layer, parent, folder, given)
        made.measure = functools.partial(_added_size, parent.id, image.id)
    return image


def _copied_size(layer: PlannedLayer, context: BuildContext) -> int:
    """Return the bytes of the files that a layer copies."""
    trees: dict[str, Tree | MadeTree] = {**context.trees, **context.made_trees}
    return sum(trees[step.tree].size for step in layer.steps if isinstance(step, Copy))


def _added_size(below: str, image: str) -> int:
    """Return the bytes that an image adds to the one below it."""
    sizes = image_store.image_sizes()
    return sizes.get(image, 0) - sizes.get(below, 0)


def tree_layer(layer: PlannedLayer, parent: Image, folder: Path, context: BuildContext) -> Image:
    """Store a layer that only adds files and configuration on top of `parent`, in the work folder `folder`."""
    config = oci_layout.standard_config(image_store.image_config(parent))
    # Root in the container is the user outside. A user of the base image could not write to mounted files.
    config["config"].pop("User", None)
    sizes = image_store.layer_sizes()
    blobs = [
        oci_layout.Blob(digest=d, size=sizes.get(d, 0)) for d in (config.get("rootfs") or {}).get("diff_ids") or []
    ]
    layout = folder / image_store.layer_folder(layer.name, layer.key)
    created_by = f"ocicaliban {layer.name}"
    for step in layer.steps:
        if isinstance(step, Copy):
            tar = folder / "layer.tar"
            blob = oci_layout.write_layer(context.trees[step.tree], step.to, tar)
            oci_layout.adopt_layer(layout, tar, blob)
            blobs.append(blob)
            config = oci_layout.with_layer(config, blob.digest, created_by)
        elif isinstance(step, Configure):
            config = oci_layout.with_layer(oci_layout.with_changes(config, step), None, created_by)
    oci_layout.write_layout(layout, config, blobs)
    return image_store.import_layer(folder, layer.name, layer.key)


def _known_as(parent: Image, below: str) -> str:
    """Return the name by which buildah gets the image below a layer: that of the layer `below`, "" for the base.

    buildah writes the name into the history of the image that it makes, and so into its digest. Users and machines may
    have the same base under different names, or under more than one.
    """
    if below:
        return below
    name = image_store.layer_name("base", parent.id)
    if name not in parent.names:
        try:
            buildah.tag(parent.id, name)
        except ToolError:
            return parent.id  # a store that the administrator shares, which is read-only
    return name


def _run_layer(layer: PlannedLayer, parent: Image, folder: Path, context: BuildContext, below: str) -> Image:
    name = f"ocicaliban-{layer.key[:12]}-{os.getpid()}"
    env = (image_store.image_config(parent).get("config") or {}).get("Env") or []
    path = next((item[5:] for item in env if item.startswith("PATH=")), "/usr/local/bin:/usr/bin:/bin")
    with workspace.working_container(folder, name):
        buildah.make_container(_known_as(parent, below), name, one_user=layer.loses_owners)
        container = steps.WorkingContainer(name=name, parent=parent)
        for number, step in enumerate(layer.steps):
            if isinstance(step, Run):
                steps.run_script(step, layer, container, folder / f"{layer.key[:12]}-{number}", context)
            elif isinstance(step, Configure):
                path = dict(step.env).get("PATH", path)
                buildah.configure(name, step, path)
                path = ":".join([*step.path, path])
            else:
                raise UsageError(f"the recipe '{layer.name}' has run steps and copy steps", "make two recipes of it")
        buildah.commit(name, image_store.layer_name(layer.name, layer.key))
        return image_store.layer_image(layer.name, layer.key)
