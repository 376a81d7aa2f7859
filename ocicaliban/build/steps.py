"""Run the script of a layer in a working container, with what it sees."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban import hints
from ocicaliban.build import built_wheels
from ocicaliban.build.plan import copied_trees
from ocicaliban.containers import buildah, tree_folder, workspace
from ocicaliban.dependencies import host_settings
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Image, MadeTree, PlannedLayer, Run, Tree
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
