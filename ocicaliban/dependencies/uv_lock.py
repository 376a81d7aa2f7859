"""uv.lock, with the pyproject.toml beside it, or that of a workspace above the project."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from ocicaliban.dependencies import dependency_groups, locked_requirements
from ocicaliban.dependencies.declaration import (
    Declaration,
    ResolutionTarget,
    add_build_files,
    add_text,
    add_uv_settings,
    is_dynamic,
    manifest,
)
from ocicaliban.dependencies.indexes import Indexes, matching, project_indexes, without_credentials
from ocicaliban.dependencies.pyproject import declared_extras
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_toml_head
from ocicaliban.formats.file_faults import check_link
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant
from ocicaliban.project.root import workspace_root

_FOLDER = re.compile(r'^source = \{ (?:editable|virtual|directory) = "([^"]+)"', re.M)
_LOCAL = re.compile(r"^((?:-e )?)(\.{1,2}(?:/[^\s;]*)?)(?=\s|$)")


class UvLock(Declaration):
    """The versions that uv has locked for a project, or for all members of a workspace."""

    FILE: ClassVar[str] = "uv.lock"
    LOCK: ClassVar[bool] = True
    TOOL: ClassVar[str] = "uv"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return uv.lock, and pyproject.toml, above which the lock of a workspace may be."""
        return (cls.FILE, "pyproject.toml")

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the lock of the project in `root` or of the workspace that it is a member of, or None."""
        path = root / cls.FILE
        if not path.is_file():
            above = workspace_root(root)
            path = above / cls.FILE if above else path
            check_link(path)
        return cls(root=root, path=path) if path.is_file() else None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file that the project's configuration names is of this form, by its name."""
        return path.name == cls.FILE

    def covers(self) -> tuple[str, ...]:
        """Return pyproject.toml, which the lock was made from."""
        return ("pyproject.toml",)

    def texts(self) -> dict[str, str]:
        """Return the lock, each pyproject.toml that it was made from, uv's settings, and what a build computes."""
        texts = super().texts()
        workspace = self.path.parent
        add_uv_settings(texts, workspace)
        members = {
            workspace / folder for folder in _FOLDER.findall(texts.get(os.path.relpath(self.path, self.root), ""))
        }
        for folder in sorted({*members, workspace, self.root / self.member}):
            add_text(texts, folder / "pyproject.toml", self.root)
        if is_dynamic(manifest(self.groups_file.parent)):
            add_build_files(texts, self.groups_file.parent)
        if self.member:
            texts["member"] = self.member
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that pyproject.toml does not declare."""
        path = self.groups_file
        return declared_extras(path, extras, variant) if path.is_file() else extras

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and those that `uv run` installs. Raises UsageError for an undeclared one."""
        path = self.groups_file
        return dependency_groups.with_defaults(manifest(path.parent), groups, os.path.relpath(path, self.root))

    def indexes(self) -> Indexes:
        """Return the package indexes that the project names, which in a workspace are those of its root."""
        return project_indexes(self.path.parent)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the lock's requires-python."""
        return of_toml_head(self.path, self.shown)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for these extras and groups, with folders relative to the project's root.

        Raises UsageError if the lock is out of date.
        """
        from ocicaliban.dependencies import uv  # most plans resolve nothing

        text = uv.exported_lock(self.root / self.member, target.extras, target.groups)
        if self.path.parent != self.root:
            text = "".join(self._moved(entry) for entry in locked_requirements.entries(text))
        known = project_indexes(self.path.parent).explicit
        return with_own_indexes(text, read_toml(self.path)[1], known) if known else text

    def _moved(self, entry: str) -> str:
        """Return an entry whose folder is relative to the lock, as one that is relative to the project."""

        def moved(match: re.Match[str]) -> str:
            path = os.path.relpath(self.path.parent / match[2], self.root)
            return match[1] + (path if path.startswith(".") else f"./{path}")

        return _LOCAL.sub(moved, entry)


def with_own_indexes(text: str, lock: Mapping[str, Any], explicit: Sequence[str]) -> str:
    """Return what uv exported, with the index of each package that is locked from one of the `explicit` ones; pure."""
    places: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for package in lock.get("package", ()):
        registry = table_in(package, "source").get("registry", "")
        if index := without_credentials(matching(registry, explicit)):
            archives = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
            hashes = " ".join(str(archive.get("hash", "")) for archive in archives)
            places.setdefault((package["name"], package.get("version", "")), []).append((index, hashes))

    def origin(entry: str) -> str:
        found = places.get((locked_requirements.name(entry), locked_requirements.version(entry)), [])
        own = re.findall(r"--hash=(\S+)", entry)
        # The same version from another index has other archives.
        return next((index for index, hashes in found if not own or any(each in hashes for each in own)), "")

    return locked_requirements.with_origins(text, origin)
