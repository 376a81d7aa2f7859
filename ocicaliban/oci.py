"""Deterministic tar layers and OCI image layouts, as the OCI image spec 1.1 defines them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.model import Configure, Tree

EPOCH = 315619200
"""1980-01-02: every time in a layer. Zip files, and so Python wheels, cannot hold an earlier one."""
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


def write_layer(tree: Tree, to: str, file: Path) -> Blob:
    """Write `tree` as an uncompressed layer below the absolute folder `to`; returns its diff id and size.

    Names are sorted, times and ids fixed, modes 0755 or 0644: the same tree gives the same bytes everywhere.
    Raises OcicalibanError when a file changed since the tree was read.
    """
    prefix = to.strip("/")
    with file.open("wb") as raw:
        out = _Hashing(raw)
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            parents = [str(parent) for parent in reversed(PurePosixPath(prefix).parents) if str(parent) != "."]
            for folder in [*parents, *([prefix] if prefix else [])]:
                tar.addfile(_member(folder, tarfile.DIRTYPE, 0o755))
            for entry in tree.entries:
                name = f"{prefix}/{entry.path}".lstrip("/")
                if entry.kind == "dir":
                    tar.addfile(_member(name, tarfile.DIRTYPE, 0o755))
                elif entry.kind == "link":
                    tar.addfile(_member(name, tarfile.SYMTYPE, 0o777, target=entry.digest))
                else:
                    _add_file(tar, tree.root / entry.path, name, entry.size, entry.digest, entry.executable)
    return Blob(digest=f"sha256:{out.sha.hexdigest()}", size=out.size)


def _add_file(tar: tarfile.TarFile, path: Path, name: str, size: int, digest: str, executable: bool) -> None:
    try:
        with path.open("rb") as source:
            reader = _Checked(source)
            tar.addfile(_member(name, tarfile.REGTYPE, 0o755 if executable else 0o644, size), reader)
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise OcicalibanError(f"{path} cannot be read: {why}", "it changed while it was copied") from exc
    if reader.sha.hexdigest() != digest:
        raise OcicalibanError(f"{path} changed while it was copied", "run the command again")


class _Checked:
    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha = file, hashlib.sha256()

    def read(self, count: int = -1, /) -> bytes:
        data = self.file.read(count)
        self.sha.update(data)
        return data


_FIELDS = ("architecture", "author", "created", "history", "os", "os.features", "os.version", "rootfs", "variant")
_INNER = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir")


def standard(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of an image's config the OCI image spec (config.md) knows; Docker's own format has more."""
    inner = config.get("config") or {}
    known = {name: config[name] for name in _FIELDS if name in config}
    return {**known, "config": {name: inner[name] for name in _INNER if inner.get(name)}}


def configured(config: Mapping[str, Any], change: Configure) -> dict[str, Any]:
    """The OCI config `config` with a configure step applied; `path` goes before the PATH that is there."""
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


def appended(config: Mapping[str, Any], diff_id: str | None, created_by: str) -> dict[str, Any]:
    """The OCI config `config` with one more layer (or, without `diff_id`, one more change of config) in it."""
    history = {"created": CREATED, "created_by": created_by}
    rootfs = config.get("rootfs") or {"type": "layers", "diff_ids": []}
    new = {**config, "created": CREATED, "history": [*(config.get("history") or [])]}
    if diff_id is None:
        new["history"].append({**history, "empty_layer": True})
    else:
        new["history"].append(history)
        new["rootfs"] = {"type": "layers", "diff_ids": [*rootfs["diff_ids"], diff_id]}
    return new


def canonical(value: object) -> bytes:
    """JSON whose bytes depend on the value alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_layout(layout: Path, config: Mapping[str, Any], layers: Iterable[Blob]) -> str:
    """Complete the OCI layout at `layout` (its layers' blobs may be missing when the store has them).

    Returns the manifest's digest.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return Blob(digest=f"sha256:{digest}", size=len(data))

    described = put(canonical(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": described.digest, "size": described.size},
        "layers": [{"mediaType": LAYER, "digest": blob.digest, "size": blob.size} for blob in layers],
    }
    top = put(canonical(manifest))
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": MANIFEST, "digest": top.digest, "size": top.size}],
    }
    (layout / "index.json").write_bytes(canonical(index))
    (layout / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
    return top.digest


def adopt_layer(layout: Path, file: Path, blob: Blob) -> None:
    """Move a layer's file into the layout's blobs."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    file.replace(blobs / blob.digest.removeprefix("sha256:"))
