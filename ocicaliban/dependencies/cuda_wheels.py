"""Choose the wheels of NVIDIA's CUDA libraries, and find the libraries in them; pure, except for `load_table`.

NVIDIA's package `cuda-toolkit` holds no files. Each of its versions is one CUDA release, and its extras name the wheels
that belong to the release, so that no versions of single libraries are needed here.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import read_toml, structure

# Patterns are compiled where they are used first: most commands need none of them.
_LOCKED = r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)"
_VERSION = r"\d+\.\d+(\.\d+)*"
_RUNTIME = r"nvidia-cuda-runtime(-cu\d+)?"


@frozen(kw_only=True)
class Component:
    """One library.

    `wheel` is the name of its wheel without the suffix `-cu12`, `folder` its folder in the package `nvidia`, and
    `since` the first CUDA release that has it. With `toolkit` it is an extra of cuda-toolkit; the others (cudnn, nccl)
    have versions of their own.
    """

    wheel: str
    folder: str
    since: str = ""
    toolkit: bool = True


@frozen(kw_only=True)
class VersionTable:
    """The contents of the recipe's versions.toml. `source` and `date` say where and when they were read."""

    source: str
    date: str
    versions: tuple[str, ...]
    components: dict[str, Component]


@frozen(kw_only=True)
class CudaRequest:
    """The CUDA release and libraries that a recipe's parameters ask for, and the table to look them up in."""

    recipe: str
    version: str
    components: tuple[str, ...]
    table: VersionTable


def load_table(path: Path) -> VersionTable:
    """Return the table in a file. Raises UsageError with file, line and key for a mistake in it."""
    text, raw = read_toml(path)
    table = structure(raw, VersionTable, path=path, text=text)
    assert isinstance(table, VersionTable)
    return table


def missing_wheels(request: CudaRequest, locked: str) -> tuple[str, ...]:
    """Return the requirements to add to the `locked` ones for the libraries asked for.

    Those that are locked already stay as they are; torch and jax bring most of them. Raises UsageError for an unknown
    version or library, and if the locked packages bring another CUDA release.
    """
    release = _release(request)
    have = {name.lower(): version for name, version in re.findall(_LOCKED, locked)}
    for name, version in have.items():
        if re.fullmatch(_RUNTIME, name) and _numbers(version)[:2] != release:
            asked = f"layers.{request.recipe}.version asks for CUDA {request.version}"
            raise UsageError(
                f"{asked}, but the dependencies bring {name} {version}",
                "remove the version, or require a torch, jax, ... that is made for this CUDA",
            )
    extras: list[str] = []
    others: list[str] = []
    for name in request.components:
        component = _component(name, request)
        wheel = _wheel(component, release)
        if wheel in have:
            continue
        if component.toolkit:
            extras.append(name)
        else:
            others.append(wheel)
    toolkit = [f"cuda-toolkit[{','.join(sorted({*extras}))}]=={request.version}.*"] if extras else []
    return (*toolkit, *sorted({*others}))


def library_path(request: CudaRequest, locked: str, python: str, environment: str) -> str:
    """Return the LD_LIBRARY_PATH for the libraries in the locked wheels.

    `python` is the version ("3.11.2") of the interpreter in the folder `environment`.
    """
    release = _release(request)
    have = {name.lower() for name, _ in re.findall(_LOCKED, locked)}
    packages = f"{environment}/lib/python{'.'.join(python.split('.')[:2])}/site-packages/nvidia"
    # Since CUDA 13 the toolkit's wheels share one folder.
    folders = [
        f"cu{release[0]}" if component.toolkit and release >= (13,) else component.folder
        for component in request.table.components.values()
        if _wheel(component, release) in have
    ]
    return ":".join(f"{packages}/{folder}/lib" for folder in dict.fromkeys(folders))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _release(request: CudaRequest) -> tuple[int, ...]:
    release = ".".join(request.version.split(".")[:2])
    if not re.fullmatch(_VERSION, request.version) or release not in request.table.versions:
        raise UsageError(
            f"layers.{request.recipe}.version: CUDA {request.version} is not known",
            f"known: {', '.join(request.table.versions)}; to add one: `ocicaliban layers eject {request.recipe}`",
        )
    return _numbers(release)


def _component(name: str, request: CudaRequest) -> Component:
    known = request.table.components
    component = known.get(name)
    setting = f"layers.{request.recipe}.components"
    if component is None:
        raise UsageError(f"{setting}: there is no library '{name}'", nearest(name, list(known)))
    if component.since and _numbers(request.version) < _numbers(component.since):
        raise UsageError(
            f"{setting}: CUDA has '{name}' since {component.since}, but the version asked for is {request.version}",
            "remove it, or ask for a newer CUDA",
        )
    return component


def _wheel(component: Component, release: tuple[int, ...]) -> str:
    suffix = "" if component.toolkit and release >= (13,) else f"-cu{release[0]}"
    return component.wheel + suffix
