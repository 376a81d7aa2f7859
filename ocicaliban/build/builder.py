"""Build the image of a plan: find each layer by its key, make those that are missing, and clean up in any case."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban import hints
from ocicaliban.build import base_image, built_wheels, downloads, other_python
from ocicaliban.build.plan import copied_trees
from ocicaliban.containers import buildah, image_store, layer_cache, oci_layout, tree_folder, workspace
from ocicaliban.dependencies import host_settings
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Configure, Copy, Image, MadeTree, Plan, PlannedLayer, Run, Tree
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import Reporter
from ocicaliban.system import files, process


@frozen(kw_only=True)
class BuildContext:
    """What a plan refers to: trees by digest, files of build secrets, the package indexes that the project names.

    `made_trees` are the trees, by digest, whose files are made when a layer needs them. `downloads` are the bytes of
    the large packages that layers install, by name. `has_packages` says that the project's configuration names Debian
    packages. `python` is what the project asks of its Python. Base images are kept in the repository `published`.
    """

    trees: Mapping[str, Tree]
    made_trees: Mapping[str, MadeTree] = field(factory=dict)
    secrets: Mapping[str, Path] = field(factory=dict)
    indexes: Indexes = field(factory=Indexes)
    downloads: Mapping[str, int] = field(factory=dict)
    python: tuple[PythonRequirement, ...] = ()
    has_packages: bool = False
    published: Repository | None = None


@frozen(kw_only=True)
class WorkingContainer:
    """A container of an image, in which scripts run that get these mounts and variables beside their own."""

    name: str
    parent: Image
    mounts: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)


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
        below = image_store.layer_name(plan.layers[start - 1].name, plan.layers[start - 1].key) if start else ""
        for layer in plan.layers[start:]:
            with workspace.exclusive(layer.key):
                # Another process may have made it while this one waited.
                image = image_store.find_layer(layer.name, layer.key) if cache else None
                if image is None:
                    with other_python.telling(
                        python, context.indexes, context.python, other_python.locked_in(plan.layers)
                    ):
                        image = _made(layer, parent, below, folder, context, reporter)
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


def _made(
    layer: PlannedLayer, parent: Image, below: str, folder: Path, context: BuildContext, reporter: Reporter
) -> Image:
    """Make a layer on top of `parent`, in the work folder `folder`; `below` is the parent's name, "" for the base."""
    if layer.loses_owners:
        reporter.note(
            f"{layer.name}: all files belong to root, because containers have one uid; the layer has its own key"
        )
    with reporter.making(layer.name, taken=_copied_size(layer, context)) as made:
        given = with_files(layer, folder, context, reporter)
        if layer.runs:
            image = _run_layer(layer, parent, folder, given, below)
        else:
            image = tree_layer(layer, parent, folder, given)
        made.measure = functools.partial(_added_size, parent.id, image.id)
    return image


def _copied_size(layer: PlannedLayer, context: BuildContext) -> int:
    """Return the bytes of the files that a layer copies."""
    trees: dict[str, Tree | MadeTree] = {**context.trees, **context.made_trees}
    return sum(trees[step.tree].size for step in layer.steps if isinstance(step, Copy))


def with_files(layer: PlannedLayer, folder: Path, context: BuildContext, reporter: Reporter) -> BuildContext:
    """Return the context with the trees of a layer that had to be made, in the work folder `folder`."""
    wanted = (tree for step in layer.steps for tree in copied_trees(step) if tree in context.made_trees)
    made = {digest: context.made_trees[digest].make(folder, reporter.warning) for digest in wanted}
    return evolve(context, trees={**context.trees, **made}) if made else context


@contextlib.contextmanager
def made_trees(context: BuildContext, reporter: Reporter) -> Iterator[Callable[[str], Tree]]:
    """Yield a function that returns a tree by its digest; the files of one that it has to make exist in the context."""
    with contextlib.ExitStack() as stack:

        def tree_of(digest: str) -> Tree:
            if digest in context.trees:
                return context.trees[digest]
            folder = stack.enter_context(workspace.open_workspace())
            return context.made_trees[digest].make(folder, reporter.warning)

        yield tree_of


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
        container = WorkingContainer(name=name, parent=parent)
        for number, step in enumerate(layer.steps):
            if isinstance(step, Run):
                run_script(step, layer, container, folder / f"{layer.key[:12]}-{number}", context)
            elif isinstance(step, Configure):
                path = dict(step.env).get("PATH", path)
                buildah.configure(name, step, path)
                path = ":".join([*step.path, path])
            else:
                raise UsageError(f"the recipe '{layer.name}' has run steps and copy steps", "make two recipes of it")
        buildah.commit(name, image_store.layer_name(layer.name, layer.key))
        return image_store.layer_image(layer.name, layer.key)


def run_script(step: Run, layer: PlannedLayer, container: WorkingContainer, seen: Path, context: BuildContext) -> None:
    """Run the script of a step in a working container. What it sees is put into the new folder `seen`, and beside it.

    Raises OcicalibanError if the script fails.
    """
    mounts, variables = _lay_out(step, seen, context, container.parent)
    trees = _tree_mounts(step, seen.with_name(f"{seen.name}-trees"), context)
    env = tuple(sorted({**container.env, **dict(variables)}.items()))
    with hints.explaining("build", has_packages=context.has_packages):
        buildah.run_step(
            buildah.run_argv(container.name, seen, (*container.mounts, *mounts, *trees), env),
            doing=f"the layer '{layer.name}' cannot be built",
            hint=layer.hint or f"`ocicaliban layers show {layer.name.split()[0]}` shows what its recipe does",
        )


def _lay_out(
    step: Run, seen: Path, context: BuildContext, parent: Image
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Put what a step on top of `parent` sees below /dev/oc into the folder `seen`.

    Returns the mounts and the environment, with nothing secret in either.
    """
    seen.mkdir(mode=0o700)
    (seen / "script").write_text(step.script)
    for name, content in step.files:
        (seen / name).write_text(content)
    host, project = host_settings.read_host_settings(), context.indexes
    chosen = host.for_step(step.index, project)
    settings, local = chosen.in_container()
    mounts: list[str] = []
    # buildah passes proxies on by itself. Other users could see them in its arguments.
    env = dict(step.env)
    if settings.ca_bundle:
        _hand_over(settings.ca_bundle, seen / "ca.crt", "the CA bundle")
        env |= {"SSL_CERT_FILE": f"{buildah.INPUTS}/ca.crt", "PIP_CERT": f"{buildah.INPUTS}/ca.crt"}
    if apt := host_settings.apt_proxies():
        (seen / "apt.conf").write_text(apt)
    for number, path in enumerate(step.cache):
        folder = files.cache() / "mounts" / path.strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        mounts.append(f"{folder}:{path}")
        env[f"OC_CACHE_{number}"] = path
    for name in step.secrets:
        if name not in context.secrets:
            raise UsageError(f"there is no build secret '{name}'", f"in ocicaliban.toml: [secrets] {name} = 'FILE'")
        (seen / "secrets").mkdir(exist_ok=True)
        _hand_over(context.secrets[name], seen / "secrets" / name, f"the build secret '{name}'")
    if "uv" in step.tools:
        (seen / "uv").touch()
        mounts.append(f"{os.path.realpath(process.tool('uv'))}:{buildah.INPUTS}/uv:ro")
        own = built_wheels.cache_of(parent.id)
        mounts.append(f"{built_wheels.uv_cache()}:/dev/oc-cache")
        env |= {"UV_CACHE_DIR": f"/dev/oc-cache/{own}", "UV_LINK_MODE": "copy"}
        env["UV_CONFIG_FILE"] = f"{buildah.INPUTS}/uv.toml"
        (seen / "uv.toml").write_text(settings.uv_toml(step.uv_settings))
        mounts += [f"{folder}:{place}:ro" for folder, place in local.items()]
    return tuple(mounts), tuple(sorted(env.items()))


def _tree_mounts(step: Run, place: Path, context: BuildContext) -> tuple[str, ...]:
    """Copy the trees that a step sees into the folder `place`, and return their mounts."""
    mounts: list[str] = []
    for number, (folder, digest) in enumerate(step.trees):
        copy = place / str(number)
        tree_folder.write_folder(context.trees[digest], copy)
        mounts.append(f"{copy}:{folder}")
    return tuple(mounts)


def _hand_over(source: Path, target: Path, what: str) -> None:
    """Copy a file of the user, described as `what` in a message, to where a step sees it."""
    target.touch(mode=0o600)
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        raise UsageError(f"{what} cannot be read: {source}: {exc.strerror}", f"check the file: ls -l {source}") from exc
