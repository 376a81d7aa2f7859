"""What the recipe `project` needs for each package that it builds and installs; pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

from attrs import frozen

from ocicaliban.build.inputs.provider import Provided
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.model.project import Instance
from ocicaliban.project.entry_point import APP

CHECKOUT = "/dev/oc-package"
"""Where a build sees a checkout from git: nothing is left of it in an image."""


@frozen(kw_only=True)
class InstalledPackage:
    """A package to build and install.

    `label` tells its layer from others. Its build sees the tree with the digest `tree` in the folder `mount`, and runs
    in `folder`. `requirements` are the locked ones of its build. `settings` say in JSON how it is built, "" if a file
    in the tree does. `version` is its version, if it takes it from git.
    """

    label: str
    mount: str
    folder: str
    tree: str
    requirements: str
    settings: str = ""
    version: str = ""


def in_folder(
    folder: str, build: PackageBuild, *, tree: str = "", requirements: str = "", version: str = ""
) -> InstalledPackage:
    """Return the package in a folder of the project, "" for the project itself."""
    place = posixpath.join(APP, folder) if folder else APP
    if build.outside:
        place = CHECKOUT
    settings = {
        "backend": build.backend,
        "backend_path": build.backend_path,
        "editable": build.editable,
        "isolated": build.isolated,
        "origin": {"url": f"file://{place}", "dir_info": {"editable": True} if build.editable else {}},
        "version_file": build.version_file,
        **({"relink": True} if build.relinked else {}),
    }
    return InstalledPackage(
        label=folder,
        mount=place,
        folder=place,
        tree=tree,
        requirements=requirements,
        settings=json.dumps(settings, sort_keys=True),
        version=version,
    )


def of_packages(found: Sequence[InstalledPackage], *, environment_exists: bool) -> Provided:
    """Return a layer for each package. The first one configures the environment unless it exists already."""
    instances = tuple(
        Instance(
            label=package.label,
            values={
                "package_mount": package.mount,
                "package_folder": package.folder,
                "package_tree": package.tree,
                "package_requirements": package.requirements,
                "package_settings": package.settings,
                "package_version": package.version,
                "makes_environment": number == 0 and not environment_exists,
            },
        )
        for number, package in enumerate(found)
    )
    return Provided(instances=instances)
