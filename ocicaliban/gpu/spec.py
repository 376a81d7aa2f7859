"""Read one spec of the Container Device Interface (CDI): the devices it offers, and their container edits.

The format is cncf-tags/container-device-interface, in JSON or YAML. Unknown fields are ignored, so that newer specs
can be read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.yaml import NotYaml, parse_yaml

# Patterns are compiled on first use: most commands need none of them.
_KIND = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_VERSION = r"v?(\d+)\.(\d+)\.(\d+)"


@frozen(kw_only=True)
class MountEdit:
    """Mount a path of the host into the container or, with the type "tmpfs", an empty folder in memory."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


@frozen(kw_only=True)
class DeviceNode:
    """Make a device node at `path` in the container; an empty `host_path` means the same path on the host."""

    path: str
    host_path: str = ""
    permissions: str = "rwm"


@frozen(kw_only=True)
class Hook:
    """Run an OCI hook; `hook_name` is its stage, and `args` start with the name of the program."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@frozen(kw_only=True)
class ContainerEdits:
    """What devices add to a container; `env` holds "NAME=VALUE", `gids` are extra groups of its first process."""

    mounts: tuple[MountEdit, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    env: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    gids: tuple[int, ...] = ()


@frozen(kw_only=True)
class Spec:
    """A CDI spec; `edits` apply to each of its devices, in addition to the device's own in `devices`."""

    kind: str
    version: str
    edits: ContainerEdits
    devices: dict[str, ContainerEdits] = field(factory=dict)


class _FormatError(Exception):
    """A spec does not have the form that CDI requires."""


def load(path: Path) -> Spec:
    """Read the spec in the file `path`; raises OcicalibanError if it is unreadable or malformed."""
    try:
        status = path.stat()
        return _parse(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        raise OcicalibanError(f"cannot read the CDI spec {path}: {error.strerror}", regenerate(path)) from error
    except _FormatError as error:
        raise OcicalibanError(f"the CDI spec {path} is corrupt: {error}", regenerate(path)) from error


def regenerate(path: Path) -> str:
    """Return the hint to generate the spec `path` again."""
    return f"generate the spec again (for NVIDIA: `nvidia-ctk cdi generate --output={shlex.quote(str(path))}`)"


def version_numbers(text: str) -> tuple[int, ...]:
    """Return a spec's cdiVersion as numbers, such as (0, 5, 0); (0,) if it has another form."""
    match = re.match(_VERSION, text)
    return tuple(int(part) for part in match.groups()) if match else (0,)


@lru_cache(maxsize=64)
def _parse(path: Path, *_state: int) -> Spec:
    """Read a spec; `_state` (time, size, inode) tells a changed file from the cached one."""
    raw = path.read_bytes()
    return _spec(_read_json(raw) if path.suffix == ".json" else _read_yaml(raw, path))


def _read_json(raw: bytes) -> object:
    try:
        return parse_json(raw)
    except ValueError as error:
        raise _FormatError(f"invalid JSON ({error})") from error


def _read_yaml(raw: bytes, path: Path) -> object:
    try:
        return parse_yaml(raw)
    except ImportError as error:
        raise OcicalibanError(
            f"reading {path} needs PyYAML, which is not installed", "`pip install pyyaml`, or convert the spec to JSON"
        ) from error
    except NotYaml as error:
        line = f", line {error.line}" if error.line else ""
        raise _FormatError(f"invalid YAML ({' '.join(str(error).split())}{line})") from error


def _spec(data: object) -> Spec:
    top = _table(data, "the spec")
    version = _text(top, "cdiVersion", "the spec")
    if not re.match(_VERSION, version):
        raise _FormatError(f"cdiVersion is {version!r}, not a version such as 0.5.0")
    kind = _text(top, "kind", "the spec")
    if not re.fullmatch(_KIND, kind):
        raise _FormatError(f"kind is {kind!r}, not vendor/class")
    if not isinstance(top.get("devices"), list):
        raise _FormatError("the list `devices` is missing")
    devices: dict[str, ContainerEdits] = {}
    for item in _items(top, "devices"):
        name = _text(item, "name", "a device")
        if not re.fullmatch(_NAME, name):
            raise _FormatError(f"a device has the invalid name {name!r}")
        if name in devices:
            raise _FormatError(f"two devices have the name {name!r}")
        devices[name] = _edits(item.get("containerEdits"))
    return Spec(kind=kind, version=version, edits=_edits(top.get("containerEdits")), devices=devices)


def _edits(data: object) -> ContainerEdits:
    if data is None:
        return ContainerEdits()
    table = _table(data, "containerEdits")
    env = _texts(table, "env")
    for pair in env:
        if pair.find("=") < 1:
            raise _FormatError(f"env has {pair!r}, not NAME=VALUE")
    return ContainerEdits(
        mounts=tuple(
            MountEdit(
                host_path=_text(item, "hostPath", "a mount"),
                container_path=_text(item, "containerPath", "a mount"),
                options=_texts(item, "options"),
                type=_text(item, "type", "a mount", ""),
            )
            for item in _items(table, "mounts")
        ),
        devices=tuple(
            DeviceNode(
                path=_text(item, "path", "a deviceNode"),
                host_path=_text(item, "hostPath", "a deviceNode", ""),
                permissions=_text(item, "permissions", "a deviceNode", "") or "rwm",
            )
            for item in _items(table, "deviceNodes")
        ),
        env=env,
        hooks=tuple(
            Hook(
                hook_name=_stage(_text(item, "hookName", "a hook")),
                path=_text(item, "path", "a hook"),
                args=_texts(item, "args"),
                env=_texts(item, "env"),
                timeout=_integer(item, "timeout"),
            )
            for item in _items(table, "hooks")
        ),
        gids=_gids(table),
    )


def _table(data: object, what: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise _FormatError(f"{what} is not a table of names and values")
    return {str(key): value for key, value in data.items()}


def _sequence(table: Mapping[str, object], key: str) -> list[object]:
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _FormatError(f"{key} is not a list")
    return value


def _items(table: Mapping[str, object], key: str) -> list[dict[str, object]]:
    return [_table(item, f"an entry of {key}") for item in _sequence(table, key)]


def _scalar(value: object, what: str) -> str:
    # YAML reads an unquoted device name 0 as a number.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _FormatError(f"{what} is not a string")
    return str(value)


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    return tuple(_scalar(item, f"an entry of {key}") for item in _sequence(table, key))


def _text(table: Mapping[str, object], key: str, what: str, default: str | None = None) -> str:
    value = table.get(key)
    if value is None and default is not None:
        return default
    text = "" if value is None else _scalar(value, f"{key} of {what}")
    if not text and default is None:
        raise _FormatError(f"{what} has no {key}")
    return text


def _integer(table: Mapping[str, object], key: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _FormatError(f"{key} is not a number")
    return value


def _gids(table: Mapping[str, object]) -> tuple[int, ...]:
    gids = _sequence(table, "additionalGids")
    if not all(type(gid) is int and gid >= 0 for gid in gids):
        raise _FormatError("additionalGids is not a list of group numbers")
    # The specification says to ignore group 0.
    return tuple(gid for gid in gids if isinstance(gid, int) and gid)


def _stage(name: str) -> str:
    # The name becomes part of a file name.
    if not name.isalnum():
        raise _FormatError(f"hookName is {name!r}, not a stage such as createContainer")
    return name
