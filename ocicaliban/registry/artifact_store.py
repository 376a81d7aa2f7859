"""What holds artifacts: a repository of a registry, or an OCI layout on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob


class ArtifactStore(Protocol):
    """The blobs, manifests and artifacts at a place.

    Every method raises OcicalibanError if the place refuses, or if something is missing or is not what its digest says.
    """

    @property
    def place(self) -> str:
        """The place, as references name it."""

    def put_blob(self, data: bytes) -> Blob:
        """Add a blob, unless it is there."""

    def put_file(self, path: Path, blob: Blob) -> None:
        """Add a file, which is this blob, unless it is there."""

    def get_blob(self, digest: str, size: int) -> bytes:
        """Return a blob."""

    def save_blob(self, digest: str, size: int, file: BinaryIO) -> None:
        """Write a blob into a file."""

    def resolve(self, name: str) -> str:
        """Return the digest of the manifest that a tag or digest names; "" if there is none."""

    def get_manifest(self, name: str) -> tuple[str, bytes] | None:
        """Return the digest and the bytes of the manifest that a tag or digest names; None if there is none."""

    def put_manifest(self, name: str, data: bytes, media_type: str = oci_layout.MANIFEST) -> bool:
        """Add a manifest under a tag or its digest; return whether the store takes note of its subject."""

    def tags(self) -> tuple[str, ...]:
        """Return the tags, sorted."""

    def attach(self, data: bytes) -> str:
        """Add the manifest of an artifact, so that its subject's readers find it, and return its digest."""

    def referrers(self, subject: str, artifact_type: str) -> tuple[str, ...]:
        """Return the digests of the artifacts of a type about an image."""
