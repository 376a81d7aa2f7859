"""The environment that a project declares: the source of its dependencies, and all other files that say something."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.python_requirement import PythonRequirement


@frozen(kw_only=True)
class DeclaringFile:
    """A file that declares a part of an environment.

    `path` is relative to the project, or names a part of a file. `use` says what becomes of it: it is the `source` of
    the dependencies, its contents are `honoured` beside the source, or it is `unread`. `setting` is what the user can
    write into `ocicaliban.toml` to use an unread file, and `why` says why it is not read where no setting helps.
    """

    path: str
    use: Literal["source", "honoured", "unread"]
    setting: str = ""
    why: str = ""


@frozen(kw_only=True)
class DeclaredEnvironment:
    """All that a project's files declare.

    `declaration` is the source of the dependencies, or None. `debian_packages` are those of apt.txt and its relatives.
    `post_build` and `start` are the paths of Binder's scripts, relative to the project, or "". `chosen` says that a
    setting names the source.
    """

    declaration: Declaration | None = None
    files: tuple[DeclaringFile, ...] = ()
    python: tuple[PythonRequirement, ...] = ()
    debian_packages: tuple[str, ...] = ()
    post_build: str = ""
    start: str = ""
    chosen: bool = False

    @property
    def source(self) -> str:
        """What messages call the source of the dependencies, "" if there is none."""
        return self.declaration.shown if self.declaration else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The lines that name what is not read. Somebody who has chosen the source knows the other files."""
        unread = [file for file in self.files if file.use == "unread"]
        others = [file for file in unread if file.setting and not self.chosen]
        parts = [file.path for file in unread if not (file.setting or file.why)]
        notes = [f"not read: {', '.join(parts)}"] if parts else []
        notes += [f"not read: {file.path}, {file.why}" for file in unread if file.why]
        if others:
            names = ", ".join(file.path for file in others)
            notes.append(f"not read: {names} (to use {others[0].path} instead, write {others[0].setting})")
        if self.declaration and self.declaration.is_out_of_date():
            made_from = " and ".join(self.declaration.covers())
            missing = self.declaration.not_locked()
            lacks = f"; it lacks {', '.join(missing)}, which is resolved beside it" if missing else ""
            again = f"`{self.declaration.tool()} lock` makes it current"
            notes.append(f"{self.declaration.shown} was made for another state of {made_from}: {again}{lacks}")
        return tuple(notes)


@frozen(kw_only=True)
class EnvironmentRequest:
    """Whose environment to read.

    `root` is the project's folder. `named` is the file that a setting names as the source of the dependencies, or
    "none" for a project that needs none, and `setting` is the name of that setting. `script` is the file that a
    container starts, relative to the project, or "".
    """

    root: Path
    named: str = ""
    setting: str = "layers.python.requirements"
    script: str = ""
