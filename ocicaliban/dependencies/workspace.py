"""Dependencies of a member of a uv workspace, in whose folder a command was started."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.pyproject import PyprojectToml
from ocicaliban.dependencies.uv_lock import UvLock
from ocicaliban.project.root import member_folder


def for_member(declaration: Declaration | None, root: Path, folder: str) -> Declaration | None:
    """Return the declaration of the member that `folder` is in, given that of the workspace in `root`.

    uv takes the lock of the workspace, and from it what the member needs; without a lock, the member's pyproject.toml.
    Another declaration, and that of a folder in no member, is returned as it is.
    """
    if not folder or not (member := member_folder(root, folder)):
        return declaration
    if isinstance(declaration, UvLock):
        return evolve(declaration, member=member)
    if declaration is None or (isinstance(declaration, PyprojectToml) and declaration.path.parent == root):
        return PyprojectToml(root=root, path=root / member / "pyproject.toml", member=member)
    return declaration
