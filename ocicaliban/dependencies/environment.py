"""The environment that a project declares: the source of its dependencies, and all other files that say something."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.dependencies import python_files, registry
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError


@frozen(kw_only=True)
class DeclaringFile:
    """A file that declares a part of an environment.

    `path` is relative to the project. `use` says what becomes of it: it is the `source` of the dependencies, its
    contents are `honoured` beside the source, or it is `unread`. `setting` is what the user can write into
    `ocicaliban.toml` to use an unread file.
    """

    path: str
    use: Literal["source", "honoured", "unread"]
    setting: str = ""


@frozen(kw_only=True)
class DeclaredEnvironment:
    """All that a project's files declare.

    `declaration` is the source of the dependencies, or None. `debian_packages` are those of apt.txt and its relatives.
    """

    declaration: Declaration | None = None
    files: tuple[DeclaringFile, ...] = ()
    python: tuple[PythonRequirement, ...] = ()
    debian_packages: tuple[str, ...] = ()


@frozen(kw_only=True)
class EnvironmentRequest:
    """Whose environment to read.

    `root` is the project's folder. `named` is the file that a setting names as the source of the dependencies, and
    `setting` the name of that setting. `script` is the file that a container starts, relative to the project, or "".
    """

    root: Path
    named: str = ""
    setting: str = "layers.python.requirements"
    script: str = ""


def read_environment(request: EnvironmentRequest) -> DeclaredEnvironment:
    """Return the environment that the project's files declare.

    Raises UsageError if a setting names a file that does not exist, or if files contradict each other.
    """
    root = request.root
    found = registry.found_in(root)
    declaration = found[0] if found else None
    if request.named:
        path = root / request.named
        if not path.is_file():
            raise UsageError(
                f"{request.setting}: there is no file '{request.named}'", f"the path is relative to the project: {path}"
            )
        declaration = registry.declaration_in(root, path)
    versions = python_files.read_versions(root)
    files = [DeclaringFile(path=name, use="honoured" if wanted else "unread") for name, wanted in versions.items()]
    if declaration is None and (name := registry.unread_file(root)):
        files.append(DeclaringFile(path=name, use="unread"))
    declarations = dict.fromkeys((*([declaration] if declaration else []), *found))
    python = [wanted for each in declarations for wanted in each.python_requirements()]
    python += [wanted for each in versions.values() for wanted in each]
    return DeclaredEnvironment(declaration=declaration, files=tuple(files), python=tuple(dict.fromkeys(python)))


def readable_files() -> str:
    """Return the names of the files that can be the source of the dependencies, for a message."""
    return ", ".join(way.FILE for way in registry.WAYS)
