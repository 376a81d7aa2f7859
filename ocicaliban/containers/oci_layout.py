"""Write deterministic tar layers and OCI image layouts (OCI image spec 1.1)."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from attrs import frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Configure, Tree

EPOCH = 315619200
"""1980-01-02, the time of every file in a layer: zip files, and so Python wheels, cannot hold an earlier one."""
CREATED = "1980-01-02T00:00:00Z"

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@frozen(kw_only=True)
class Blob:
    """A descriptor's digest ("sha256:...") and size in bytes."""

    digest: str
    size: int


class _Hashing(io.RawIOBase):
    """A file that hashes and counts what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.file, self.sha, self.size = file, hashlib.sha256(), 0

    def write(self, data: Any, /) -> int:
        self.sha.update(data)
        self.size += len(data)
        return self.file.write(data)


def _member(name: str, kind: bytes, mode: int, size: int = 0, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, size, target, EPOCH
    return info


_MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
"""Folders above a tree whose mode in distributions is not 0755. A layer always sets their mode: if it leaves a parent
folder out, containers/storage makes one with 0755 in the layer's own folder, over the base's (measured)."""

_LINKED = {name: f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")} | {
    "var/run": "/run",
    "var/lock": "/run/lock",
}
"""Links in many base images; a layer with a folder of that name would hide everything behind the link."""


def _parents(prefix: str) -> list[str]:
    """Return the folders from the root down to `prefix`; raises UsageError for one that a layer must not contain."""
    folders = [*(str(parent) for parent in reversed(PurePosixPath(prefix).parents)), prefix]
    found = [folder for folder in folders if folder not in (".", "")]
    for folder in found:
        if folder in _LINKED:
            raise UsageError(
                f"to = '/{prefix}': /{folder} is a link in many base images, and the layer would hide its target",
                f"use {_LINKED[folder]} instead",
            )
        if PurePosixPath(folder).name == "..":
            raise UsageError(f"to = '/{prefix}' contains '..'", "write the path without it")
    return found


def write_layer(tree: Tree, to: str, file: Path) -> Blob:
    """Write `tree` into `file`, as an uncompressed layer below the absolute folder `to`; return its diff id and size.

    Names are sorted, times and ids fixed, modes 0755 or 0644: the same tree gives the same bytes everywhere. Raises
    OcicalibanError if a file changed since the tree was read, UsageError if `to` would hide a part of the base, and
    OSError if `file` cannot be written.
    """
    prefix = "/".join(PurePosixPath("/", to).parts[1:])
    try:
        with file.open("wb") as raw:
            out = _Hashing(raw)
            _write_tar(tree, prefix, out)
    except OSError as exc:
        exc.filename = exc.filename or str(file)  # write() does not name it
        raise
    return Blob(digest=f"sha256:{out.sha.hexdigest()}", size=out.size)


def _write_tar(tree: Tree, prefix: str, out: _Hashing) -> None:
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for folder in _parents(prefix):
            tar.addfile(_member(folder, tarfile.DIRTYPE, _MODES.get(folder, 0o755)))
        for entry in tree.entries:
            name = f"{prefix}/{entry.path}".lstrip("/")
            if entry.kind == "dir":
                tar.addfile(_member(name, tarfile.DIRTYPE, _MODES.get(name, 0o755)))
            elif entry.kind == "link":
                tar.addfile(_member(name, tarfile.SYMTYPE, 0o777, target=entry.digest))
            else:
                _add_file(tar, tree.root / entry.path, name, entry.size, entry.digest, entry.executable)


def _add_file(tar: tarfile.TarFile, path: Path, name: str, size: int, digest: str, executable: bool) -> None:
    try:
        source = path.open("rb")
    except OSError as exc:
        raise _changed(path, f": {exc.strerror}") from exc
    with source:
        reader = _Checked(path, source)
        tar.addfile(_member(name, tarfile.REGTYPE, 0o755 if executable else 0o644, size), reader)
    if reader.sha.hexdigest() != digest:
        raise _changed(path)


def _changed(path: Path, why: str = "") -> OcicalibanError:
    return OcicalibanError(f"{path} changed while it was being copied{why}", "run the command again")


class _Checked:
    """A source file that hashes what is read, and distinguishes a fault in reading from one in writing."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file, self.sha = path, file, hashlib.sha256()

    def read(self, count: int = -1, /) -> bytes:
        try:
            data = self.file.read(count)
        except OSError as exc:
            raise OcicalibanError(f"{self.path} cannot be read: {exc.strerror}", "check its disk") from exc
        if len(data) < count:
            raise _changed(self.path, ": it became shorter")
        self.sha.update(data)
        return data


_FIELDS = ("architecture", "author", "created", "history", "os", "os.features", "os.version", "rootfs", "variant")
_INNER = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir")


def standard_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an image's config that the OCI image spec (config.md) defines; Docker's format has more."""
    inner = config.get("config") or {}
    known = {name: config[name] for name in _FIELDS if name in config}
    return {**known, "config": {name: inner[name] for name in _INNER if inner.get(name)}}


def with_changes(config: Mapping[str, Any], change: Configure) -> dict[str, Any]:
    """Return the OCI config with a configure step applied; the step's `path` goes before the existing PATH."""
    inner = dict(config.get("config") or {})
    env = {name: value for name, _, value in (item.partition("=") for item in inner.get("Env") or [])}
    env.update(change.env)
    if change.path:
        env["PATH"] = ":".join([*change.path, env.get("PATH", "/usr/local/bin:/usr/bin:/bin")])
    inner["Env"] = [f"{name}={value}" for name, value in env.items()]
    if change.workdir:
        inner["WorkingDir"] = change.workdir
    if change.entrypoint:
        inner["Entrypoint"] = list(change.entrypoint)
        inner.pop("Cmd", None)
    if change.ports:
        inner["ExposedPorts"] = {**(inner.get("ExposedPorts") or {}), **{port: {} for port in change.ports}}
    return {**config, "config": inner}


def with_layer(config: Mapping[str, Any], diff_id: str | None, created_by: str) -> dict[str, Any]:
    """Return the OCI config with one more layer or, without `diff_id`, with one more change of the config."""
    history = {"created": CREATED, "created_by": created_by}
    rootfs = config.get("rootfs") or {"type": "layers", "diff_ids": []}
    new = {**config, "created": CREATED, "history": [*(config.get("history") or [])]}
    if diff_id is None:
        new["history"].append({**history, "empty_layer": True})
    else:
        new["history"].append(history)
        new["rootfs"] = {"type": "layers", "diff_ids": [*rootfs["diff_ids"], diff_id]}
    return new


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(value: object) -> bytes:
    """Encode a value as JSON; equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_layout(layout: Path, config: Mapping[str, Any] | bytes, layers: Iterable[Blob]) -> str:
    """Complete the OCI layout at `layout`, and return the manifest's digest.

    A `config` of an image that exists is given as its bytes, to keep the id of the image. The blobs of layers that the
    store already has may be missing.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return Blob(digest=f"sha256:{digest}", size=len(data))

    described = put(config if isinstance(config, bytes) else canonical_json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": described.digest, "size": described.size},
        "layers": [{"mediaType": LAYER, "digest": blob.digest, "size": blob.size} for blob in layers],
    }
    top = put(canonical_json(manifest))
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": MANIFEST, "digest": top.digest, "size": top.size}],
    }
    (layout / "index.json").write_bytes(canonical_json(index))
    (layout / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
    return top.digest


def adopt_layer(layout: Path, file: Path, blob: Blob) -> None:
    """Move a layer's file into the blobs of a layout."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    file.replace(blobs / blob.digest.removeprefix("sha256:"))
