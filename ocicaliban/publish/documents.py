"""The documents of a published experiment, and the OCI artifact that holds them. Pure."""

from __future__ import annotations

import gzip
import json
import posixpath
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob
from ocicaliban.errors import OcicalibanError
from ocicaliban.jobs.origin import Origin
from ocicaliban.publish import experiment
from ocicaliban.publish.experiment import Experiment, PublishedJob

ARTIFACT = "application/vnd.ocicaliban.experiment.v1+json"
"""The artifact's type, and the media type of its first document."""

JOBS = "application/vnd.ocicaliban.experiment.jobs.v1+jsonl+gzip"
FILE = "application/vnd.ocicaliban.experiment.file.v1"
BUNDLE = "application/vnd.git.bundle"

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
GROUP = "vnd.ocicaliban.group"

_EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
"""The config of an artifact that has none ("Guidance for an Empty Descriptor" in the image spec)."""

_MAX_UNPACKED = 1 << 28  # bytes of all jobs
_SWEEP = "sweep"


RESULTS = "application/vnd.ocicaliban.experiment.results.v1.tar+gzip"
CRATE = "application/ld+json"
CRATE_NAME = "ro-crate-metadata.json"
SBOM_NAME = "sbom.cdx.json"


@frozen(kw_only=True)
class Document:
    """A blob of an artifact: its media type, the file name that it has for people, and its contents.

    A large one is in a `file` of this `blob`, and has no `data`.
    """

    media_type: str
    title: str
    data: bytes = b""
    file: Path | None = None
    in_file: Blob | None = None

    @property
    def blob(self) -> Blob:
        """The descriptor's digest and size."""
        return self.in_file or Blob(digest=oci_layout.digest_of(self.data), size=len(self.data))

    @property
    def is_source(self) -> bool:
        """Whether it is one of the files that the jobs were made from."""
        return self.media_type in (FILE, BUNDLE)


def head(made: Experiment) -> Document:
    """Return the first document: what all jobs of an experiment have in common."""
    return Document(media_type=ARTIFACT, title="experiment.json", data=_line(experiment.to_record(made)))


def job_lines(jobs: Iterable[PublishedJob]) -> bytes:
    """Return the jobs as lines of JSON."""
    return b"".join(_line(experiment.job_to_record(job)) for job in jobs)


def others(jobs: Iterable[PublishedJob], made_from: Origin | None, bundle: bytes = b"") -> tuple[Document, ...]:
    """Return the other documents of an experiment: its jobs, and the files that it was made from.

    `bundle` is the history of its commit, if that is published too.
    """
    found = [Document(media_type=JOBS, title="jobs.jsonl.gz", data=gzip.compress(job_lines(jobs), 9, mtime=0))]
    if made_from:
        if made_from.sweep:
            found.append(_file(f"{_SWEEP}/{posixpath.basename(made_from.sweep_name)}", made_from.sweep))
        found += [_file(path, text) for path, text in sorted(made_from.files.items())]
    if bundle:
        found.append(Document(media_type=BUNDLE, title="source.bundle", data=bundle))
    return tuple(found)


def _file(title: str, text: str) -> Document:
    return Document(media_type=FILE, title=title, data=text.encode())


def _line(record: Mapping[str, Any]) -> bytes:
    """Encode a record. Names stay in their order: it is that of the arguments."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def manifest(
    documents: Iterable[Document],
    subject: Mapping[str, Any],
    annotations: Mapping[str, str],
    *,
    artifact_type: str = ARTIFACT,
) -> bytes:
    """Return the manifest of an artifact with these documents, about the image that `subject` describes."""
    layers = [
        {
            "mediaType": document.media_type,
            "digest": document.blob.digest,
            "size": document.blob.size,
            "annotations": {TITLE: document.title},
        }
        for document in documents
    ]
    return artifact(artifact_type, layers, subject, annotations)


def artifact(
    artifact_type: str, layers: Iterable[Mapping[str, Any]], subject: Mapping[str, Any], annotations: Mapping[str, str]
) -> bytes:
    """Return the manifest of an artifact with these layers and an empty config."""
    config = {"mediaType": _EMPTY, "digest": oci_layout.digest_of(EMPTY), "size": len(EMPTY)}
    return oci_layout.canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": oci_layout.MANIFEST,
            "artifactType": artifact_type,
            "config": config,
            "layers": [dict(each) for each in layers],
            "subject": dict(subject),
            "annotations": dict(annotations),
        }
    )


def subject(digest: str, size: int) -> dict[str, Any]:
    """Return the descriptor of a manifest that an artifact is about."""
    return {"mediaType": oci_layout.MANIFEST, "digest": digest, "size": size}


def read_experiment(data: bytes, place: str) -> Experiment:
    """Return the experiment in a document. Raises OcicalibanError if it cannot be read; `place` is what errors name."""
    try:
        return experiment.from_record(json.loads(data))
    except (ValueError, RecursionError) as exc:
        raise _unreadable(place, "experiment.json", exc) from exc


def read_jobs(data: bytes, place: str) -> tuple[PublishedJob, ...]:
    """Return the jobs in a document. Raises OcicalibanError if they cannot be read, or are more than 256 MiB."""
    try:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        text = unpacking.decompress(data, _MAX_UNPACKED)
        if unpacking.unconsumed_tail:
            raise ValueError(f"it has more than {_MAX_UNPACKED >> 20} MiB")
        if not unpacking.eof:
            raise ValueError("it ends too early")
        return tuple(experiment.job_from_record(json.loads(line)) for line in text.splitlines())
    except (ValueError, zlib.error, RecursionError) as exc:
        raise _unreadable(place, "jobs.jsonl.gz", exc) from exc


def _unreadable(place: str, title: str, fault: Exception) -> OcicalibanError:
    return OcicalibanError(
        f"{place}: {title} cannot be read: {fault}", "a newer ocicaliban may have published it: upgrade this one"
    )
