"""Published experiments, what a killed emulator left, and origins, as the fuzzer feeds them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from google.cloud.aiplatform_v1.types import CustomJob

from ocicaliban.app import published, reproduce
from ocicaliban.cli import publish
from ocicaliban.emulator.job_journal import JobJournal
from ocicaliban.emulator.job_store import JobStore
from ocicaliban.errors import OcicalibanError
from ocicaliban.jobs import origin
from ocicaliban.publish import comparison, documents
from ocicaliban.registry.reference import parse_repository
from tests.fuzz.readers import Files, Kind, kept
from tests.unit.emulator.samples import PARENT, custom_job
from tests.unit.publish.test_experiment import IMAGE, JOB, MADE

_DIGEST = f"sha256:{'d' * 64}"
_MANIFEST = {
    "schemaVersion": 2,
    "artifactType": documents.ARTIFACT,
    "layers": [
        {"mediaType": kind, "digest": title, "size": 5, "annotations": {documents.TITLE: title}}
        for kind, title in ((documents.ARTIFACT, "experiment.json"), (documents.JOBS, "jobs.jsonl.gz"))
    ],
    "subject": {"digest": IMAGE, "size": 5},
    "annotations": {documents.GROUP: "g"},
}
_PUBLISHED = {
    "manifest": json.dumps(_MANIFEST).encode(),
    "experiment.json": documents.head(MADE).data,
    "jobs.jsonl": documents.job_lines([JOB, JOB]),
    "packed": gzip.compress(documents.job_lines([JOB]), mtime=0),
    "which": b"best -loss",
}


class _Client:
    """Answers from files."""

    repository = parse_repository("example.org/r")
    place = "example.org/r"

    def __init__(self, root: Path, jobs: bytes) -> None:
        self._manifest = (root / "manifest").read_bytes()
        self._blobs: Mapping[str, bytes] = {
            "experiment.json": (root / "experiment.json").read_bytes(),
            "jobs.jsonl.gz": jobs,
        }

    def resolve(self, name: str) -> str:
        """Return the digest of a tag."""
        return _DIGEST

    def tags(self) -> tuple[str, ...]:
        """Return the tags."""
        return ("t",)

    def get_manifest(self, name: str) -> tuple[str, bytes]:
        """Return the one manifest, whatever is asked for."""
        return _DIGEST, self._manifest

    def referrers(self, subject: str, artifact_type: str) -> tuple[str, ...]:
        """Return what is about an image."""
        return (_DIGEST,)

    def get_blob(self, digest: str, size: int) -> bytes:
        """Return a document."""
        return self._blobs.get(digest, b"")


def _published(root: Path) -> None:
    """Inspect, list and choose from an experiment that somebody has published."""
    said: list[OcicalibanError] = []
    which, _, goal = (root / "which").read_bytes().decode("utf-8", "surrogateescape").partition(" ")
    for jobs in (gzip.compress((root / "jobs.jsonl").read_bytes(), 1), (root / "packed").read_bytes()):
        out = io.StringIO()
        made = _Client(root, jobs)
        answers = mock.patch.object(published, "client_for", mock.Mock(return_value=made))
        with answers, contextlib.redirect_stdout(out):
            for as_json in (False, True):
                with kept(said):
                    publish.inspect("example.org/r:t", as_json=as_json)
                with kept(said):
                    publish.list_("example.org/r", as_json=as_json)
            with kept(said):
                found = published.read("example.org/r:t")
                chosen = reproduce.chosen(found.jobs, which, goal)
                comparison.compare(1, chosen[0].results, found.jobs[-1].results, tolerance=0.1, only=("*o*",))
        odd = {character for character in out.getvalue() if character < " " and character != "\n"}
        assert not odd, f"characters that control a terminal: {odd}"
    for fault in said:
        raise fault


_ORIGIN = json.dumps(origin.to_record(origin.Origin(program="1", files={"a": "b"}, sweep="x", sweep_name="s"))).encode()


def _origin(root: Path) -> None:
    """Read what a submission was made from, as the history reads it."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        record: Any = json.loads((root / "origin.json").read_bytes())
        origin.from_record(record)


def _left() -> bytes:
    """Return the journal of an emulator that was killed."""
    store = JobStore()
    jobs = [store.add(PARENT, custom_job(labels={"n": str(n)})).job for n in range(3)]
    return b"".join(base64.b64encode(CustomJob.serialize(job)) + b"\n" for job in jobs)


def _emulator(root: Path) -> None:
    """Take up what a killed emulator left."""
    store = JobStore()
    store.restore(JobJournal(root / "jobs").read())
    for record in store.records():
        store.serialize(record)


def kinds() -> dict[str, Kind]:
    """Return these kinds."""
    one: tuple[Files, ...] = ({"origin.json": _ORIGIN},)
    return {
        "published": Kind((_PUBLISHED,), _published),
        "origin": Kind(one, _origin),
        "emulator": Kind(({"jobs": _left()},), _emulator),
    }
