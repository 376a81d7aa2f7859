"""Find CDI devices (GPUs, mostly) and say what each adds to a container.

The specs are those of the Container Device Interface (cncf-tags/container-device-interface). Where the
installed podman is too old for a spec, or does not look where it lies, `podman_args` translates it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.system import files as paths

ETC = Path("/etc/cdi")
VAR_RUN = Path("/var/run/cdi")

# Patterns are compiled where they are used first: most commands need none of them.
_KIND = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_VERSION = r"v?(\d+)\.(\d+)\.(\d+)"
_NUMBERED = r"(?:gpu)?([0-9]+)"
_UUID = r"(?i)(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-.*"
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
    """A path of the host that the container sees; or, of type "tmpfs", an empty folder in memory."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


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
    """What devices add to a container; `env` holds `K=V`, `gids` are groups of its first process."""

    mounts: tuple[Mount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    env: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    gids: tuple[int, ...] = ()


@frozen(kw_only=True)
class Found:
    """What looking for specs gave: the devices in natural order, and one fault for each spec that is of no use."""

    devices: tuple[Device, ...] = ()
    faults: tuple[OcicalibanError, ...] = ()


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
    own = (home / name[2:] if name.startswith("~/") else Path(name) for name in configured)
    return tuple(dict.fromkeys((*own, paths.settings(environ) / "cdi", ETC, VAR_RUN)))


def discover(dirs: Iterable[Path]) -> Found:
    """All devices of the specs in these folders, and what is wrong with those that could not be read.

    Where two folders offer the same name the earlier one wins; yet /var/run/cdi goes before /etc/cdi, as
    it does for podman. A name that is twice in one folder is a fault, and offered by neither.
    """
    found: dict[str, Device] = {}
    faults: list[OcicalibanError] = []
    ambiguous: set[str] = set()
    seen: set[Path] = set()
    for folder in _by_priority(dirs):
        real = Path(os.path.realpath(folder))
        if real in seen:
            continue
        seen.add(real)
        here: dict[str, Device] = {}
        try:
            paths = _spec_files(folder)
        except OcicalibanError as fault:
            faults.append(fault)
            continue
        for path in paths:
            try:
                spec = _load(path)
            except OcicalibanError as fault:
                faults.append(fault)
                continue
            for name in spec.devices:
                device = Device(kind=spec.kind, name=name, spec=path, version=spec.version)
                other = here.setdefault(device.qualified, device)
                if other is not device and device.qualified not in found:
                    ambiguous.add(device.qualified)
                    faults.append(
                        OcicalibanError(
                            f"{device.qualified} is in two CDI specs: {other.spec} and {path}",
                            "remove one of the two files; podman takes such a device from neither",
                        )
                    )
        found = here | found
    devices = (device for device in found.values() if device.qualified not in ambiguous)
    ordered = sorted(devices, key=lambda device: (device.kind, _natural(device.name)))
    return Found(devices=tuple(ordered), faults=tuple(faults))


def choose(found: Found, want: bool | None, request: str | None) -> tuple[Device, ...]:
    """The devices to use of those found; `want` tells whether a GPU must (or must not) be used, None leaves it open.

    `request` is that of `select`; without one, all GPUs are used. A spec that cannot be read only counts where the
    others offer nothing that fits. Raises OcicalibanError when a GPU is asked for and there is none (never a silent
    run on the CPU), or when its spec names files that are not there.
    """
    if want is False:
        if request is not None:
            raise UsageError("--nogpu and --gpus exclude each other", "leave one of the two out")
        return ()
    if request is not None and not request.strip():
        raise UsageError("--gpus names no GPU", "for example --gpus 0,1 or --gpus all; without a GPU: --nogpu")
    if not (found.devices if request else _all(found.devices)):
        if found.faults:
            raise _or_the_cpu(found.faults[0])
        if want or request:
            raise OcicalibanError("there is no GPU here: no CDI spec offers one", _offer(found.devices))
        return ()
    try:
        chosen = select(found.devices, request)
    except UsageError:
        if found.faults:
            raise found.faults[0] from None
        raise
    if absent := tuple(name for name in dict.fromkeys(_host_paths(resolve(chosen))) if not os.path.exists(name)):
        specs = " and ".join(str(path) for path in dict.fromkeys(device.spec for device in chosen))
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        message = f"the CDI spec {specs} names what is not there: {', '.join(absent[:3])}{more}"
        raise _or_the_cpu(OcicalibanError(message, f"after a driver's upgrade, {_regenerate(chosen[0].spec)}"))
    return chosen


def _or_the_cpu(fault: OcicalibanError) -> OcicalibanError:
    return OcicalibanError(fault.message, f"{fault.hint}; or use the CPU: --nogpu")


def select(devices: Iterable[Device], request: str | None) -> tuple[Device, ...]:
    """The devices that a request means: "all", "0,1", a UUID, `vendor.com/class=name`, or nothing for all GPUs."""
    devices = tuple(devices)
    tokens = ["all"] if not request else [token for part in request.split(",") if (token := part.strip())]
    chosen: dict[str, Device] = {}
    for token in tokens:
        matches = _match(devices, token)
        if not matches:
            raise UsageError(f"no GPU matches {token!r}" if request else "no GPU was found", _offer(devices))
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
        gids=tuple(dict.fromkeys(gid for edit in edits for gid in edit.gids)),
    )


def native(
    selected: Iterable[Device],
    *,
    podman_version: tuple[int, ...],
    podman_dirs: Iterable[Path | str] = (),
) -> bool:
    """Whether this podman itself can be given `--device vendor.com/class=name` for all of them.

    `podman_dirs` are the folders that it reads specs from: the system's, unless told otherwise.
    """
    if podman_version < (5,):
        newest = (0, 5, 0)
    elif podman_version < (5, 5):
        newest = (0, 8, 0)
    else:
        newest = (1, 0, 0)
    folders = {os.path.realpath(folder) for folder in podman_dirs or (ETC, VAR_RUN)}
    # The CDI library reads .json and .yaml only, not .yml.
    return all(
        os.path.realpath(device.spec.parent) in folders
        and device.spec.suffix in (".json", ".yaml")
        and _OLDEST <= _version(device.version) <= newest
        for device in selected
    )


def arguments(selected: Sequence[Device], podman_version: tuple[int, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """What gives a container these devices: options of `podman run`, and files for podman's `--hooks-dir`.

    podman finds the devices by their names where it can, else it is told all that their specs add.
    """
    injection = resolve(selected)
    # Without root, podman itself passes over a node's hostPath; as options it binds what we say.
    moved = any(node.host_path not in ("", node.path) for node in injection.devices)
    if not moved and native(selected, podman_version=podman_version):
        return tuple(word for device in selected for word in ("--device", device.qualified)), {}
    return podman_args(injection), hook_files(injection)


def podman_args(injection: Injection) -> tuple[str, ...]:
    """The same as options of `podman run`, but for the hooks (see `hook_files`)."""
    args: list[str] = []
    for mount in injection.mounts:
        kept = {_OPTIONS[option]: option for option in mount.options if option in _OPTIONS}
        if mount.type == "tmpfs":
            _plain(mount.container_path)
            args += ["--tmpfs", ":".join(filter(None, (mount.container_path, ",".join(kept.values()))))]
            continue
        _plain(mount.host_path, mount.container_path)
        args += ["-v", ":".join(filter(None, (mount.host_path, mount.container_path, ",".join(kept.values()))))]
    for node in injection.devices:
        host = node.host_path or node.path
        _plain(host, node.path)
        args += ["--device", f"{host}:{node.path}:{node.permissions}"]
    for pair in injection.env:
        args += ["--env", pair]
    for gid in injection.gids:
        args += ["--group-add", str(gid)]
    return tuple(args)


def hook_files(injection: Injection) -> dict[str, str]:
    """The hooks as files for podman's `--hooks-dir`: name to JSON; they run in the order of their names."""
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


def hooks_script(files: Mapping[str, str]) -> str:
    """Lines of shell that write these files to a folder of their own, "$hooks", which goes when the shell does."""
    lines = ["hooks=$(mktemp -d)", """trap 'rm -rf "$hooks"' EXIT"""]
    lines += [f"printf '%s' {shlex.quote(text)} >\"$hooks\"/{shlex.quote(name)}" for name, text in files.items()]
    return "\n".join(lines) + "\n"


def write_hooks(files: Mapping[str, str], folder: Path) -> Path:
    """Write these files to a folder below `folder` that is named after them, and so always the same; returns it.

    It is kept: a container that runs needs it to its end, and the next run has nothing to write.
    """
    place = folder / hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:32]
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8")
        try:
            new.rename(place)
        except OSError:
            # Another process was faster; what it wrote is the same.
            shutil.rmtree(new)
    return place


def options(selected: Sequence[Device], podman_version: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """podman's global options, and those of `run` and `create`, that give a container these devices.

    There are global ones where their specs have hooks that podman does not read: hooks are per container, and a service
    has one folder of them, so such a container is made by the command line. Writes the hooks to our cache.
    """
    own, hooks = arguments(selected, podman_version)
    return (("--hooks-dir", str(write_hooks(hooks, paths.cache() / "hooks"))) if hooks else ()), own


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


def host_files(devices: Iterable[Device]) -> tuple[str, ...]:
    """The paths of the host that these devices bring into a container, and their hooks' programs."""
    chosen = tuple(devices)
    return tuple(_host_paths(resolve(chosen))) if chosen else ()


def _host_paths(edit: Injection) -> Iterator[str]:
    yield from (mount.host_path for mount in edit.mounts if mount.type != "tmpfs")
    yield from (node.host_path or node.path for node in edit.devices)
    # A startContainer hook is looked up inside the container.
    yield from (hook.path for hook in edit.hooks if hook.hook_name != "startContainer")


def _plain(*paths: str) -> None:
    for path in paths:
        # podman takes a relative path for the name of a volume, which it would create.
        if not path.startswith("/") or ":" in path:
            raise OcicalibanError(
                f"the CDI spec asks for {path!r}, which podman's options cannot express",
                "only absolute paths without a colon can be passed on",
            )


def _match(devices: Sequence[Device], token: str) -> list[Device]:
    """The devices that one word of a request means; none if it means nothing."""
    if "=" in token:
        return [device for device in devices if device.qualified == token]
    if token == "all":
        return _all(devices) or [device for device in devices if device.name == "all"]
    gpus = [device for device in devices if device.kind.endswith("/gpu")]
    number = re.fullmatch(_NUMBERED, token)
    aliases = [token, number[1], f"gpu{number[1]}"] if number else [token, f"GPU-{token}"]
    for among in (gpus, devices):
        for alias in aliases:
            matches = [device for device in among if device.name.casefold() == alias.casefold()]
            if len({device.kind for device in matches}) > 1:
                names = " or ".join(device.qualified for device in matches)
                raise UsageError(f"{token!r} may mean several devices", f"say which: {names}")
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
            or [device for device in members if re.fullmatch(_NUMBERED, device.name)]
            or [device for device in members if re.fullmatch(_UUID, device.name)]
        )
    return chosen


def _offer(devices: Sequence[Device]) -> str:
    if not devices:
        return "with an NVIDIA driver: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; else use --nogpu"
    return "there are: " + ", ".join(device.qualified for device in devices)


def _regenerate(path: Path) -> str:
    return f"generate it anew (NVIDIA's: `nvidia-ctk cdi generate --output={shlex.quote(str(path))}`)"


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part]


def _version(text: str) -> tuple[int, ...]:
    match = re.match(_VERSION, text)
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
            f"cannot look for CDI specs in {folder}: {error.strerror}", "make the folder readable for your user"
        ) from error


def _load(path: Path) -> _Spec:
    try:
        status = path.stat()
        return _parse(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        raise OcicalibanError(f"cannot read the CDI spec {path}: {error.strerror}", _regenerate(path)) from error
    except _FormatError as error:
        raise OcicalibanError(f"the CDI spec {path} is corrupt: {error}", _regenerate(path)) from error


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
            f"reading {path} needs PyYAML, which is not installed", "install it, `pip install pyyaml`, or use JSON"
        ) from error
    try:
        return yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _FormatError(f"it is no YAML ({' '.join(str(error).split())})") from error


def _spec(data: object) -> _Spec:
    top = _table(data, "the spec")
    version = _text(top, "cdiVersion", "the spec")
    if not re.match(_VERSION, version):
        raise _FormatError(f"cdiVersion is {version!r}")
    kind = _text(top, "kind", "the spec")
    if not re.fullmatch(_KIND, kind):
        raise _FormatError(f"kind is {kind!r}, not vendor/class")
    if not isinstance(top.get("devices"), list):
        raise _FormatError("it has no devices")
    devices: dict[str, Injection] = {}
    for item in _items(top, "devices"):
        name = _text(item, "name", "a device")
        if not re.fullmatch(_NAME, name):
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
                timeout=_whole(item, "timeout"),
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


def _whole(table: Mapping[str, object], key: str) -> int | None:
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
    # By the specification group 0 is to be ignored.
    return tuple(gid for gid in gids if isinstance(gid, int) and gid)


def _stage(name: str) -> str:
    # It becomes part of a file's name.
    if not name.isalnum():
        raise _FormatError(f"hookName is {name!r}")
    return name
