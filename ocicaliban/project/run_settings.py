"""Read the tables `run` of the configuration: what containers that run here get of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import evolve, fields, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.key_lines import Keys
from ocicaliban.formats.toml import place, structure
from ocicaliban.model.project import RunSettings, RunTable
from ocicaliban.model.resources import parse_mount, parse_size

_NAME = re.compile(r"[^=\s\0]+")
_KEYS = tuple(each.name for each in fields(RunSettings))


@frozen(kw_only=True)
class Where:
    """The file that a table is in, its text, the keys that lead to the table, and the folder of relative paths."""

    path: Path
    text: str
    keys: Keys = ("run",)
    folder: Path | None = None

    def at(self, *keys: str) -> str:
        """Return file and line of a key of the table."""
        return place(self.path, self.text, (*self.keys, *keys))


def read(raw: Any, where: Where) -> RunTable:
    """Return a table `run`. A table in it, apart from `env`, has the settings of the mode with its name.

    Raises UsageError with file and line for a mistake.
    """
    if not isinstance(raw, dict):
        raise UsageError(f"{where.at()}: 'run' must be a table", '[run]\nshm_size = "8g"')
    modes = {name: value for name, value in raw.items() if isinstance(value, dict) and name not in _KEYS}
    own = {name: value for name, value in raw.items() if name not in modes}
    for name in own:
        if name not in _KEYS:
            raise UsageError(f"{where.at(name)}: unknown key 'run.{name}'", nearest(name, _KEYS))
    return RunTable(
        all_modes=_settings(own, where),
        modes={name: _settings(table, evolve(where, keys=(*where.keys, name))) for name, table in modes.items()},
    )


def _settings(raw: dict[str, Any], where: Where) -> RunSettings:
    found = structure(raw, RunSettings, path=where.path, text=where.text, keys=where.keys)
    assert isinstance(found, RunSettings)
    for name in (*found.env, *found.pass_env):
        if not _NAME.fullmatch(name):
            key = "env" if name in found.env else "pass_env"
            hint = 'pass_env = ["NAME"], or env = { NAME = "value" }'
            raise UsageError(f"{where.at(key)}: '{name}' is not the name of a variable", hint)
    if found.shm_size and not parse_size(found.shm_size):
        raise UsageError(f"{where.at('shm_size')}: '{found.shm_size}' is not a size", 'shm_size = "8g"')
    if found.workdir and not found.workdir.startswith("/"):
        hint = f'workdir = "/usr/app/{found.workdir}"'
        raise UsageError(f"{where.at('workdir')}: '{found.workdir}' is not an absolute path", hint)
    return evolve(found, volumes=tuple(_volume(each, where) for each in found.volumes))


def _volume(text: str, where: Where) -> str:
    """Return a volume with an absolute source. Raises UsageError if it has none in our folder, or another form."""
    source, colon, rest = text.partition(":")
    if colon and source.startswith((".", "~")):
        if source.startswith(".") and where.folder is None:
            hint = "begin it with / or ~/"
            raise UsageError(f"{where.at('volumes')}: '{source}' in volumes is not an absolute path", hint)
        text = f"{os.path.normpath(os.path.join(where.folder or '/', os.path.expanduser(source)))}:{rest}"
    if parse_mount(text) is None:
        hint = 'volumes = ["/data/images:/data:ro"]'
        raise UsageError(f"{where.at('volumes')}: '{text}' is not of the form SOURCE:TARGET[:OPTIONS]", hint)
    return text


def merged(settings: Iterable[RunSettings]) -> RunSettings:
    """Return what holds of several settings, of which the later ones take precedence."""
    whole = RunSettings()
    for each in settings:
        targets = {_target(volume) for volume in each.volumes}
        whole = RunSettings(
            env={**{name: value for name, value in whole.env.items() if name not in each.pass_env}, **each.env},
            pass_env=tuple(dict.fromkeys([*(name for name in whole.pass_env if name not in each.env), *each.pass_env])),
            volumes=(*(volume for volume in whole.volumes if _target(volume) not in targets), *each.volumes),
            shm_size=each.shm_size or whole.shm_size,
            workdir=each.workdir or whole.workdir,
            podman_args=(*whole.podman_args, *each.podman_args),
            caches=whole.caches if each.caches is None else each.caches,
        )
    return whole


def _target(volume: str) -> str:
    parsed = parse_mount(volume)
    return os.path.normpath(parsed.target) if parsed else volume
