"""Check where and how podman stores images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.containers import layer_cache, own_store, user_choices
from ocicaliban.containers.own_store import Facts, OwnStore
from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import filesystems

_GIB = 2**30
_ELSEWHERE = 'put the store on a local disk: image_store = "/a/local/disk" in {}'


def place(store: OwnStore | OcicalibanError | None, facts: Facts | OcicalibanError) -> tuple[Finding, ...]:
    """Tell where images are stored and why, if not where podman stores them by itself."""
    name = "image store"
    if isinstance(store, OcicalibanError):
        return (Finding(name=name, level="error", message=store.message, remedy=store.hint),)
    if store is None or isinstance(facts, OcicalibanError):
        return ()
    if not store.local:
        message = f"{store.root}, one that ignores the owners of files, since containers have one uid"
        return (Finding(name=name, level="ok", message=message),)
    try:
        kept = f"layers are kept in {layer_cache.folder()} too"
    except OcicalibanError as error:
        return (Finding(name=name, level="error", message=error.message, remedy=error.hint),)
    if facts.wanted:
        return (Finding(name=name, level="ok", message=f"{store.root}, as you have chosen; {kept}"),)
    usual = own_store.usual_root(facts)
    return (
        Finding(
            name=name,
            level="warning",
            message=f"{_unsuited(usual, facts.kind(usual))}; images are in {store.root}, and may vanish with this "
            f"node or job; {kept}",
            remedy=_elsewhere(),
        ),
    )


def _elsewhere() -> str:
    return _ELSEWHERE.format(user_choices.file())


def driver(info: str | OcicalibanError) -> Finding:
    """Check the storage driver; `info` is the output of `podman info --format json`."""
    name = "storage driver"
    if isinstance(info, OcicalibanError):
        remedy = info.hint or "fix the problem above, then run `podman info`"
        return Finding(name=name, level="error", message=f"not checked: {info.message}", remedy=remedy)
    store = _store(info)
    kind = str(store.get("graphDriverName") or "")
    options = store.get("graphOptions")
    programs = [key for key in options if str(key).endswith("mount_program")] if isinstance(options, dict) else []
    if kind == "overlay" and not programs:
        return Finding(name=name, level="ok", message="native overlay")
    if kind == "overlay":
        return Finding(
            name=name,
            level="warning",
            message="overlay with fuse-overlayfs, which is slower than the kernel's own",
            remedy="with Linux 5.13 or newer: remove mount_program from storage.conf (in /etc/containers or "
            "~/.config/containers), then run `podman system reset`, which removes all images",
        )
    if not kind:
        message = "`podman info` does not say which one is used"
        return Finding(name=name, level="warning", message=message, remedy="run `podman info` and look at its store")
    slow = ", which copies the whole image for each layer and each container" if kind == "vfs" else ""
    return Finding(
        name=name,
        level="warning",
        message=f"{kind}{slow}",
        remedy='write the lines [storage] and driver = "overlay" to ~/.config/containers/storage.conf, then run '
        "`podman system reset`, which removes all images",
    )


def graph_root(info: str | OcicalibanError, environ: Mapping[str, str], uid: int) -> Path:
    """Return the folder of the images: what podman reports, or else its default."""
    if isinstance(info, str) and (root := _store(info).get("graphRoot")):
        return Path(str(root))
    if uid == 0:
        return Path("/var/lib/containers/storage")
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or "/", ".local/share")
    return Path(data, "containers", "storage")


def file_system(root: Path, mountinfo: str) -> Finding:
    """Check that the file system under the graph root can store images; see `filesystems.mounted`."""
    name = "file system"
    kind = filesystems.kind_now(root, mountinfo)
    if not kind:
        remedy = f"check with `df -T {root}` that it is a local disk"
        return Finding(name=name, level="warning", message=f"the one of {root} is unknown", remedy=remedy)
    # Network file systems do not know a user's subordinate ids, or lack the extended attributes that overlay needs.
    if not filesystems.holds_images(kind):
        return Finding(name=name, level="error", message=_unsuited(root, kind), remedy=_elsewhere())
    return Finding(name=name, level="ok", message=f"{kind}, for {root}")


def _unsuited(root: Path, kind: str) -> str:
    network = ", a network file system," if filesystems.SHARED.fullmatch(kind) else ","
    return f"{root} is on {kind}{network} which cannot store images of rootless podman"


def room(root: Path, free: int | None) -> Finding:
    """Check that there is room for images; `free` is in bytes, None if unknown."""
    name = "free room"
    if free is None:
        return Finding(name=name, level="warning", message=f"unknown for {root}", remedy=f"see `df -h {root}`")
    message = f"{free / _GIB:.1f} GiB at {root}"
    if free >= 5 * _GIB:
        return Finding(name=name, level="ok", message=message)
    return Finding(
        name=name,
        level="error" if free < _GIB else "warning",
        message=f"only {message}",
        remedy=f"`podman image prune` removes images without a name, see `podman system df`; or {_elsewhere()}",
    )


def _store(info: str) -> dict[str, object]:
    try:
        store = json.loads(info)["store"]
    except (ValueError, KeyError, TypeError):
        return {}
    return store if isinstance(store, dict) else {}
