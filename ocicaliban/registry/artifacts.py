"""OCI artifacts in a repository: their blobs and manifests, and which of them are about an image.

See "Referrers API" and "Pushing manifests with subject" in the OCI distribution spec 1.1. Where a registry has no such
API, an index under a tag made of the image's digest lists the artifacts. Two programs that write it at once lose
entries, and its garbage collection drops what no tag names. So each artifact has a tag of its own too, and a
program that reads or writes the index looks at these tags as well.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob, digest_of
from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.text import amount
from ocicaliban.registry import failures
from ocicaliban.registry.client import MANIFESTS, RegistryClient
from ocicaliban.registry.transport import LARGEST_ANSWER

if TYPE_CHECKING:
    import requests

INDEX = "application/vnd.oci.image.index.v1+json"
_LARGEST_MANIFEST = 4 << 20  # bytes, by the spec
LARGEST_TEXT = 64 << 20  # bytes of a blob that is read into memory
_CHUNK = 1 << 20  # bytes
_TRIES = 5
_PAGES = 1000
"""The pages of a list that are read at most: a registry whose last page names another one must not keep us for ever."""
_SHORT = 16  # characters of an artifact's digest in its own tag


class ArtifactClient(RegistryClient):
    """A client for the artifacts of one repository. Every method raises OcicalibanError if the registry refuses."""

    def reach(self) -> None:
        """Find out whether the registry is there, and how it wants to be asked; other methods come after this one."""
        self._ping()

    @property
    def place(self) -> str:
        """The repository, as references name it."""
        return str(self.repository)

    # --- blobs ---

    def put_blob(self, data: bytes) -> Blob:
        """Upload a blob, unless the repository has it."""
        blob = Blob(digest=digest_of(data), size=len(data))
        self._upload(blob, data)
        return blob

    def put_file(self, path: Path, blob: Blob) -> None:
        """Upload a file, which is this blob, unless the repository has it."""
        self._upload(blob, _Contents(path, blob.size))

    def _upload(self, blob: Blob, data: object) -> None:
        if self.has_blob(blob.digest):
            return
        url = self._location(self._ask("POST", "blobs/uploads/"))
        url += f"{'&' if '?' in url else '?'}digest={blob.digest}"
        self._send("PUT", url, {"Content-Type": "application/octet-stream"}, data=data)

    def get_blob(self, digest: str, size: int) -> bytes:
        """Return a blob. Raises OcicalibanError if the repository lacks it, or has other bytes under its digest."""
        if size > LARGEST_TEXT:
            raise self._broken(digest, f"has {amount(size)}, more than {amount(LARGEST_TEXT)}")
        kept = io.BytesIO()
        self.save_blob(digest, size, kept)
        return kept.getvalue()

    def save_blob(self, digest: str, size: int, file: BinaryIO) -> None:
        """Write a blob of `size` bytes into a file. Raises OcicalibanError as `get_blob` does."""
        answer = self._ask("GET", f"blobs/{digest}", missing=True, largest=max(size, LARGEST_ANSWER), keep=file)
        if answer.status_code == 404:
            raise self._broken(digest, "is not in the registry any more")
        file.seek(0)
        sha = hashlib.sha256()
        while part := file.read(_CHUNK):
            sha.update(part)
        if f"sha256:{sha.hexdigest()}" != digest or file.tell() != size:
            raise self._broken(digest, "has other contents than its digest says")

    # --- manifests ---

    def get_manifest(self, name: str) -> tuple[str, bytes] | None:
        """Return the digest and the bytes of the manifest that a tag or digest names; None if there is none.

        Raises OcicalibanError if a digest names other bytes.
        """
        answer = self._ask("GET", f"manifests/{name}", accept=(*MANIFESTS, INDEX), missing=True)
        if answer.status_code == 404:
            return None
        digest = digest_of(answer.content)
        if ":" in name and digest != name:
            raise self._broken(name, "has other contents than its digest says")
        return digest, answer.content

    def put_manifest(self, name: str, data: bytes, media_type: str = oci_layout.MANIFEST) -> bool:
        """Upload a manifest under a tag or its digest; return whether the registry takes note of its subject."""
        answer = self._send("PUT", self._url(f"manifests/{name}"), {"Content-Type": media_type}, data=data)
        return bool(answer.headers.get("OCI-Subject"))

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the repository, sorted; none if it does not exist."""
        found: list[str] = []
        for answer in self._pages("tags/list", "n=1000"):
            some = failures.json_object(answer).get("tags")
            found += [str(each) for each in some] if isinstance(some, list) else []
        return tuple(sorted(found))

    def _pages(self, path: str, query: str = "", accept: tuple[str, ...] = ()) -> Iterator[requests.Response]:
        """Give each page of a list of the registry's; none if there is no such list. Raise OcicalibanError for no end.

        A page names the next one ("Listing tags" in the spec). Only its query counts: it may name another host.
        """
        for _ in range(_PAGES):
            answer = self._ask("GET", f"{path}?{query}" if query else path, accept=accept, missing=True)
            if answer.status_code != 200:
                return
            yield answer
            query = answer.links.get("next", {}).get("url", "").partition("?")[2]
            if not query:
                return
        raise OcicalibanError(
            f"{failures.host_of(answer.url)} has more than {_PAGES} pages of {path}",
            "ask the administrator of the registry",
        )

    # --- artifacts about an image ---

    def attach(self, data: bytes) -> str:
        """Upload the manifest of an artifact that has a subject, so that the subject's readers find it.

        Return its digest.
        """
        manifest = json.loads(data)
        subject, digest = str(manifest["subject"]["digest"]), digest_of(data)
        noted = self.put_manifest(own_tag(subject, digest), data)
        if not noted:
            self._list_in_index(subject, descriptor(data))
        return digest

    def referrers(self, subject: str, artifact_type: str) -> tuple[str, ...]:
        """Return the digests of the artifacts of a type about an image."""
        listed: dict[str, dict[str, Any]] | None = None
        for answer in self._pages(f"referrers/{subject}", accept=(INDEX,)):
            page = _listed(answer.content)
            if page is None:
                listed = None
                break
            listed = {**(listed or {}), **page}
        if listed is None:
            listed = self._known(subject)
        return tuple(digest for digest, each in listed.items() if each.get("artifactType") == artifact_type)

    def _known(self, subject: str) -> dict[str, dict[str, Any]]:
        """Return what the index of a subject lists, and what the tags of artifacts about it name."""
        known: dict[str, dict[str, Any]] = {}
        if found := self.get_manifest(_index_tag(subject)):
            known |= _listed(found[1]) or {}
        short = {digest.removeprefix("sha256:")[:_SHORT] for digest in known}
        for tag in self.tags():
            prefix, _, own = tag.partition(".")
            if prefix == _index_tag(subject) and own and own not in short and (found := self.get_manifest(tag)):
                about = json_object(found[1]).get("subject")
                if isinstance(about, dict) and about.get("digest") == subject:
                    known[found[0]] = descriptor(found[1])
        return known

    def _list_in_index(self, subject: str, new: Mapping[str, Any]) -> None:
        """List an artifact in the index of its subject. Others may write it meanwhile, so read it again afterwards."""
        for _ in range(_TRIES):
            known = {**self._known(subject), new["digest"]: dict(new)}
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [known[each] for each in sorted(known)]}
            self.put_manifest(_index_tag(subject), oci_layout.canonical_json(index), INDEX)
            found = self.get_manifest(_index_tag(subject))
            if found and known.keys() <= (_listed(found[1]) or {}).keys():
                return

    def _broken(self, name: str, what: str) -> OcicalibanError:
        return OcicalibanError(
            f"{self.repository}@{name} {what}", "do not use it: ask the registry's owner what became of it"
        )


class _Contents:
    """The contents of a file, from the beginning each time they are sent."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while part := file.read(_CHUNK):
                yield part


def json_object(data: bytes) -> Mapping[str, Any]:
    """Return the JSON object that a manifest consists of; an empty one if it is none."""
    try:
        value = parse_json(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _index_tag(subject: str) -> str:
    """Return the tag of the index of artifacts about an image ("Referrers Tag Schema" in the spec)."""
    return subject.replace(":", "-")


def own_tag(subject: str, digest: str) -> str:
    """Return the tag that an artifact with this digest has for itself, beside those for people."""
    return f"{_index_tag(subject)}.{digest.removeprefix('sha256:')[:_SHORT]}"


def is_own_tag(tag: str) -> bool:
    """Return whether a tag is one that `attach` gives, or that of an index, and not one for people."""
    head, _, _ = tag.partition(".")
    return head.startswith("sha256-") and len(head) == len("sha256-") + 64


def descriptor(data: bytes) -> dict[str, Any]:
    """Return the descriptor of an artifact, as an index of referrers has it."""
    manifest = json_object(data)
    found = {"mediaType": oci_layout.MANIFEST, "digest": digest_of(data), "size": len(data)}
    found |= {"artifactType": manifest["artifactType"]} if manifest.get("artifactType") else {}
    return found | ({"annotations": manifest["annotations"]} if manifest.get("annotations") else {})


def _listed(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return the descriptors in an index, by digest; None if it is none."""
    if len(data) > _LARGEST_MANIFEST:
        return None
    try:
        return {str(each["digest"]): dict(each) for each in json_object(data)["manifests"]}
    except (ValueError, TypeError, LookupError):
        return None
