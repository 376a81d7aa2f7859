"""Translate CDI devices into podman's options.

podman finds a device by its name if it can read the device's spec. If the installed podman is too old for the spec, or
does not search the folder that holds it, the spec's edits become mounts, device nodes, variables and hooks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ocicaliban.containers import versions
from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi
from ocicaliban.gpu.cdi import Device
from ocicaliban.gpu.spec import ContainerEdits, version_numbers
from ocicaliban.system import files

# The mount options that `podman -v` takes, with a number for each group: podman takes one option of a group at most.
# bind and rbind are left out: podman binds recursively by itself, and the kernel refuses a rootless user a
# non-recursive bind of a folder that contains mounts.
_MOUNT_OPTIONS = {
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


def container_options(
    selected: Sequence[Device], podman_version: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return podman's global options, and those of `run` and `create`, that give a container these devices.

    A global option is needed only for hooks that podman does not read from the spec; these are written to our cache.
    Hooks apply to one container, but podman's API service has one folder of hooks for all of them; so such a
    container must be made by the command line.
    """
    own, hooks = run_options(selected, podman_version)
    return (("--hooks-dir", str(write_hooks(hooks, files.cache() / "hooks"))) if hooks else ()), own


def run_options(selected: Sequence[Device], podman_version: tuple[int, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the options of `podman run` for these devices, and the files (name to text) for `--hooks-dir`."""
    edits = cdi.container_edits(selected)
    # Rootless podman ignores a node's hostPath in a spec, but not in an option.
    moved = any(node.host_path not in ("", node.path) for node in edits.devices)
    if not moved and reads_specs(selected, podman_version=podman_version):
        return tuple(word for device in selected for word in ("--device", device.qualified)), {}
    return edits_as_options(edits), hook_files(edits)


def reads_specs(
    selected: Iterable[Device], *, podman_version: tuple[int, ...], podman_dirs: Iterable[Path | str] = ()
) -> bool:
    """Return whether this podman accepts `--device vendor.com/class=name` for each of these devices.

    `podman_dirs` are the folders that podman reads specs from; empty means the system's.
    """
    newest = versions.newest_cdi(podman_version)
    folders = {os.path.realpath(folder) for folder in podman_dirs or (cdi.ETC, cdi.VAR_RUN)}
    # The CDI library reads .json and .yaml, but not .yml.
    return all(
        os.path.realpath(device.spec.parent) in folders
        and device.spec.suffix in (".json", ".yaml")
        and versions.OLDEST_CDI <= version_numbers(device.version) <= newest
        for device in selected
    )


def edits_as_options(edits: ContainerEdits) -> tuple[str, ...]:
    """Return container edits, without their hooks, as options of `podman run`.

    Raises OcicalibanError for a path that podman would misread.
    """
    options: list[str] = []
    for mount in edits.mounts:
        kept = {_MOUNT_OPTIONS[option]: option for option in mount.options if option in _MOUNT_OPTIONS}
        if mount.type == "tmpfs":
            _check_path(mount.container_path)
            options += ["--tmpfs", ":".join(filter(None, (mount.container_path, ",".join(kept.values()))))]
            continue
        _check_path(mount.host_path, mount.container_path)
        options += ["-v", ":".join(filter(None, (mount.host_path, mount.container_path, ",".join(kept.values()))))]
    for node in edits.devices:
        host = node.host_path or node.path
        _check_path(host, node.path)
        options += ["--device", f"{host}:{node.path}:{node.permissions}"]
    for pair in edits.env:
        options += ["--env", pair]
    for gid in edits.gids:
        options += ["--group-add", str(gid)]
    return tuple(options)


def _check_path(*paths: str) -> None:
    for path in paths:
        # podman takes a relative path for the name of a volume, which it would create.
        if not path.startswith("/") or ":" in path:
            raise OcicalibanError(
                f"a CDI spec names the path {path!r}, which podman's options cannot express",
                "use an absolute path without a colon in the spec",
            )


def hook_files(edits: ContainerEdits) -> dict[str, str]:
    """Return the hooks as files for podman's `--hooks-dir`, name to JSON; they run in the order of their names."""
    texts: dict[str, str] = {}
    for index, hook in enumerate(edits.hooks):
        body: dict[str, object] = {"path": hook.path}
        if hook.args:
            body["args"] = list(hook.args)
        if hook.env:
            body["env"] = list(hook.env)
        if hook.timeout is not None:
            body["timeout"] = hook.timeout
        document = {"version": "1.0.0", "hook": body, "when": {"always": True}, "stages": [hook.hook_name]}
        texts[f"{index:03d}-{hook.hook_name}.json"] = json.dumps(document, indent=2) + "\n"
    return texts


def hooks_script(texts: Mapping[str, str]) -> str:
    """Return shell commands that write these files to a temporary folder, "$hooks", removed when the shell exits."""
    lines = ["hooks=$(mktemp -d)", """trap 'rm -rf "$hooks"' EXIT"""]
    lines += [f"printf '%s' {shlex.quote(text)} >\"$hooks\"/{shlex.quote(name)}" for name, text in texts.items()]
    return "\n".join(lines) + "\n"


def write_hooks(texts: Mapping[str, str], folder: Path) -> Path:
    """Write these files to a folder below `folder` that is named after their contents; return its path.

    The folder is kept: a running container needs it until it ends, and the next run finds it already written.
    """
    place = folder / hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:32]
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        try:
            new.rename(place)
        except OSError:
            # Another process was faster, and wrote the same.
            shutil.rmtree(new)
    return place
