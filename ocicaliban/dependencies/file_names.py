"""Check the names of declaring files: links that lead to no file, and names in capitals that no tool reads."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.dependencies import debian_packages, python_files, registry
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.formats.file_faults import check_link

BINDER = ("binder", ".binder")
"""The folders for Binder's files."""

LISTS = "requirements"
"""The folder for lists of requirements."""

RELATIVE = re.compile(
    r"(?:requirements?[-_.].+|.+[-_.]requirements?|requirements|reqs)\.(?:txt|in|pip)"
    r"|(?:environment|env|conda)(?:[-_.].+)?\.ya?ml|conda-.*lock\.ya?ml",
    re.I,
)
"""The names of files that declare dependencies, and of which none is read by itself."""

LISTED = re.compile(r".+\.(?:txt|in)", re.I)
"""The names of lists in the folder for them."""

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
_BESIDE = ("uv.toml", *python_files.NAMES, debian_packages.NAME, "postBuild", "start")
_NOT_DEPENDENCIES = frozenset((*_PROJECT, *_BESIDE))
"""The files that count whatever the source of the dependencies is."""

_PLAIN_WORDS = ("start",)
"""Names that a file for another purpose may have, in capitals."""

_ANY_NAME = (*RequirementsList.NAMES, *EnvironmentYml.NAMES)
"""The files that a setting may name under another name."""


@frozen
class OtherCase:
    """A file whose name differs only in capitals from one that is read: the paths of both, relative to the project."""

    path: str
    proper: str
    there: bool
    """Whether the project has the proper file too."""

    @property
    def declares_dependencies(self) -> bool:
        """Whether the file would be a source of dependencies."""
        return os.path.basename(self.proper) not in _BESIDE

    @property
    def may_be_named(self) -> bool:
        """Whether a setting can name the file as it is."""
        return os.path.basename(self.proper) in _ANY_NAME

    @property
    def remedy(self) -> str:
        """What to do so that the file is read."""
        if self.there:
            return f"move what it says into {self.proper}"
        return f"rename it: {shlex.join(['mv', self.path, self.proper])}"

    @property
    def why(self) -> str:
        """Why the file is not read."""
        return f"as the name of such a file is {os.path.basename(self.proper)}; {self.remedy}"


def check_links(request: EnvironmentRequest, there: frozenset[str], *, dependencies: bool) -> None:
    """Raise UsageError for a declaring file that is a symbolic link to no file.

    `there` are the names in the project's folder. Without `dependencies`, files that only declare some do not count.
    """
    known = _NOT_DEPENDENCIES | (registry.NAMES if dependencies else frozenset())
    for name in sorted(there):
        if name in known or name in BINDER or (dependencies and (name == LISTS or RELATIVE.fullmatch(name))):
            check_link(request.root / name)
    for folder in BINDER:
        if folder in there:
            for name in sorted(registry.names_in(request.root / folder) & known):
                check_link(request.root / folder / name)
    if dependencies:
        if LISTS in there:
            for name in sorted(registry.names_in(request.root / LISTS)):
                if LISTED.fullmatch(name):
                    check_link(request.root / LISTS / name)
        for name in RequirementsList.NAMES if request.script else ():
            check_link((request.root / request.script).parent / name)


def in_other_case(request: EnvironmentRequest, there: frozenset[str]) -> tuple[OtherCase, ...]:
    """Return the files that no tool reads since their names have other capitals: in the project and Binder's folders.

    `there` are the names in the project's folder.
    """
    found = [*_in_folder(request.root, "", "", there, registry.NAMES | _NOT_DEPENDENCIES)]
    for folder in sorted(there):
        if folder.lower() in BINDER:
            names = registry.names_in(request.root / folder)
            known = (registry.NAMES - {*_PROJECT}) | {*_BESIDE}
            found += _in_folder(request.root, folder, folder.lower(), names, known)
    if request.script and (folder := os.path.dirname(request.script)):
        names = registry.names_in(request.root / folder)
        found += _in_folder(request.root, folder, folder, names, frozenset(RequirementsList.NAMES))
    return tuple(found)


def _in_folder(
    root: Path, folder: str, proper_folder: str, names: frozenset[str], known: frozenset[str]
) -> Iterator[OtherCase]:
    proper = {name.lower(): name for name in known if name not in _PLAIN_WORDS}
    for name in sorted(names):
        wanted = proper.get(name.lower(), "")
        if not wanted or (wanted == name and folder == proper_folder):
            continue
        path = os.path.join(folder, name)
        if (root / path).is_file():
            place = os.path.join(proper_folder, wanted)
            yield OtherCase(path, place, wanted in names if folder == proper_folder else (root / place).exists())
