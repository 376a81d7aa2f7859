"""Reads the world for a command: project, lock, files and GPU into a Snapshot, and that into a Plan."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban.build import base_image
from ocicaliban.build import plan as plans
from ocicaliban.build.builder import Inputs
from ocicaliban.dependencies import cuda_wheels, resolver, size_tiers
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.errors import UsageError, nearest
from ocicaliban.gpu import cdi
from ocicaliban.interactive import shell
from ocicaliban.model.image import Base, Copy, Plan, Tree
from ocicaliban.model.project import Project, Snapshot
from ocicaliban.model.recipe import Recipe, Variant
from ocicaliban.project import entry_point, ignore_rules, lockfile, source_tree, tree_parts
from ocicaliban.project.lockfile import Lock, Resolved
from ocicaliban.recipes import catalog, loader, params
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.system import files as paths


@frozen(kw_only=True)
class Planned:
    """A plan with what executing it needs: the trees of its copy steps, the selected GPUs, the project's indexes.

    `read` are the folders that were read for it.
    """

    project: Project
    plan: Plan
    trees: dict[str, Tree]
    read: tuple[Tree, ...]
    gpus: tuple[cdi.Device, ...]
    indexes: Indexes

    @property
    def inputs(self) -> Inputs:
        """What the builder needs beside the plan."""
        secrets = zip(self.project.secrets, _secret_files(self.project), strict=True)
        return Inputs(trees=self.trees, secrets=dict(secrets), indexes=self.indexes)

    @property
    def mounts_project(self) -> bool:
        """Whether the container sees the project's folder itself, and not a copy."""
        return any(mount.endswith(f":{entry_point.APP}") for mount in self.plan.launch.mounts)

    @property
    def looked_for(self) -> tuple[Path, ...]:
        """Where planning looked for something, which may not be there."""
        folders = [folder for _, folder in catalog.layer_folders(self.project)]
        # A spec may outlive the driver's files that it names.
        drivers = [Path(name) for name in cdi.host_paths(self.gpus)]
        return (self.project.root, *folders, *cdi.spec_dirs(os.environ), *drivers)

    def paths(self) -> Iterator[str]:
        """Everything in the folders that were read, these included."""
        for tree in self.read:
            root = os.path.abspath(tree.root)
            yield root
            for entry in tree.entries:
                yield f"{root}/{entry.path}"


def _memo(root: Path, what: str) -> Path:
    return paths.cache() / "trees" / hashlib.sha256(os.fsencode(f"{root}\0{what}")).hexdigest()[:32]


def _base(project: Project, recipes: tuple[Recipe, ...], variant: Variant) -> Base:
    recipe = next((recipe for recipe in recipes if recipe.name == "base"), None)
    if recipe is None:
        raise UsageError("the mode lists no recipe 'base'", 'put "base" first in its list')
    given = project.layers.get("base", {})
    values = params.resolve(recipe, given, variant)
    if values["bootstrap"] and "image" in given and values["image"] != recipe.params["image"].default:
        raise UsageError("layers.base gives both an image and a bootstrap", "leave one of them out")
    return base_image.declared(str(values["image"]), str(values["bootstrap"]))


def _cuda(project: Project, recipes: tuple[Recipe, ...], variant: Variant) -> cuda_wheels.Request | None:
    """The CUDA libraries that the project asks for; None where it asks for none, or there is no GPU to use them."""
    recipe = next((recipe for recipe in recipes if recipe.name == "cuda"), None)
    if recipe is None or variant == "cpu":
        return None
    values = params.resolve(recipe, project.layers.get("cuda", {}), variant)
    if not values.get("version"):
        return None
    if not any(recipe.name == "python" for recipe in recipes):
        raise UsageError("layers.cuda.version: the mode lists no recipe 'python', which installs it", "add it")
    folder = next(folder for name, _, folder in catalog.names(project) if name == "cuda")
    table = cuda_wheels.table(folder / "versions.toml")
    return cuda_wheels.Request(version=str(values["version"]), components=_tuple(values["components"]), known=table)


def _keep(root: Path, locked: Lock, reporter: Reporter) -> None:
    """Write the lock; a project that cannot be written to is built without one."""
    try:
        lockfile.write(root, locked)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        reporter.note(f"{lockfile.NAME} cannot be written here ({exc.strerror}); what is resolved is not kept")


def _folders(project: Project, more: tuple[str, ...]) -> tuple[str, ...]:
    """The folders of data, relative to the project's root; raises UsageError for one that cannot be."""
    found = []
    for name in (*project.dirs, *more):
        folder = (project.root / name).resolve()
        root = project.root.resolve()
        if not folder.is_relative_to(root):
            mount = f'--podman-args "-v {folder}:/usr/app/{folder.name}:ro"'
            raise UsageError(f"the folder '{name}' does not lie in the project", f"mount it instead: {mount}")
        if not folder.is_dir():
            raise UsageError(f"there is no folder '{name}' in the project", "-d takes a folder inside the project")
        if folder == root:
            raise UsageError(f"the folder of data '{name}' is the project itself", "name a folder in it")
        found.append(str(folder.relative_to(root)))
    return tuple(dict.fromkeys(found))


def _is_in(tree: Tree, command: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Raise UsageError when what the container shall start is left out of the image."""
    links = {entry.path: entry.digest for entry in tree.entries if entry.kind == "link"}
    named = entry_point.entry_files(command)
    wanted = {_through(path, links) for path in named}
    if any(path.startswith(f"{folder}/") for path in wanted for folder in folders):
        return
    if wanted and not {entry.path for entry in tree.entries} & wanted:
        raise UsageError(
            f"'{named[0]}' is left out of the image by an ignore file",
            f"let it in with a line `!PATTERN` in {ignore_rules.ignore_file_name(tree.root)}, or use --mount",
        )


def _through(path: str, links: Mapping[str, str]) -> str:
    """Where a path of a tree leads, given the targets of its links by their paths."""
    for _ in range(40):  # as many as the system follows
        parts = path.split("/")
        heads = ("/".join(parts[:length]) for length in range(1, len(parts) + 1))
        link = next((head for head in heads if head in links), None)
        if link is None:
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(link), links[link], path[len(link) + 1 :]))
    return path


def _secret_files(project: Project) -> tuple[Path, ...]:
    """The files of the build secrets, which must not enter an image."""
    return tuple(project.root / Path(file).expanduser() for file in project.secrets.values())


def _not_source(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The paths that are no part of the source, whatever the ignore files say."""
    return (*folders, lockfile.NAME)


def left_out(project: Project, dirs: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What lies in the project's folder, and an image of it does not have (see `source_tree.left_out`).

    Folders of data, those in `dirs` too, come into an image as layers of their own.
    """
    root = project.root
    return source_tree.left_out(root, memo=_memo(root, ""), exclude=_not_source(_folders(project, dirs)))


_UNREAD = "not read"
"""Stands for the source's digest where no image is built."""


def read(
    root: Path,
    mode: str,
    module: str = "",
    *,
    gpus: tuple[cdi.Device, ...] = (),
    extras: tuple[str, ...] = (),
    dirs: tuple[str, ...] = (),
    mount: bool = False,
    shell_name: str = "",
    settings: Mapping[str, Mapping[str, object]] | None = None,
    gpu_elsewhere: bool = False,
    resolve: bool = True,
    fresh: bool = False,
    contents: bool = True,
    reporter: Reporter = SILENT,
) -> Planned:
    """Read the project in `root` and plan `mode` for it.

    A mode with the recipe `shell` gets the one called `shell_name`, or else the user's own. `settings` are parameters
    of recipes, by the recipe's name, that go before those of the project's configuration. With `gpu_elsewhere` the
    image is for a machine with a GPU, whatever this one has.
    Without `resolve` nothing is pulled, made or written: a base that the lock lacks stays unresolved in the plan, and
    the dependencies upon it; with `fresh` a base that it lacks is pulled or made anew. Without `contents` nothing that
    would enter an image is read, neither files nor dependencies: then only the launch of the plan is of use.
    """
    project = loader.load_project(root, reporter)
    if not (root / "ocicaliban.toml").is_file():
        above = next((folder for folder in root.parents if (folder / "ocicaliban.toml").is_file()), None)
        if above:
            reporter.note(f"{above} has an ocicaliban.toml; this folder is taken as a project of its own")
    for name, own in (settings or {}).items():
        project = evolve(project, layers={**project.layers, name: {**project.layers.get(name, {}), **own}})
    recipes = catalog.recipes_for(project, mode)
    command = entry_point.entry_command(root, module)
    if mount:
        recipes = tuple(
            catalog.find(project, "source-mount") if recipe.provides == "source" else recipe for recipe in recipes
        )
    variant: Variant = "gpu" if gpus or gpu_elsewhere else "cpu"
    locked = lockfile.read(root)
    declared = _base(project, recipes, variant)
    base = _locked_base(locked, declared, variant, fresh=fresh)
    if base is None:
        base = base_image.resolved(declared, fresh=fresh, reporter=reporter) if resolve else declared
    with_base = lockfile.with_base(locked, variant, base)
    needs = _dependencies(project, recipes, with_base, variant, extras, reporter) if contents else _Needs()
    after = lockfile.with_python(with_base, variant, needs.resolved) if needs.resolved else with_base
    interface, beside = _jupyter(project, recipes, with_base, variant, needs) if contents else ("", None)
    if beside and base.python:
        after = lockfile.with_jupyter(after, f"{interface}-{variant}", beside)
    if resolve and after != locked:
        _keep(root, after, reporter)
    files = _trees(project, recipes, command, dirs) if contents else _Files(source=_UNREAD)
    world = Snapshot(
        variant=variant,
        base=base,
        source=files.source,
        parts=files.parts,
        data=files.data,
        requirements=needs.groups,
        cuda_libraries=needs.cuda_libraries,
        jupyter=beside.requirements if beside else "",
        module=module,
        command=command,
        shell=shell.package(shell.choose(shell_name, os.environ)) if any(r.name == "shell" for r in recipes) else "",
    )
    plan = plans.plan(project, recipes, mode, world)
    return Planned(
        project=project, plan=plan, trees=files.used_by(plan), read=files.read, gpus=gpus, indexes=needs.indexes
    )


def _locked_base(locked: Lock, declared: Base, variant: Variant, *, fresh: bool) -> Base | None:
    """What the lock says of the declared base; None when it says nothing that holds.

    Often the base is the same with a GPU and without: then it is what the other variant has locked.
    """
    if fresh and variant not in locked.base:
        return None
    pinned = (locked.base[name] for name in (variant, "cpu", "gpu") if name in locked.base)
    return next((one for one in pinned if base_image.holds(one, declared)), None)


@frozen(kw_only=True)
class _Needs:
    """The dependencies as planning and building want them."""

    resolved: Resolved | None = None
    groups: tuple[tuple[str, str], ...] = ()
    cuda_libraries: str = ""
    indexes: Indexes = field(factory=Indexes)


def _dependencies(
    project: Project,
    recipes: tuple[Recipe, ...],
    locked: Lock,
    variant: Variant,
    extras: tuple[str, ...],
    reporter: Reporter,
) -> _Needs:
    recipe = next((recipe for recipe in recipes if recipe.name == "python"), None)
    if recipe is None:
        return _Needs()
    values = params.resolve(recipe, project.layers.get("python", {}), variant)
    given = str(values["requirements"])
    path = resolver.declaration(project, given)
    if path is None and (name := resolver.unread(project)):
        reporter.note(f"{name} is not read; dependencies may stand in {', '.join(resolver.FOUND)}")
    base = locked.base[variant]
    if not base.python:
        # Nobody knows yet for which Python: a layer will be there all the same.
        return _Needs(groups=(("", f"# {path.name}, not resolved yet\n"),)) if path else _Needs()
    wanted = tuple(sorted({*project.extras, *extras, *_tuple(values["extras"])}))
    asked = _cuda(project, recipes, variant)
    resolved = resolver.resolution(project, locked, base, variant, given, wanted, asked)
    if resolved is None:
        return _Needs()
    return _Needs(
        resolved=resolved,
        groups=size_tiers.groups(resolved.requirements, resolved.weights),
        cuda_libraries=cuda_wheels.library_path(asked, resolved.requirements, base.python) if asked else "",
        indexes=resolver.declared_indexes(project, given),
    )


_JUPYTER = {"lab": "jupyterlab", "notebook": "notebook"}


def _jupyter(
    project: Project, recipes: tuple[Recipe, ...], locked: Lock, variant: Variant, needs: _Needs
) -> tuple[str, Resolved | None]:
    """The interface that the recipe `jupyter` shall have, and what it needs beside the dependencies."""
    recipe = next((recipe for recipe in recipes if recipe.name == "jupyter"), None)
    if recipe is None:
        return "", None
    values = params.resolve(recipe, project.layers.get("jupyter", {}), variant)
    interface = str(values["interface"])
    wanted = _jupyter_packages(interface, str(values["version"]), _tuple(values["packages"]))
    base = locked.base[variant]
    if not base.python:
        return interface, Resolved(inputs="", requirements=f"# {wanted[0]}, not resolved yet\n")
    known = locked.jupyter.get(f"{interface}-{variant}")
    below = "".join(text for _, text in needs.groups)
    return interface, resolver.jupyter(below, wanted, base, known, needs.indexes)


def _jupyter_packages(interface: str, version: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """The requirements that the parameters of the recipe `jupyter` stand for; raises UsageError for wrong ones."""
    if interface not in _JUPYTER:
        raise UsageError(f"layers.jupyter.interface: there is no '{interface}'", nearest(interface, _JUPYTER))
    package = _JUPYTER[interface]
    if version:
        if not re.fullmatch(r"\d+(\.\d+)*([a-z]+\d+)?", version):
            raise UsageError(f"'{version}' is no version of {package}", "a version or its beginning, as in 4.4")
        package += f"=={version}" + (".*" if version.replace(".", "").isdigit() else "")
    # Older servers take their settings by other names.
    return package, "jupyter-server>=2", *more


@frozen(kw_only=True)
class _Files:
    """What a Snapshot has of folders of data and of the source, the trees by digest, and those that were `read`."""

    data: tuple[tuple[str, str], ...] = ()
    source: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    trees: dict[str, Tree] = field(factory=dict)
    read: tuple[Tree, ...] = ()

    def used_by(self, plan: Plan) -> dict[str, Tree]:
        """The trees that the plan's steps copy."""
        steps = (step for layer in plan.layers for step in layer.steps if isinstance(step, Copy))
        return {step.tree: self.trees[step.tree] for step in steps if step.tree in self.trees}


def _trees(project: Project, recipes: tuple[Recipe, ...], command: tuple[str, ...], dirs: tuple[str, ...]) -> _Files:
    """Read the folders that the recipes copy."""
    root = project.root
    folders = _folders(project, dirs)
    takes_data = any(recipe.each == "data" for recipe in recipes)
    # Where the project is mounted, its folders of data are.
    if folders and not takes_data and not any(recipe.name == "source-mount" for recipe in recipes):
        raise UsageError(
            f"the mode has no recipe for the folder of data '{folders[0]}'", 'add "data" to its list, before the source'
        )
    secrets = _secret_files(project)
    read: list[Tree] = []
    data: list[tuple[str, str]] = []
    for name in folders if takes_data else ():
        tree = source_tree.read_tree(root / name, memo=_memo(root, name), never=secrets, ignore=False, top=name)
        read.append(tree)
        data.append((name, tree.digest))
    trees = {tree.digest: tree for tree in read}
    if not any(recipe.name == "source-copy" for recipe in recipes):
        return _Files(data=tuple(data), trees=trees, read=tuple(read))
    tree = source_tree.read_tree(root, memo=_memo(root, ""), exclude=_not_source(folders), never=secrets)
    _is_in(tree, command, folders)
    parts = tree_parts.divide(tree)
    return _Files(
        data=tuple(data),
        source=tree.digest,
        parts=tuple((label, part.digest) for label, part in parts),
        trees=trees | {part.digest: part for part in (tree, *(part for _, part in parts))},
        read=(*read, tree),
    )


def _tuple(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
