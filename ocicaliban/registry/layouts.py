"""Artifacts in an OCI layout on this machine: a folder, or a tar archive of one, which is only read.

The layout holds what a registry would: `index.json` lists manifests, a tag is an annotation there, and an artifact
about an image names it as its subject ("OCI Image Layout" in the image spec 1.1). So podman, skopeo and oras read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ocicaliban.containers import oci_layout, workspace
from ocicaliban.containers.oci_layout import Blob, digest_of
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.text import amount
from ocicaliban.registry.artifacts import LARGEST_TEXT, descriptor, json_object, own_tag
from ocicaliban.system import files

FOLDER, ARCHIVE = "oci:", "oci-archive:"
"""What a place of one begins with, as for podman and skopeo."""

_TAG = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20
_VERSION = {"imageLayoutVersion": "1.0.0"}


def is_place(text: str) -> bool:
    """Return whether a text names a layout."""
    return text.startswith((FOLDER, ARCHIVE))


def path_in(place: str) -> Path:
    """Return the path that a place names."""
    return Path(place.partition(":")[2])


class Layout:
    """The artifacts in the layout that `place` names (oci:FOLDER or oci-archive:FILE), at `root` if that is elsewhere.

    Every method raises OcicalibanError if something is missing, or is not what its digest says.
    """

    def __init__(self, place: str, root: Path | None = None) -> None:
        self.place = place
        self._root = root or path_in(place)
        self._archive = place.startswith(ARCHIVE) and root is None

    # --- blobs ---

    def put_blob(self, data: bytes) -> Blob:
        """Add a blob, unless it is there."""
        blob = Blob(digest=digest_of(data), size=len(data))
        self._folder_of_blobs().mkdir(parents=True, exist_ok=True)
        path = self._path(blob.digest)
        if not path.is_file() or path.stat().st_size != blob.size:
            files.replace(path, data)
        return blob

    def put_file(self, path: Path, blob: Blob) -> None:
        """Add a copy of a file, which is this blob, unless it is there; a link to it where that is possible."""
        self._folder_of_blobs().mkdir(parents=True, exist_ok=True)
        to = self._path(blob.digest)
        if to.is_file() and to.stat().st_size == blob.size:
            return
        half = to.with_name(f".{to.name}.{os.getpid()}")
        try:
            try:
                os.link(path, half)
            except OSError:
                shutil.copyfile(path, half)
            os.replace(half, to)
        finally:
            half.unlink(missing_ok=True)

    def get_blob(self, digest: str, size: int) -> bytes:
        """Return a blob. Raises OcicalibanError if it is not there, or has other bytes than its digest says."""
        if size > LARGEST_TEXT:
            raise self._broken(digest, f"has {amount(size)}, more than {amount(LARGEST_TEXT)}")
        with self._opened(digest) as file:
            data = file.read(size + 1)
        if len(data) != size or digest_of(data) != digest:
            raise self._broken(digest, "has other contents than its digest says")
        return data

    def save_blob(self, digest: str, size: int, file: BinaryIO) -> None:
        """Write a blob of `size` bytes into a file. Raises OcicalibanError as `get_blob` does."""
        sha, count = hashlib.sha256(), 0
        with self._opened(digest) as source:
            while part := source.read(_CHUNK):
                sha.update(part)
                count += len(part)
                file.write(part)
        if count != size or f"sha256:{sha.hexdigest()}" != digest:
            raise self._broken(digest, "has other contents than its digest says")

    # --- manifests ---

    def get_manifest(self, name: str) -> tuple[str, bytes] | None:
        """Return the digest and the bytes of the manifest that a tag or digest names; None if there is none."""
        for each in self._listed():
            if name in (each.get("digest"), _tag_of(each)):
                digest = str(each.get("digest"))
                return digest, self.get_blob(digest, _size(each))
        return None

    def resolve(self, name: str) -> str:
        """Return the digest of the manifest that a tag or digest names; "" if there is none."""
        found = (each for each in self._listed() if name in (each.get("digest"), _tag_of(each)))
        return str(next(found, {}).get("digest", ""))

    def put_manifest(self, name: str, data: bytes, media_type: str = oci_layout.MANIFEST) -> bool:
        """Add a manifest under a tag or its digest. Its subject is found by its own words, so the answer is yes."""
        self.put_blob(data)
        new = {**descriptor(data), "mediaType": media_type}
        new |= {"annotations": {**new.get("annotations", {}), _TAG: name}} if ":" not in name else {}
        with workspace.exclusive(hashlib.sha256(os.path.realpath(self._root).encode()).hexdigest()):
            kept = [each for each in self._listed() if _tag_of(each) != _tag_of(new) or not _tag_of(new)]
            kept = [each for each in kept if each.get("digest") != new["digest"] or _tag_of(each)]
            index = {"schemaVersion": 2, "manifests": [*kept, new]}
            files.replace(self._root / "oci-layout", oci_layout.canonical_json(_VERSION))
            files.replace(self._root / "index.json", oci_layout.canonical_json(index))
        return True

    def tags(self) -> tuple[str, ...]:
        """Return the tags, sorted."""
        return tuple(sorted(filter(None, map(_tag_of, self._listed()))))

    # --- artifacts about an image ---

    def attach(self, data: bytes) -> str:
        """Add the manifest of an artifact that has a subject, and return its digest."""
        digest = digest_of(data)
        self.put_manifest(own_tag(str(json.loads(data)["subject"]["digest"]), digest), data)
        return digest

    def referrers(self, subject: str, artifact_type: str) -> tuple[str, ...]:
        """Return the digests of the artifacts of a type about an image."""
        found = []
        for each in self._listed():
            if each.get("artifactType") != artifact_type:
                continue
            digest = str(each.get("digest"))
            about = json_object(self.get_blob(digest, _size(each))).get("subject")
            if isinstance(about, dict) and about.get("digest") == subject:
                found.append(digest)
        return tuple(dict.fromkeys(found))

    # --- images ---

    def add_image(self, layout: Path, digest: str, tag: str) -> None:
        """Add the image with this manifest from another layout, and give it a tag."""
        manifest = (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
        told = json.loads(manifest)
        for each in (told["config"], *told["layers"]):
            blob = Blob(digest=each["digest"], size=each["size"])
            self.put_file(layout / "blobs" / "sha256" / blob.digest.removeprefix("sha256:"), blob)
        self.put_manifest(tag, manifest)

    def copy_image(self, digest: str, to: Path) -> None:
        """Write the image with this manifest into a layout of its own at `to`."""
        found = self.get_manifest(digest)
        if found is None:
            raise self._broken(digest, "is not there any more")
        blobs = to / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        told = json_object(found[1])
        try:
            parts = [(str(each["digest"]), int(each["size"])) for each in (told["config"], *told["layers"])]
        except (LookupError, TypeError, ValueError) as exc:
            raise self._broken(digest, "is not an image") from exc
        for each, size in dict(parts).items():
            path = blobs / _hexadecimal(each)
            with path.open("wb") as file:
                self.save_blob(each, size, file)
        (blobs / _hexadecimal(digest)).write_bytes(found[1])
        (to / "oci-layout").write_bytes(oci_layout.canonical_json(_VERSION))
        listed = {"mediaType": oci_layout.MANIFEST, "digest": digest, "size": len(found[1])}
        (to / "index.json").write_bytes(oci_layout.canonical_json({"schemaVersion": 2, "manifests": [listed]}))

    # --- the files ---

    def _listed(self) -> list[Mapping[str, Any]]:
        """Return the descriptors in index.json; none before something was added."""
        try:
            with self._open("index.json") as file:
                listed = json_object(file.read(LARGEST_TEXT)).get("manifests")
        except FileNotFoundError:
            if not self._archive and (not self._root.exists() or not any(self._root.iterdir())):
                return []
            if not self._archive and {each.name for each in self._root.iterdir()} == {"blobs"}:
                return []  # a first publication into it was interrupted, or is under way
            raise UsageError(f"{self.place} is not an OCI layout: it has no index.json", "check the path") from None
        return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []

    def _open(self, name: str) -> BinaryIO:
        """Open a file of the layout. Raises FileNotFoundError if it is not there, UsageError for no archive."""
        if not self._archive:
            return (self._root / name).open("rb")
        try:
            with tarfile.open(self._root, "r:") as tar:  # parts of a compressed one cannot be read
                named = {each.name.removeprefix("./"): each for each in tar}  # `tar -C FOLDER .` begins them so
        except (tarfile.TarError, EOFError) as exc:
            what, hint = "is not a tar archive", "check the path"
            if _is_compressed(self._root):
                what, hint = "is a compressed archive", "unpack it first: gunzip, unzstd, unxz or bunzip2"
            raise UsageError(f"{self._root} {what}", hint) from exc
        member = named.get(name)
        if member is None or not member.isfile() or member.sparse is not None:
            raise FileNotFoundError(name)
        return _Part(self._root, member.offset_data, member.size)  # type: ignore[return-value]

    def _opened(self, digest: str) -> BinaryIO:
        try:
            return self._open(f"blobs/sha256/{_hexadecimal(digest)}")
        except FileNotFoundError as exc:
            raise self._broken(digest, "is not there any more") from exc

    def _folder_of_blobs(self) -> Path:
        return self._root / "blobs" / "sha256"

    def _path(self, digest: str) -> Path:
        return self._folder_of_blobs() / _hexadecimal(digest)

    def _broken(self, name: str, what: str) -> OcicalibanError:
        return OcicalibanError(f"{self.place}: {name} {what}", "do not use it: get another copy")


class _Part:
    """A part of a file, as a file to read."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file, self._left = path.open("rb"), size
        self._file.seek(start)

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        return data


def _is_compressed(path: Path) -> bool:
    """Whether a file begins as gzip, bzip2, xz and zstd make it."""
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))


def pack(folder: Path, file: Path) -> None:
    """Make a folder with a layout an archive, whose bytes depend on the layout alone."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(_all_files(folder)):
            name = str(path.relative_to(folder))
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = path.stat().st_size, 0o644, oci_layout.EPOCH
            with path.open("rb") as source:
                tar.addfile(info, source)


def _all_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _tag_of(described: Mapping[str, Any]) -> str:
    notes = described.get("annotations")
    return str(notes.get(_TAG, "")) if isinstance(notes, dict) else ""


def _size(described: Mapping[str, Any]) -> int:
    size = described.get("size")
    return size if isinstance(size, int) else -1


def _hexadecimal(digest: str) -> str:
    """Return the name of a blob's file. Raises OcicalibanError for what is no digest: it may be a path."""
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or name.strip("0123456789abcdef"):
        raise OcicalibanError(f"{digest[:100]!r} is not a digest", "do not use it")
    return name
