"""A project, and what planning knows of the world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Value, Variant


@frozen(kw_only=True)
class Push:
    """The table `push` of a configuration: the repository that images are pushed to."""

    repository: str = ""


@frozen(kw_only=True)
class RunSettings:
    """The keys of a table `run`: what containers that run here get, spelled as podman's options are.

    `pass_env` are variables that they get with the values that they have here. With `caches` (None: the default) they
    keep what they put into ~/.cache.
    """

    env: dict[str, str] = field(factory=dict)
    pass_env: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    shm_size: str = ""
    workdir: str = ""
    podman_args: tuple[str, ...] = ()
    caches: bool | None = None


@frozen(kw_only=True)
class RunTable:
    """A table `run`: what holds in all modes, and what in one of them, which takes precedence."""

    all_modes: RunSettings = field(factory=RunSettings)
    modes: dict[str, RunSettings] = field(factory=dict)

    def of_mode(self, mode: str) -> tuple[RunSettings, ...]:
        """Return the settings that hold in a mode, the weakest first."""
        return self.all_modes, self.modes.get(mode, RunSettings())


@frozen(kw_only=True)
class Project:
    """A folder of research code, and its configuration.

    `allow_secrets` are files that may contain credentials. `log_size_max` is how large a job's log becomes ("": as the
    user's settings say).
    """

    root: Path
    layers: dict[str, dict[str, object]] = field(factory=dict)
    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    allow_secrets: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)
    log_size_max: str = ""
    push: Push = field(factory=Push)
    targets: dict[str, dict[str, object]] = field(factory=dict)
    run: RunTable = field(factory=RunTable)


@frozen(kw_only=True)
class Instance:
    """One of several layers that a recipe makes of an input: the layer's label, and the values that only it has."""

    label: str
    values: Mapping[str, Value]


@frozen(kw_only=True)
class Snapshot:
    """All that planning needs to know of the world, read beforehand.

    `values` are what recipes can refer to, from all kinds of input. `instances` has each kind of input: the layers
    that a recipe with this input makes, or None if it makes one. `trees` are the digests of the trees that a step can
    copy, or None if no files were read. `one_uid` says that a container here has one user, root.
    """

    variant: Variant
    base: Base
    values: Mapping[str, Value] = field(factory=dict)
    instances: Mapping[str, tuple[Instance, ...] | None] = field(factory=dict)
    trees: frozenset[str] | None = frozenset()
    one_uid: bool = False
