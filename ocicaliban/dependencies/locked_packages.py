"""What the readers of other tools' locks have in common: a locked package, and the environment of markers; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from ocicaliban.dependencies import locked_requirements
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base


@frozen(kw_only=True)
class LockedPackage:
    """A package as a lock holds it.

    It comes from an index, or from a `url` (an archive, or `git+URL@COMMIT`), or from a `path` relative to the
    project's folder. `hashes` are of the form `sha256:HEX`. `index` is the index that it was locked from, as
    `NAME=URL` or `URL`, if it is not a default one. With a `url` the version may be unknown.
    """

    name: str
    version: str = ""
    hashes: tuple[str, ...] = ()
    url: str = ""
    path: str = ""
    editable: bool = False
    index: str = ""


def requirements(packages: Iterable[LockedPackage]) -> str:
    """Return packages as locked requirements, as uv writes them, in the order of their names."""
    return "".join(map(_entry, sorted(packages, key=lambda package: (package.name, package.version))))


def _entry(package: LockedPackage) -> str:
    if package.path:
        path = package.path if package.path.startswith((".", "/")) else f"./{package.path}"
        head = f"-e {path}" if package.editable else path
    elif package.url:
        head = f"{package.name} @ {package.url}"
    else:
        head = f"{package.name}=={package.version}"
    # Other algorithms would not narrow down what sha256 allows.
    hashes = sorted({value for value in package.hashes if value.startswith("sha256:")})
    lines = " \\\n    ".join([head, *(f"--hash={value}" for value in hashes)])
    return f"{lines}\n    # from {package.index}\n" if package.index else f"{lines}\n"


def git_url(url: str, commit: str, subdirectory: str = "") -> str:
    """Return a repository's address and a commit as a requirement names them."""
    if scp := re.fullmatch(r"([\w.-]+@[\w.-]+):(?!/)(.+)", url):
        url = f"ssh://{scp[1]}/{scp[2]}"
    url = url.removeprefix("git+")
    fragment = f"#subdirectory={subdirectory}" if subdirectory else ""
    return f"git+{url}@{commit}{fragment}"


def marker_environment(base: Base) -> dict[str, str]:
    """Return the values of markers (PEP 508) in a container of the base image."""
    return {
        "python_version": ".".join(base.python.split(".")[:2]),
        "python_full_version": base.python,
        "implementation_name": "cpython",
        "implementation_version": base.python,
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": base.machine,
        # The kernel's. It is not part of an image.
        "platform_release": "",
        "platform_version": "",
    }


def damaged(file: str, fault: Exception, hint: str) -> UsageError:
    """Return the error for a lock in which a value is not there, or is not of the kind that its tool writes."""
    key = str(fault.args[0]) if isinstance(fault, KeyError) and fault.args else ""
    what = f"an entry has no '{key}'" if key else "an entry is not of the form that its tool writes"
    return UsageError(f"{file} is damaged: {what}", hint)


def checked_tables(raw: Mapping[str, object], file: str, hint: str, key: str = "package") -> list[dict[str, Any]]:
    """Return the tables in the list at `key` of a lock. Raises UsageError if there is something else, or no name."""
    listed = raw.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise UsageError(f"{file} is damaged: '{key}' is not a list of tables", hint)
    for number, each in enumerate(listed, 1):
        if not isinstance(each.get("name"), str):
            raise UsageError(f"{file} is damaged: the {key} number {number} has no name", hint)
    return listed


def count(text: str, base: Base) -> int:
    """Return how many of the requirements apply to the Python and platform of a base image."""
    every = locked_requirements.entries(text)
    marked = [entry.partition(" ;")[2].splitlines()[0].strip(" \\") for entry in every if " ;" in entry]
    if not marked:
        return len(every)
    from packaging.markers import Marker  # many locks have no marker

    environment = marker_environment(base)
    return len(every) - sum(not Marker(marker).evaluate(environment) for marker in marked)
