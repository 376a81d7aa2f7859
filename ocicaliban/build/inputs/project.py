"""The input `project`: the project itself and the packages beside it, a layer for each."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build.inputs.folders import data_folders, memo_file, not_source
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import package_files, package_words, packages, resolver
from ocicaliban.dependencies.package_files import PackageFolder
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Tree
from ocicaliban.model.project import Instance
from ocicaliban.project import ignore_rules, source_tree
from ocicaliban.project.entry_point import APP
from ocicaliban.project.lockfile import Resolution

_SECTION = "project"
_REFUSED = "# not installed: "
"""The beginning of what the lock has instead of the requirements of a build that cannot succeed."""


@frozen(kw_only=True)
class LocalPackage:
    """A package to install from a folder of the project.

    `folder` is relative to the project ("" for the project itself), and `build` says how it is built. `tree` is the
    digest of what its build sees, and `requirements` are the locked ones of its build. `version` is its version, if it
    takes it from git.
    """

    folder: str
    build: PackageBuild
    tree: str
    requirements: str
    version: str = ""


def instances(found: Sequence[LocalPackage], *, environment_exists: bool) -> tuple[Instance, ...]:
    """Return a layer for each package; pure. The first one configures the environment unless it exists already."""
    return tuple(
        Instance(
            label=package.folder,
            values={
                "package_folder": _place(package.folder),
                "package_tree": package.tree,
                "package_requirements": package.requirements,
                "package_settings": _settings(package),
                "package_version": package.version,
                "makes_environment": number == 0 and not environment_exists,
            },
        )
        for number, package in enumerate(found)
    )


def _settings(package: LocalPackage) -> str:
    """Return what the recipe's program needs to know, as JSON."""
    build = package.build
    settings = {
        "backend": build.backend,
        "backend_path": build.backend_path,
        "editable": build.editable,
        "isolated": build.isolated,
        "origin": {"url": f"file://{_place(package.folder)}", "dir_info": {"editable": True} if build.editable else {}},
        "version": package.version,
        "version_file": build.version_file,
    }
    return json.dumps(settings, sort_keys=True)


def _place(folder: str) -> str:
    return posixpath.join(APP, folder) if folder else APP


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    builds = _builds(context, parameters)
    if not builds:
        return _EMPTY
    root = context.project.root
    exclude = not_source(data_folders(context.project, context.request.dirs))
    names = source_tree.names(root, memo=memo_file(root), exclude=exclude)
    secrets = {str(path) for path in context.secret_files}
    names = {path: is_dir for path, is_dir in names.items() if str(root / path) not in secrets}
    trees: list[Tree] = []
    found: list[LocalPackage] = []
    resolutions: dict[str, Resolution] = {}
    for folder, build in builds.items():
        inner = _inside(folder, names)
        if not inner:
            rules = ignore_rules.ignore_file_name(root)
            raise UsageError(
                f"the dependencies name the folder '{folder}', which an ignore file leaves out of the image",
                f"include it with a line `!{folder}` in {rules}",
            )
        mentions = package_words.read_mentions(root / folder, build)
        asked = PackageFolder(
            path=root / folder, names=inner, build=build, mentions=mentions, more=parameters.texts("files")
        )
        tree = package_files.read_build_tree(asked)
        section = f"{context.variant} {folder}".rstrip()
        text, version = "# not resolved yet\n", ""
        if resolution := _requirements(context, asked, tree, section):
            resolutions[section] = resolution
            text, version = resolution.requirements, resolution.version
            if text.startswith(_REFUSED):
                _tell_refusal(context, folder, text.removeprefix(_REFUSED).strip())
                continue
        trees.append(tree)
        found.append(LocalPackage(folder=folder, build=build, tree=tree.digest, requirements=text, version=version))
    has_environment = bool(context.provided["requirements"].values["has_environment"])
    return evolve(
        of_packages(found, environment_exists=has_environment),
        trees=tuple(trees),
        trees_read=tuple(trees),
        resolutions=resolutions,
    )


def of_packages(found: Sequence[LocalPackage], *, environment_exists: bool) -> Provided:
    """Return what recipes get for the packages; pure."""
    return Provided(instances=instances(found, environment_exists=environment_exists))


def _builds(context: PlanContext, parameters: InputParameters) -> dict[str, PackageBuild]:
    """Return how each package is built, by its folder; the project itself has "".

    Raises UsageError for a folder that the dependencies name and that has no package.
    """
    root = context.project.root
    found: dict[str, PackageBuild] = {}
    if parameters.values.get("install") and _installs_itself(context) and (build := packages.read_package(root)):
        found[""] = build
    resolution = context.provided["requirements"].resolutions.get(context.variant)
    for folder in resolution.folders if resolution else ():
        package = packages.read_package(root / folder)
        if package is None:
            empty = (root / folder).is_dir() and not any((root / folder).iterdir())
            hint = "git submodule update --init" if empty else f"create {folder}/pyproject.toml, or correct the path"
            raise UsageError(f"the dependencies name the folder '{folder}', which has no package", hint)
        found[folder] = package
    return found


def _installs_itself(context: PlanContext) -> bool:
    """Whether the tool that the dependencies are made for installs the project itself."""
    declaration = context.environment.declaration
    if declaration is None:
        return True
    # A script with dependencies of its own runs without the project.
    return not declaration.ALONE and not (declaration.TOOL == "uv" and packages.is_virtual(context.project.root))


def _inside(folder: str, names: Mapping[str, bool]) -> Mapping[str, bool]:
    """Return the paths below a folder of the project, relative to it."""
    prefix = f"{folder}/"
    if not folder:
        return names
    return {path.removeprefix(prefix): is_dir for path, is_dir in names.items() if path.startswith(prefix)}


def _requirements(context: PlanContext, asked: PackageFolder, tree: Tree, section: str) -> Resolution | None:
    """Return the locked requirements of a build, or why there is none; None if it is unknown for which Python."""
    base, build = context.environment_base, asked.build
    if not base.python:
        return None
    searched = build.tool == "setuptools" and not asked.mentions.names_packages
    names = [entry.path for entry in tree.entries] if searched else []
    parts = ["project 1", base.python, base.platform, base.libc, *build.requires, "", *names]
    digest = f"sha256:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"
    locked = context.lock.resolution(_SECTION, section)
    version = locked.version if locked else ""
    if build.git_version:
        version = _git_version(asked.path, version)
    if locked and locked.inputs == digest:
        return evolve(locked, version=version)
    if searched and (reason := _refusal(tree)):
        return Resolution(inputs=digest, requirements=f"{_REFUSED}{reason}\n")
    indexes = context.provided["requirements"].indexes
    what = f"what the build of {asked.path.name} requires"
    resolution = resolver.resolve_additions("", build.requires, base, locked, indexes, what)
    return evolve(resolution, inputs=digest, version=version)


def _git_version(folder: Path, locked: str) -> str:
    from ocicaliban.dependencies import git_version  # few packages need it

    return git_version.locked_version(folder, locked)


def _refusal(tree: Tree) -> str:
    from ocicaliban.dependencies import package_discovery  # few plans search

    return package_discovery.refusal(tree)


def _tell_refusal(context: PlanContext, folder: str, reason: str) -> None:
    """Note why the project is not installed. Raises UsageError if it is another package, which is needed."""
    remedy = f"name the packages under [tool.setuptools] in {posixpath.join(folder, 'pyproject.toml')}"
    if folder:
        raise UsageError(f"the package in '{folder}' cannot be installed: {reason}", remedy)
    context.reporter.note(
        f"the project itself is not installed, as pip could not install it: {reason};"
        f" {remedy}, or write [layers.project] install = false"
    )


_EMPTY = Provided(instances=())
PROVIDER = Provider(kind="project", provide=_provide, empty=_EMPTY, lock_section=_SECTION, layers="package")
