"""An experiment as an RO-Crate: its documents as a folder with a description in JSON-LD. Pure.

RO-Crate 1.1 with the profile Process Run Crate 0.5: each job is an action of the program, in the container's image,
with its parameters as objects and its metrics as results.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ocicaliban.publish import documents
from ocicaliban.publish.documents import Document
from ocicaliban.publish.experiment import Experiment, PublishedJob

_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CRATE = "https://w3id.org/ro/crate/1.1"
_IMAGE = "https://w3id.org/ro/terms/workflow-run#DockerImage"

_TERMS: Mapping[str, str] = {
    name: f"https://w3id.org/ro/terms/workflow-run#{name}"
    for name in ("ContainerImage", "containerImage", "registry", "sha256")
}
"""Names that RO-Crate's own context does not have."""

_KINDS: Mapping[str, str] = {
    documents.ARTIFACT: "application/json",
    documents.JOBS: "application/gzip",
    documents.RESULTS: "application/gzip",
    documents.FILE: "text/plain",
    "application/vnd.cyclonedx+json": "application/json",
    documents.BUNDLE: "application/octet-stream",
}
_ABOUT: Mapping[str, str] = {
    documents.ARTIFACT: "what all jobs have in common",
    documents.JOBS: "the jobs with their parameters, metrics and curves, a line of JSON for each",
    documents.RESULTS: "the files that a job has written",
    documents.FILE: "a file that the jobs were made from",
    documents.BUNDLE: "the history of the sources, for git clone",
    "application/vnd.cyclonedx+json": "the software in the image",
}

Entity = dict[str, Any]


def metadata(made: Experiment, jobs: Sequence[PublishedJob], parts: Iterable[Document], place: str) -> bytes:
    """Return the text of ro-crate-metadata.json, given the other documents and where the image is.

    A crate that was unpacked from the artifact, or written as a folder, has each document under its title.
    """
    files = [_file(each) for each in parts]
    image = _image(made, place)
    tool = _tool(made)
    actions = [_action(made, job, files) for job in jobs]
    properties = [each for job in jobs for each in (*_parameters(job), *_metrics(job))]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"The experiment {made.group}",
        "description": f"{made.jobs} jobs of {made.module or made.mode}, as ocicaliban has published them",
        "datePublished": made.created,
        "license": {"@id": "#license"},
        "conformsTo": {"@id": _PROFILE},
        "hasPart": _named(each["@id"] for each in files),
        "mentions": _named(each["@id"] for each in actions),
    }
    whole = {
        "@context": [f"{_CRATE}/context", dict(_TERMS)],
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "about": {"@id": "./"},
                "conformsTo": {"@id": _CRATE},
            },
            root,
            {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
            {
                "@id": "#license",
                "@type": "CreativeWork",
                "name": "As the sources say",
                "description": "The experiment has the licence of its sources.",
            },
            tool,
            image,
            *files,
            *actions,
            *properties,
        ],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def _named(places: Iterable[str]) -> object:
    """Return references to entities: a list, unless there is one only."""
    found = [{"@id": each} for each in places]
    return found[0] if len(found) == 1 else found


def _file(document: Document) -> Entity:
    kind = _KINDS.get(document.media_type, "application/octet-stream")
    found = {
        "@id": quote(document.title),
        "@type": "File",
        "name": document.title,
        "contentSize": str(document.blob.size),
        "sha256": document.blob.digest.removeprefix("sha256:"),
        "encodingFormat": kind,
    }
    return found | ({"description": _ABOUT[document.media_type]} if document.media_type in _ABOUT else {})


def _image(made: Experiment, place: str) -> Entity:
    host, _, path = place.partition("/")
    return {
        "@id": "#image",
        "@type": "ContainerImage",
        "additionalType": {"@id": _IMAGE},
        "registry": host,
        "name": path or host,
        "sha256": made.image.removeprefix("sha256:"),
    }


def _tool(made: Experiment) -> Entity:
    name = made.module or " ".join(made.command) or made.mode
    found: Entity = {"@id": "#program", "@type": "SoftwareApplication", "name": name}
    found["softwareVersion"] = made.commit or "unknown"
    found["url"] = {"@id": made.remote} if made.remote.startswith(("https://", "http://")) else None
    return {key: value for key, value in found.items() if value}


def _action(made: Experiment, job: PublishedJob, files: Iterable[Entity]) -> Entity:
    ended = "CompletedActionStatus" if job.status == "succeeded" else "FailedActionStatus"
    own = [each["@id"] for each in files if each["@id"] in ("jobs.jsonl.gz", f"results/{job.number}.tar.gz")]
    last = job.attempts[-1].ended if job.attempts else ""
    return {
        "@id": f"#job-{job.number}",
        "@type": "CreateAction",
        "name": f"Job {job.number} of {made.group}",
        "description": " ".join(job.args) or "no arguments",
        "instrument": {"@id": "#program"},
        "containerImage": {"@id": "#image"},
        "actionStatus": f"http://schema.org/{ended}",
        **({"endTime": last.replace("Z", "+00:00")} if last else {}),
        "object": _named(each["@id"] for each in _parameters(job)),
        "result": _named((*own, *(each["@id"] for each in _metrics(job)))),
    }


def _parameters(job: PublishedJob) -> list[Entity]:
    return [
        _property(f"#job-{job.number}-parameter-{quote(name, safe='')}", name, value) for name, value in job.parameters
    ]


def _metrics(job: PublishedJob) -> list[Entity]:
    return [
        _property(f"#job-{job.number}-metric-{quote(name, safe='')}", name, value)
        for name, value in job.results.items()
    ]


def _property(place: str, name: str, value: object) -> Entity:
    special = isinstance(value, float) and not math.isfinite(value)
    return {"@id": place, "@type": "PropertyValue", "name": name, "value": repr(value) if special else value}
