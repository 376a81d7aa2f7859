"""The input `project`: the project itself and the packages beside it, a layer for each."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban.build.inputs import build_requirements
from ocicaliban.build.inputs.folders import data_folders, memo_file, not_source
from ocicaliban.build.inputs.installed_package import in_folder, of_packages
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies import package_files, package_modules, package_words, packages, uv_hints
from ocicaliban.dependencies.package_files import PackageFolder
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Tree
from ocicaliban.project import ignore_rules, source_tree
from ocicaliban.project.lockfile import Resolution

if TYPE_CHECKING:
    from ocicaliban.build.inputs.git_packages import GitPackage

_SECTION = "project"
_REFUSED = "# not installed: "
"""The beginning of what the lock has instead of the requirements of a build that cannot succeed."""


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    assert parameters is not None
    builds = _builds(context, parameters)
    from_git = _git_packages(context)
    if not builds and not from_git:
        return _EMPTY
    root = context.project.root
    exclude = not_source(data_folders(context.project, context.request.dirs))
    names = source_tree.names(root, memo=memo_file(root), exclude=exclude)
    secrets = {str(path) for path in context.secret_files}
    names = {path: is_dir for path, is_dir in names.items() if str(root / path) not in secrets}
    trees: list[Tree] = []
    # What seldom changes comes first.
    found = [each.package for each in from_git]
    resolutions = {each.section: each.resolution for each in from_git}
    for folder, build in builds.items():
        inner = _outside(root, folder, secrets) if build.outside else _inside(folder, names)
        if not inner:
            rules = ignore_rules.ignore_file_name(root)
            raise UsageError(
                f"the dependencies name the folder '{folder}', which an ignore file leaves out of the image",
                f"include it with a line `!{folder}` in {rules}",
            )
        mentions = package_words.read_mentions(root / folder, build)
        asked = PackageFolder(
            path=root / folder,
            top=folder,
            names=inner,
            build=build,
            mentions=mentions,
            more=parameters.texts("files"),
            allowed_secrets=context.allowed_secrets,
        )
        if reason := package_modules.missing_modules(asked):
            _tell_refusal(context, folder, reason)
            continue
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
        found.append(in_folder(folder, build, tree=tree.digest, requirements=text, version=version))
    has_environment = bool(context.provided["requirements"].values["has_environment"])
    return evolve(
        of_packages(found, environment_exists=has_environment),
        trees=tuple(trees),
        trees_read=tuple(trees),
        made_trees=tuple(each.checkout for each in from_git),
        resolutions=resolutions,
    )


def _builds(context: PlanContext, parameters: InputParameters) -> dict[str, PackageBuild]:
    """Return how each package is built, by its folder; the project itself has "".

    Raises UsageError for a folder that the dependencies name and that has no package.
    """
    root = context.project.root
    found: dict[str, PackageBuild] = {}
    resolution = context.dependencies
    for folder in resolution.folders if resolution else ():
        package = packages.read_package(root / folder)
        if package is None:
            hint = uv_hints.for_folder(root / folder)
            raise UsageError(f"the dependencies name the folder '{folder}', which has no package", hint)
        found[folder] = evolve(package, outside=folder.startswith(".."))
    if parameters.values.get("install") and _installs_itself(context) and (build := packages.read_package(root)):
        found[""] = build
    # Each edit changes those outside, which containers do not see otherwise.
    return dict(sorted(found.items(), key=lambda item: item[1].outside))


def _git_packages(context: PlanContext) -> tuple[GitPackage, ...]:
    resolution = context.dependencies
    if resolution is None or not resolution.checkouts:
        return ()
    from ocicaliban.build.inputs.git_packages import git_packages  # few projects have any

    return git_packages(context, _SECTION)


def _installs_itself(context: PlanContext) -> bool:
    """Whether the tool that the dependencies are made for installs the project itself."""
    declaration = context.environment.declaration
    if declaration is None:
        return True
    # A script with dependencies of its own, or another member of a workspace, runs without the project.
    return (
        not declaration.ALONE
        and not declaration.member
        and not (declaration.TOOL == "uv" and packages.is_virtual(context.project.root))
    )


def _outside(root: Path, folder: str, secrets: Set[str]) -> Mapping[str, bool]:
    """Return the paths below a folder that is not in the project, relative to it. Its own ignore file counts."""
    found = source_tree.names(root / folder, memo=memo_file(root, folder))
    return {path: is_dir for path, is_dir in found.items() if os.path.normpath(root / folder / path) not in secrets}


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
    resolution = build_requirements.resolved(context, build, locked, asked.path.name)
    return evolve(resolution, inputs=digest, version=version)


def _git_version(folder: Path, locked: str) -> str:
    from ocicaliban.dependencies import git_version  # few packages need it

    return git_version.locked_version(folder, locked)


def _refusal(tree: Tree) -> str:
    from ocicaliban.dependencies import package_discovery  # few plans search

    return package_discovery.refusal(tree)


def _tell_refusal(context: PlanContext, folder: str, reason: str) -> None:
    """Note why the project is not installed. Raises UsageError if it is another package, which is needed."""
    remedy = f"name the packages in {posixpath.join(folder, 'pyproject.toml')}, as the build backend describes"
    if reason.startswith("setuptools"):
        remedy = f"name the packages under [tool.setuptools] in {posixpath.join(folder, 'pyproject.toml')}"
    if folder:
        raise UsageError(f"the package in '{folder}' cannot be installed: {reason}", remedy)
    context.reporter.note(
        f"the project itself is not installed, as pip could not install it: {reason};"
        f" {remedy}, or write [layers.project] install = false"
    )


_EMPTY = Provided(instances=())
PROVIDER = Provider(kind="project", provide=_provide, empty=_EMPTY, lock_section=_SECTION, layers="package")
