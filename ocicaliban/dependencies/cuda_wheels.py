"""Which of NVIDIA's wheels give the CUDA that a project asks for, and where their libraries lie; pure but for `table`.

NVIDIA's `cuda-toolkit` on the Python index holds no files: each of its versions is one CUDA release, and its extras
name the wheels that belong together in it. So no versions of single libraries need to be listed here.
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
    """One library: its wheel (without the `-cu12`), its folder in the package `nvidia`, the CUDA it came with.

    With `toolkit` it is an extra of cuda-toolkit; the others (cudnn, nccl) have versions of their own.
    """

    wheel: str
    folder: str
    since: str = ""
    toolkit: bool = True


@frozen(kw_only=True)
class Table:
    """What versions.toml beside the recipe holds; `source` and `date` tell where it was read, and when."""

    source: str
    date: str
    versions: tuple[str, ...]
    components: dict[str, Component]


@frozen(kw_only=True)
class Request:
    """The parameters of the recipe `cuda`, with the table that they are looked up in."""

    version: str
    components: tuple[str, ...]
    known: Table


def table(path: Path) -> Table:
    """The table of versions in the file at `path`; raises UsageError with file, line and key where it is wrong."""
    text, raw = read_toml(path)
    found = structure(raw, Table, path=path, text=text)
    assert isinstance(found, Table)
    return found


def wheels(request: Request, locked: str) -> tuple[str, ...]:
    """The requirements that have to be added to those in `locked` (uv's text) for what is asked for.

    What is there already stays as it is: torch and jax bring most of it. Raises UsageError for a version or a component
    that is not known, and where the locked packages bring another CUDA.
    """
    release = _release(request)
    have = {name.lower(): version for name, version in re.findall(_LOCKED, locked)}
    for name, version in have.items():
        if re.fullmatch(_RUNTIME, name) and _numbers(version)[:2] != release:
            raise UsageError(
                f"layers.cuda.version asks for CUDA {request.version}, but the dependencies bring {name} {version}",
                "leave the version out, or ask for a torch, jax, ... that is made for this CUDA",
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


def library_path(request: Request, locked: str, python: str, environment: str = "/opt/venv") -> str:
    """The value of LD_LIBRARY_PATH with which the libraries of the locked wheels are found.

    `python` is the version of the interpreter ("3.11.2") of the virtual environment at `environment`.
    """
    release = _release(request)
    have = {name.lower() for name, _ in re.findall(_LOCKED, locked)}
    packages = f"{environment}/lib/python{'.'.join(python.split('.')[:2])}/site-packages/nvidia"
    # Since CUDA 13 the toolkit's wheels share one folder.
    folders = [
        f"cu{release[0]}" if component.toolkit and release >= (13,) else component.folder
        for component in request.known.components.values()
        if _wheel(component, release) in have
    ]
    return ":".join(f"{packages}/{folder}/lib" for folder in dict.fromkeys(folders))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _release(request: Request) -> tuple[int, ...]:
    release = ".".join(request.version.split(".")[:2])
    if not re.fullmatch(_VERSION, request.version) or release not in request.known.versions:
        raise UsageError(
            f"layers.cuda.version: CUDA {request.version} is not known",
            f"known: {', '.join(request.known.versions)}; `ocicaliban layers eject cuda` lets you add to versions.toml",
        )
    return _numbers(release)


def _component(name: str, request: Request) -> Component:
    known = request.known
    component = known.components.get(name)
    if component is None:
        raise UsageError(f"layers.cuda.components: there is no '{name}'", nearest(name, list(known.components)))
    if component.since and _numbers(request.version) < _numbers(component.since):
        raise UsageError(
            f"layers.cuda.components: '{name}' came with CUDA {component.since}, and {request.version} is asked for",
            "leave it out, or ask for a newer CUDA",
        )
    return component


def _wheel(component: Component, release: tuple[int, ...]) -> str:
    suffix = "" if component.toolkit and release >= (13,) else f"-cu{release[0]}"
    return component.wheel + suffix
