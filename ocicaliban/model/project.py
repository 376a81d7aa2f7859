"""A project, and everything that planning knows of the world."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant


@frozen(kw_only=True)
class Push:
    """The table `push` of a configuration: the `repository` that images go to."""

    repository: str = ""


@frozen(kw_only=True)
class Project:
    """A folder of research code and what its configuration says."""

    root: Path
    layers: dict[str, dict[str, object]] = field(factory=dict)
    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)
    push: Push = field(factory=Push)


@frozen(kw_only=True)
class Snapshot:
    """All that planning must know of the world, read beforehand.

    `source` is a tree's digest; `parts` the same divided (see `tree_parts.divide`), each with its folder, the last one
    with none, or nothing where it is not; `data` folders with theirs; `requirements` the groups of locked
    dependencies, each with its label (see `weights`); `cuda_libraries` the folders in which CUDA's libraries are found
    (see `cuda`); `jupyter` what a notebook's server needs beside the requirements; `shell` the package of the shell
    that is wanted beside bash.
    """

    variant: Variant
    base: Base
    source: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    requirements: tuple[tuple[str, str], ...] = ()
    cuda_libraries: str = ""
    jupyter: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    shell: str = ""
