"""Find the CDI devices (mostly GPUs) of this machine, and what each adds to a container."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import spec as specs
from ocicaliban.gpu.spec import ContainerEdits
from ocicaliban.system import files

ETC = Path("/etc/cdi")
VAR_RUN = Path("/var/run/cdi")


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
class Discovery:
    """The devices found, in natural order, and one fault for each spec that could not be used."""

    devices: tuple[Device, ...] = ()
    faults: tuple[OcicalibanError, ...] = ()


def spec_dirs(environ: Mapping[str, str], configured: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Return the folders to search for specs: the configured ones, the user's own, the system's."""
    home = Path(environ.get("HOME") or "~").expanduser()
    own = (home / name[2:] if name.startswith("~/") else Path(name) for name in configured)
    return tuple(dict.fromkeys((*own, files.settings(environ) / "cdi", ETC, VAR_RUN)))


def discover(dirs: Iterable[Path]) -> Discovery:
    """Return all devices of the specs in these folders, and what is wrong with specs that could not be read.

    If two folders offer the same name, the earlier folder wins; but /var/run/cdi precedes /etc/cdi, as it does for
    podman. A name that occurs twice in one folder is a fault, and the device is left out.
    """
    devices: dict[str, Device] = {}
    faults: list[OcicalibanError] = []
    ambiguous: set[str] = set()
    seen: set[Path] = set()
    for folder in _by_priority(dirs):
        real = Path(os.path.realpath(folder))
        if real in seen:
            continue
        seen.add(real)
        here: dict[str, Device] = {}
        for device in _devices_in(folder, faults):
            other = here.setdefault(device.qualified, device)
            if other is not device and device.qualified not in devices:
                ambiguous.add(device.qualified)
                faults.append(
                    OcicalibanError(
                        f"two CDI specs offer {device.qualified}: {other.spec} and {device.spec}",
                        "remove one of the two files; podman uses such a device from neither",
                    )
                )
        devices = here | devices
    unique = (device for device in devices.values() if device.qualified not in ambiguous)
    ordered = sorted(unique, key=lambda device: (device.kind, _natural(device.name)))
    return Discovery(devices=tuple(ordered), faults=tuple(faults))


def _devices_in(folder: Path, faults: list[OcicalibanError]) -> Iterator[Device]:
    """Yield the devices of the specs in one folder; what cannot be read is added to `faults`."""
    try:
        paths = _spec_files(folder)
    except OcicalibanError as fault:
        faults.append(fault)
        return
    for path in paths:
        try:
            spec = specs.load(path)
        except OcicalibanError as fault:
            faults.append(fault)
            continue
        for name in spec.devices:
            yield Device(kind=spec.kind, name=name, spec=path, version=spec.version)


def container_edits(selected: Iterable[Device]) -> ContainerEdits:
    """Return all that the selected devices and their specs add to a container, merged.

    If several edits have the same target, the last one wins. Raises OcicalibanError if a spec no longer has a device.
    """
    edits: list[ContainerEdits] = []
    seen: set[Path] = set()
    for device in selected:
        spec = specs.load(device.spec)
        if spec.kind != device.kind or device.name not in spec.devices:
            message = f"the CDI spec {device.spec} no longer has the device {device.qualified}"
            raise OcicalibanError(message, specs.regenerate(device.spec))
        if device.spec not in seen:
            seen.add(device.spec)
            edits.append(spec.edits)
        edits.append(spec.devices[device.name])
    mounts = {mount.container_path: mount for edit in edits for mount in edit.mounts}
    nodes = {node.path: node for edit in edits for node in edit.devices}
    env = {pair.partition("=")[0]: pair for edit in edits for pair in edit.env}
    return ContainerEdits(
        mounts=tuple(mounts.values()),
        devices=tuple(nodes.values()),
        env=tuple(env.values()),
        hooks=tuple(dict.fromkeys(hook for edit in edits for hook in edit.hooks)),
        gids=tuple(dict.fromkeys(gid for edit in edits for gid in edit.gids)),
    )


def absent_host_paths(devices: Iterable[Device]) -> dict[Path, tuple[str, ...]]:
    """Return, for each spec of these devices, the host paths that it names and that do not exist.

    A driver upgrade leaves such specs behind. Specs without absent paths are not in the result.
    """
    absent: dict[Path, tuple[str, ...]] = {}
    for path in dict.fromkeys(device.spec for device in devices):
        spec = specs.load(path)
        named = dict.fromkeys(name for edit in (spec.edits, *spec.devices.values()) for name in _host_paths(edit))
        if missing := tuple(name for name in named if not os.path.exists(name)):
            absent[path] = missing
    return absent


def host_paths(devices: Iterable[Device]) -> tuple[str, ...]:
    """Return the host paths that these devices bring into a container, and the programs of their hooks."""
    chosen = tuple(devices)
    return tuple(_host_paths(container_edits(chosen))) if chosen else ()


def _host_paths(edit: ContainerEdits) -> Iterator[str]:
    yield from (mount.host_path for mount in edit.mounts if mount.type != "tmpfs")
    yield from (node.host_path or node.path for node in edit.devices)
    # A startContainer hook is looked up inside the container.
    yield from (hook.path for hook in edit.hooks if hook.hook_name != "startContainer")


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part]


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
            f"cannot search the folder {folder} for CDI specs: {error.strerror}", f"chmod u+rx {folder}"
        ) from error
