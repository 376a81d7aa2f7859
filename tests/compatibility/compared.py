"""Compare what is in a container with what a project declares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from attrs import frozen
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.compatibility.declared import Declared

PROBE = """
import importlib.metadata as m, json, platform, subprocess, sys
dists = {d.metadata["Name"]: {"version": d.version, "requires": d.requires or []} for d in m.distributions()}
try:
    debian = subprocess.run(["dpkg-query", "-W", "-f", "${Package} "], capture_output=True, text=True).stdout.split()
except OSError:
    debian = []
print("PROBE " + json.dumps({"python": platform.python_version(), "machine": platform.machine(), "packages": dists,
      "debian": debian, "prefix": sys.prefix}))
"""
SEEDS = frozenset({"pip", "setuptools", "wheel"})
"""Packages that a Python has without being asked."""


@frozen(kw_only=True)
class Contents:
    """What a container has: its Python's version, packages with versions and requirements, and Debian packages."""

    python: str
    packages: Mapping[str, str]
    requires: Mapping[str, tuple[str, ...]]
    debian: frozenset[str]


def contents(printed: str) -> Contents:
    """Return what PROBE printed in a container."""
    line = next(line for line in printed.splitlines() if line.startswith("PROBE "))
    raw = json.loads(line.removeprefix("PROBE "))
    packages = {canonicalize_name(name): each for name, each in raw["packages"].items()}
    return Contents(
        python=raw["python"],
        packages={name: each["version"] for name, each in packages.items()},
        requires={name: tuple(each["requires"]) for name, each in packages.items()},
        debian=frozenset(raw["debian"]),
    )


def environment(python: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }


def _applies(marker: Marker | None, python: str) -> bool:
    return marker is None or marker.evaluate({**environment(python), "extra": ""})


def _unmet(requirement: Requirement, there: Contents, place: str) -> Iterator[str]:
    if not _applies(requirement.marker, there.python):
        return
    version = there.packages.get(canonicalize_name(requirement.name))
    if version is None:
        yield f"{place} wants {requirement}, which is not installed"
    elif not requirement.specifier.contains(version, prereleases=True):
        yield f"{place} wants {requirement}, and {version} is installed"


def differences(declared: Declared, there: Contents, own: frozenset[str]) -> list[str]:
    """Return where a container differs from what the project declares; `own` are the project's own packages."""
    found = []
    for place, specifier in declared.python.items():
        if not specifier.contains(Version(there.python), prereleases=True):
            found.append(f"{place} wants Python {specifier}, and {there.python} is installed")
    for name, version in there.packages.items() if declared.locked is not None else ():
        allowed = (declared.locked or {}).get(name, frozenset())
        if version not in allowed and name not in SEEDS | own:
            found.append(f"{name} {version} is installed, and the lock says {', '.join(allowed) or 'nothing of it'}")
    for requirement in declared.wanted:
        found += _unmet(requirement, there, "the project")
    for name, texts in there.requires.items():
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            # Older tools lock none of these, and their environments had them: the lock's own export lacks them too.
            if declared.locked is None or canonicalize_name(requirement.name) not in SEEDS - {*declared.locked}:
                found += _unmet(requirement, there, name)
    return found + [f"{name} is not installed (apt.txt)" for name in declared.debian if name not in there.debian]
