"""Find CDI devices (GPUs, mostly) and say what each adds to a container.

The specs are those of the Container Device Interface (cncf-tags/container-device-interface). Where the
installed podman is too old for a spec, or does not look where it lies, `podman_args` translates it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError, UsageError

ETC = Path("/etc/cdi")
VAR_RUN = Path("/var/run/cdi")

_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_NUMBERED = re.compile(r"(?:gpu)?([0-9]+)")
_UUID = re.compile(r"(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-.*", re.IGNORECASE)
_OLDEST = (0, 3, 0)

# What `podman -v` takes, by group: of each group one option at most. bind and rbind are left out: podman
# binds recursively by itself, and without root the kernel refuses another bind of a folder with mounts in it.
_OPTIONS = {
    option: group
    for group, options in enumerate(
        (
            ("ro", "rw"),
            ("nosuid", "suid"),
            ("nodev", "dev"),
            ("noexec", "exec"),
            ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"),
        )
    )
    for option in options
}


@frozen(kw_only=True)
class Device:
    """A device that a spec offers; `version` is the spec's cdiVersion."""

    kind: str
    name: str
    spec: Path
    version: str

    @property
    def qualified(self) -> str:
        """The name that podman's `--device` takes: `vendor.com/class=name`."""
        return f"{self.kind}={self.name}"


@frozen(kw_only=True)
class Mount:
    """A path of the host that the container sees."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()


@frozen(kw_only=True)
class DeviceNode:
    """A device node at `path` in the container; `host_path` is empty where the host's path is the same."""

    path: str
    host_path: str = ""
    permissions: str = "rwm"


@frozen(kw_only=True)
class Hook:
    """An OCI hook; `hook_name` is its stage, `args` begins with the program's name."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@frozen(kw_only=True)
class Injection:
    """What devices add to a container; `env` holds `K=V`."""

    mounts: tuple[Mount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    env: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()


@frozen(kw_only=True)
class _Spec:
    kind: str
    version: str
    edits: Injection
    devices: dict[str, Injection] = field(factory=dict)


class _FormatError(Exception):
    """A spec does not have the form that CDI asks for."""


def spec_dirs(environ: Mapping[str, str], configured: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """The folders to look for specs in: those configured, the user's own, the system's."""
    home = Path(environ.get("HOME") or "~").expanduser()
    # By the XDG specification a relative path is to be ignored.
    xdg = environ.get("XDG_CONFIG_HOME", "")
    config = Path(xdg) if os.path.isabs(xdg) else home / ".config"
    own = (home / name[2:] if name.startswith("~/") else Path(name) for name in configured)
    return tuple(dict.fromkeys((*own, config / "cdi", ETC, VAR_RUN)))


def discover(dirs: Iterable[Path]) -> tuple[Device, ...]:
    """All devices of the specs in these folders, in natural order.

    Where two folders offer the same name the earlier one wins; yet /var/run/cdi goes before /etc/cdi, as
    it does for podman.
    """
    found: dict[str, Device] = {}
    seen: set[Path] = set()
    for folder in _by_priority(dirs):
        real = Path(os.path.realpath(folder))
        if real in seen:
            continue
        seen.add(real)
        here: dict[str, Device] = {}
        for path in _spec_files(folder):
            spec = _load(path)
            for name in spec.devices:
                device = Device(kind=spec.kind, name=name, spec=path, version=spec.version)
                other = here.setdefault(device.qualified, device)
                if other is not device:
                    raise OcicalibanError(
                        f"{device.qualified} is in two CDI specs: {other.spec} and {path}",
                        "Remove one of the two files; podman takes such a device from neither.",
                    )
        found = here | found
    return tuple(sorted(found.values(), key=lambda device: (device.kind, _natural(device.name))))


def select(devices: Iterable[Device], request: str | None) -> tuple[Device, ...]:
    """The devices that a request means: "all", "0,1", a UUID, `vendor.com/class=name`, or nothing for all GPUs."""
    devices = tuple(devices)
    tokens = ["all"] if not request else [token for part in request.split(",") if (token := part.strip())]
    chosen: dict[str, Device] = {}
    for token in tokens:
        matches = _match(devices, token)
        if not matches:
            raise UsageError(f"No GPU matches {token!r}" if request else "No GPU was found", _offer(devices))
        chosen.update((device.qualified, device) for device in matches)
    if not chosen:
        raise UsageError(f"{request!r} names no GPU", _offer(devices))
    return tuple(chosen.values())


def resolve(selected: Iterable[Device]) -> Injection:
    """All that the selected devices and their specs add, merged; for the same target the last one wins."""
    edits: list[Injection] = []
    specs: set[Path] = set()
    for device in selected:
        spec = _load(device.spec)
        if spec.kind != device.kind or device.name not in spec.devices:
            raise OcicalibanError(f"{device.spec} has no {device.qualified} any more", _regenerate(device.spec))
        if device.spec not in specs:
            specs.add(device.spec)
            edits.append(spec.edits)
        edits.append(spec.devices[device.name])
    mounts = {mount.container_path: mount for edit in edits for mount in edit.mounts}
    nodes = {node.path: node for edit in edits for node in edit.devices}
    env = {pair.partition("=")[0]: pair for edit in edits for pair in edit.env}
    return Injection(
        mounts=tuple(mounts.values()),
        devices=tuple(nodes.values()),
        env=tuple(env.values()),
        hooks=tuple(dict.fromkeys(hook for edit in edits for hook in edit.hooks)),
    )


def native(
    selected: Iterable[Device],
    *,
    podman_version: tuple[int, ...],
    podman_dirs: Iterable[Path | str] = (ETC, VAR_RUN),
) -> bool:
    """Whether this podman itself can be given `--device vendor.com/class=name` for all of them."""
    if podman_version < (5,):
        newest = (0, 5, 0)
    elif podman_version < (5, 5):
        newest = (0, 8, 0)
    else:
        newest = (1, 0, 0)
    folders = {os.path.realpath(folder) for folder in podman_dirs}
    # The CDI library reads .json and .yaml only, not .yml.
    return all(
        os.path.realpath(device.spec.parent) in folders
        and device.spec.suffix in (".json", ".yaml")
        and _OLDEST <= _version(device.version) <= newest
        for device in selected
    )


def podman_args(injection: Injection, hooks_dir: str = "") -> tuple[str, ...]:
    """The same as options of `podman run`; `hooks_dir` is where the files of `hook_files` lie.

    Without `hooks_dir` hooks are left out: `buildah run` takes the other options too, but no hooks.
    """
    args: list[str] = []
    if hooks_dir and injection.hooks:
        args += ["--hooks-dir", hooks_dir]
    for mount in injection.mounts:
        _plain(mount.host_path, mount.container_path)
        kept = {_OPTIONS[option]: option for option in mount.options if option in _OPTIONS}
        args += ["-v", ":".join(filter(None, (mount.host_path, mount.container_path, ",".join(kept.values()))))]
    for node in injection.devices:
        host = node.host_path or node.path
        _plain(host, node.path)
        args += ["--device", f"{host}:{node.path}:{node.permissions}"]
    for pair in injection.env:
        args += ["--env", pair]
    return tuple(args)


def hook_files(injection: Injection) -> dict[str, str]:
    """The hooks as files for `--hooks-dir`: name to JSON; podman runs them in the order of their names."""
    files: dict[str, str] = {}
    for index, hook in enumerate(injection.hooks):
        body: dict[str, object] = {"path": hook.path}
        if hook.args:
            body["args"] = list(hook.args)
        if hook.env:
            body["env"] = list(hook.env)
        if hook.timeout is not None:
            body["timeout"] = hook.timeout
        document = {"version": "1.0.0", "hook": body, "when": {"always": True}, "stages": [hook.hook_name]}
        files[f"{index:03d}-{hook.hook_name}.json"] = json.dumps(document, indent=2) + "\n"
    return files


def missing_files(devices: Iterable[Device]) -> dict[Path, tuple[str, ...]]:
    """For each spec of these devices that names absent paths of the host: those paths.

    A driver upgrade leaves such specs behind. Specs with nothing absent are not in the result.
    """
    missing: dict[Path, tuple[str, ...]] = {}
    for path in dict.fromkeys(device.spec for device in devices):
        spec = _load(path)
        named = dict.fromkeys(name for edit in (spec.edits, *spec.devices.values()) for name in _host_paths(edit))
        if absent := tuple(name for name in named if not os.path.exists(name)):
            missing[path] = absent
    return missing


def _host_paths(edit: Injection) -> Iterator[str]:
    yield from (mount.host_path for mount in edit.mounts)
    yield from (node.host_path or node.path for node in edit.devices)
    # A startContainer hook is looked up inside the container.
    yield from (hook.path for hook in edit.hooks if hook.hook_name != "startContainer")


def _plain(*paths: str) -> None:
    for path in paths:
        # podman takes a relative path for the name of a volume, which it would create.
        if not path.startswith("/") or ":" in path:
            raise OcicalibanError(
                f"The CDI spec asks for {path!r}, which podman's options cannot express",
                "Only absolute paths without a colon can be passed on.",
            )


def _match(devices: Sequence[Device], token: str) -> list[Device]:
    """The devices that one word of a request means; none if it means nothing."""
    if "=" in token:
        return [device for device in devices if device.qualified == token]
    if token == "all":
        return _all(devices)
    gpus = [device for device in devices if device.kind.endswith("/gpu")]
    number = _NUMBERED.fullmatch(token)
    aliases = [token, number[1], f"gpu{number[1]}"] if number else [token, f"GPU-{token}"]
    for among in (gpus, devices):
        for alias in aliases:
            matches = [device for device in among if device.name.casefold() == alias.casefold()]
            if len({device.kind for device in matches}) > 1:
                names = " or ".join(device.qualified for device in matches)
                raise UsageError(f"{token!r} may mean several devices", f"Say which: {names}")
            if matches:
                return matches
    return []


def _all(devices: Sequence[Device]) -> list[Device]:
    """All GPUs: by kind the device "all", or else those with a number, or else those with a UUID."""
    chosen: list[Device] = []
    for kind in dict.fromkeys(device.kind for device in devices if device.kind.endswith("/gpu")):
        members = [device for device in devices if device.kind == kind]
        chosen += (
            [device for device in members if device.name == "all"]
            or [device for device in members if _NUMBERED.fullmatch(device.name)]
            or [device for device in members if _UUID.fullmatch(device.name)]
        )
    return chosen or [device for device in devices if device.name == "all"]


def _offer(devices: Sequence[Device]) -> str:
    if not devices:
        return f"There is no CDI device. {_regenerate(ETC / 'nvidia.yaml')}"
    return "There are: " + ", ".join(device.qualified for device in devices)


def _regenerate(path: Path) -> str:
    return f"Generate the spec anew: `nvidia-ctk cdi generate --output={shlex.quote(str(path))}`"


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part]


def _version(text: str) -> tuple[int, ...]:
    match = _VERSION.match(text)
    return tuple(int(part) for part in match.groups()) if match else (0,)


def _by_priority(dirs: Iterable[Path]) -> list[Path]:
    ordered = list(dict.fromkeys(dirs))
    if ETC in ordered and VAR_RUN in ordered:
        first, second = sorted((ordered.index(ETC), ordered.index(VAR_RUN)))
        ordered[first], ordered[second] = VAR_RUN, ETC
    return ordered


def _spec_files(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".yml") and not path.is_dir()
        )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise OcicalibanError(
            f"Cannot look for CDI specs in {folder}: {error.strerror}", "Make the folder readable for your user."
        ) from error


def _load(path: Path) -> _Spec:
    try:
        status = path.stat()
        return _parse(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        raise OcicalibanError(f"Cannot read the CDI spec {path}: {error.strerror}", _regenerate(path)) from error
    except _FormatError as error:
        raise OcicalibanError(f"The CDI spec {path} is corrupt: {error}", _regenerate(path)) from error


@lru_cache(maxsize=64)
def _parse(path: Path, *_state: int) -> _Spec:
    """Read a spec; `_state` (time, size, inode) only tells a changed file from the cached one."""
    raw = path.read_bytes()
    return _spec(_read_json(raw) if path.suffix == ".json" else _read_yaml(raw, path))


def _read_json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _FormatError(f"it is no JSON ({error})") from error


def _read_yaml(raw: bytes, path: Path) -> object:
    try:
        yaml: Any = importlib.import_module("yaml")  # late: slow to import, and often there are JSON specs only
    except ImportError as error:
        raise OcicalibanError(
            f"Reading {path} needs PyYAML, which is not installed", "Install it, `pip install pyyaml`, or use JSON."
        ) from error
    try:
        return yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _FormatError(f"it is no YAML ({' '.join(str(error).split())})") from error


def _spec(data: object) -> _Spec:
    top = _table(data, "the spec")
    version = _text(top, "cdiVersion", "the spec")
    if not _VERSION.match(version):
        raise _FormatError(f"cdiVersion is {version!r}")
    kind = _text(top, "kind", "the spec")
    if not _KIND.fullmatch(kind):
        raise _FormatError(f"kind is {kind!r}, not vendor/class")
    if not isinstance(top.get("devices"), list):
        raise _FormatError("it has no devices")
    devices: dict[str, Injection] = {}
    for item in _items(top, "devices"):
        name = _text(item, "name", "a device")
        if not _NAME.fullmatch(name):
            raise _FormatError(f"a device's name is {name!r}")
        if name in devices:
            raise _FormatError(f"the device {name!r} is there twice")
        devices[name] = _edits(item.get("containerEdits"))
    return _Spec(kind=kind, version=version, edits=_edits(top.get("containerEdits")), devices=devices)


def _edits(data: object) -> Injection:
    if data is None:
        return Injection()
    table = _table(data, "containerEdits")
    env = _texts(table, "env")
    for pair in env:
        if pair.find("=") < 1:
            raise _FormatError(f"env has {pair!r}, not NAME=VALUE")
    return Injection(
        mounts=tuple(
            Mount(
                host_path=_text(item, "hostPath", "a mount"),
                container_path=_text(item, "containerPath", "a mount"),
                options=_texts(item, "options"),
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
                timeout=_whole(item, "timeout"),
            )
            for item in _items(table, "hooks")
        ),
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


def _whole(table: Mapping[str, object], key: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _FormatError(f"{key} is not a number")
    return value


def _stage(name: str) -> str:
    # It becomes part of a file's name.
    if not name.isalnum():
        raise _FormatError(f"hookName is {name!r}")
    return name
