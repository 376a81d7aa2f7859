"""Take apart locked requirements, in the form in which uv writes them; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ocicaliban.errors import UsageError


def entries(text: str) -> tuple[str, ...]:
    """Return the requirements, each with its hashes on indented lines."""
    requirements: list[str] = []
    for line in text.splitlines():
        if requirements and line[:1] in (" ", "\t"):
            requirements[-1] += f"{line}\n"
        elif line.strip() and not line.startswith("#"):
            requirements.append(f"{line}\n")
    return tuple(requirements)


_ORIGIN = re.compile(r"^[ \t]+# from (\S+)\n", re.M)


def without_origins(text: str) -> str:
    """Return the entries without the lines `# from INDEX` that say where a package comes from."""
    return _ORIGIN.sub("", text)


def origins(text: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the index of each package whose entry has a line `# from INDEX`, by the package's name.

    `environment` has the values of markers: an entry for another environment does not count.
    """
    found: dict[str, str] = {}
    for entry, head in zip(entries(text), heads(text), strict=True):
        origin = _ORIGIN.search(entry)
        if origin and (environment is None or _applies(head, environment)):
            found[name(entry)] = origin[1]
    return found


def _applies(head: str, environment: Mapping[str, str]) -> bool:
    """Whether the marker of a requirement, if it has one, holds in an environment."""
    from packaging.markers import Marker

    marker = head.partition(" ; ")[2].strip()
    return not marker or Marker(marker).evaluate(dict(environment))


def heads(text: str) -> tuple[str, ...]:
    """Return the requirements without their hashes."""
    return tuple(entry.splitlines()[0].removesuffix("\\").strip() for entry in entries(text))


def with_origins(text: str, origin: Callable[[str], str]) -> str:
    """Return the entries, each with a line `# from INDEX` if `origin` returns an index for it."""
    found = [(entry, origin(entry)) for entry in entries(without_origins(text))]
    return "".join(f"{entry}    # from {index}\n" if index else entry for entry, index in found)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def normalized(name: str) -> str:
    """Return a package's name as indexes compare it (PyPA's name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name(entry: str) -> str:
    """Return the normalized name of the package in an entry, "" for a path."""
    match = _NAME.match(entry)
    return normalized(match[0]) if match else ""


def without(text: str, packages: Iterable[str]) -> str:
    """Return the entries without those of `packages`, given as requirements (NAME==VERSION)."""
    names = {name(package) for package in packages}
    return "".join(entry for entry in entries(text) if name(entry) not in names) if names else text


def version(entry: str) -> str:
    """Return the version in an entry, "" if it names none."""
    match = re.match(r"[^\s;]+==([^\s;\\]+)", entry)
    return match[1] if match else ""


def declared_hashes(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the hashes that lists of requirements declare, by package. A package without hashes is left out."""
    declared: dict[str, frozenset[str]] = {}
    for text in texts:
        for line in re.sub(r"\\+\r?\n", "", text).splitlines():
            hashes = frozenset(value.lower() for value in re.findall(r"--hash[= ]\s*(\w+:[0-9A-Fa-f]+)", line))
            if hashes and (package := name(line.strip())):
                declared[package] = declared.get(package, frozenset()) | hashes
    return declared


def with_declared_hashes(text: str, declared: Mapping[str, frozenset[str]]) -> str:
    """Return the entries, each with only those hashes that are `declared` for its package, if any are.

    uv takes all hashes from the index. The declared ones name the archives that somebody has checked. Raises UsageError
    if the index has none of a package's declared hashes.
    """
    kept: list[str] = []
    for entry in entries(text):
        wanted = declared.get(name(entry))
        if wanted is None:
            kept.append(entry)
            continue
        head, *hashes = (line.strip().removesuffix("\\").strip() for line in entry.splitlines())
        hashes = [line for line in hashes if line.removeprefix("--hash=") in wanted]
        if not hashes:
            raise UsageError(
                f"no archive of {head.split(' ;')[0]} has a hash that the requirements declare for it",
                "the declared hashes are wrong or not sha256, or the files in the index have changed: find out which",
            )
        kept.append(" \\\n    ".join([head, *hashes]) + "\n")
    return "".join(kept)
