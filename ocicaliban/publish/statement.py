"""Where an experiment comes from: an in-toto statement with a predicate of SLSA's provenance, version 1. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ocicaliban.containers import oci_layout
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.publish.documents import Document
from ocicaliban.publish.experiment import Experiment

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
BUILD_TYPE = "urn:ocicaliban:experiment:v1"
"""What `externalParameters` and `internalParameters` mean: docs/reference/experiment-format.md says it."""


def statement(place: str, digest: str, made: Experiment, documents: Iterable[Document]) -> bytes:
    """Return the statement about an experiment with this digest at a place, and about its image."""
    image = made.image
    sources = [each for each in documents if each.is_source]
    dependencies = [
        {"name": each.title, "digest": {"sha256": hashlib.sha256(each.data).hexdigest()}} for each in sources
    ]
    if made.commit:
        uri = {"uri": f"git+{made.remote}@{made.commit}"} if made.remote else {"name": "source"}
        dependencies.insert(0, {**uri, "digest": {"gitCommit": made.commit}})
    external = {"group": made.group, "mode": made.mode, "module": made.module, "jobs": made.jobs, "sweep": made.sweep}
    record = {
        "_type": STATEMENT,
        "subject": [
            {"name": place, "digest": {"sha256": digest.removeprefix("sha256:")}},
            {"name": f"{place}@{image}", "digest": {"sha256": image.removeprefix("sha256:")}},
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external,
                "internalParameters": {"dirty": made.dirty},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": "urn:ocicaliban", "version": {"ocicaliban": made.program or "unknown"}},
                "metadata": {"invocationId": made.group, "finishedOn": made.created},
            },
        },
    }
    return oci_layout.canonical_json(record)


def is_about(data: bytes, digest: str) -> bool:
    """Return whether a statement names this digest among its subjects."""
    try:
        told: Any = parse_json(data)
        subjects = told["subject"]
        return told["_type"] == STATEMENT and any(_digest(each) == digest for each in subjects)
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _digest(subject: Mapping[str, Any]) -> str:
    return f"sha256:{subject['digest']['sha256']}"
