"""Find a published experiment by its reference, and read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.publish import documents
from ocicaliban.publish.experiment import Experiment, PublishedJob
from ocicaliban.registry import auth
from ocicaliban.registry.artifacts import ArtifactClient, is_own_tag, json_object
from ocicaliban.registry.reference import Repository, check_tag, parse_repository
from ocicaliban.reporter import TERMINAL

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_SHOWN = "a reference is HOST/REPOSITORY@sha256:DIGEST, as `ocicaliban publish` prints it, or HOST/REPOSITORY:TAG"


@frozen(kw_only=True)
class PublishedFile:
    """A document of an experiment: its name, and its blob's digest and size in bytes."""

    title: str
    media_type: str
    digest: str
    size: int


@frozen(kw_only=True)
class Published:
    """An experiment in a registry: where it is, the digest of its artifact, and what it says."""

    repository: Repository
    digest: str
    experiment: Experiment
    jobs: tuple[PublishedJob, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    annotations: Mapping[str, str] = field(factory=dict)

    @property
    def reference(self) -> str:
        """The experiment by its digest, which always names the same contents."""
        return f"{self.repository}@{self.digest}"

    @property
    def image(self) -> str:
        """The image by its digest."""
        return f"{self.repository}@{self.experiment.image}"


def parse(reference: str) -> tuple[Repository, str, str]:
    """Return the repository, the tag or digest, and the tag beside a digest. Raises UsageError for another form."""
    plain = reference.removeprefix("docker://")
    place, at, digest = plain.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise UsageError(f"'{reference}' has no valid digest", _SHOWN)
    head, colon, tag = place.rpartition(":")
    tagged = bool(colon) and "/" not in tag
    if at:
        return parse_repository(head if tagged else place), digest, check_tag(tag) if tagged else ""
    if not tagged:
        raise UsageError(f"'{reference}' has neither a tag nor a digest", _SHOWN)
    return parse_repository(head), check_tag(tag), ""


def client_for(repository: Repository, *, tls_verify: bool, actions: str = "pull") -> ArtifactClient:
    """Return a client for the artifacts of a repository that has reached the registry. Raises OcicalibanError."""
    made = ArtifactClient(
        repository, lambda: auth.find_login(repository), actions=actions, verify=tls_verify, reporter=TERMINAL
    )
    made.reach()
    return made


def read(reference: str, *, tls_verify: bool = True) -> Published:
    """Return the experiment that a reference names: its own, or that of its image if the image has one.

    Raises UsageError for something that is not a reference, or of which there are several experiments, OcicalibanError
    if there is none, or if a part of it is missing or has been changed.
    """
    repository, name, tag = parse(reference)
    client = client_for(repository, tls_verify=tls_verify)
    if tag and (named := client.resolve(tag)) and named != name:
        raise OcicalibanError(
            f"the tag {tag} of {repository} names {named} now: somebody has moved it",
            f"what the reference meant is {repository}@{name}",
        )
    found = client.get_manifest(name)
    if found is None:
        raise OcicalibanError(f"{repository} has no {name}", f"ocicaliban list {repository}")
    if _type(found[1]) != documents.ARTIFACT:
        found = _of_image(client, found[0], reference)
    return _read(client, *found)


def all_in(repository: Repository, *, tls_verify: bool = True) -> Iterator[tuple[str, Published]]:
    """Yield the experiments of a repository, each with its tag, without their jobs."""
    client = client_for(repository, tls_verify=tls_verify)
    for tag in client.tags():
        found = None if is_own_tag(tag) else client.get_manifest(tag)
        if found and _type(found[1]) == documents.ARTIFACT:
            try:
                yield tag, _read(client, *found, jobs=False)
            except OcicalibanError as fault:  # another one is fine
                TERMINAL.note(fault.message)


def _of_image(client: ArtifactClient, image: str, reference: str) -> tuple[str, bytes]:
    """Return the one experiment about an image. Raises UsageError if there are several, or none."""
    about = client.referrers(image, documents.ARTIFACT)
    if not about:
        raise UsageError(f"{reference} is not a published experiment", "`ocicaliban publish GROUP` publishes one")
    if len(about) > 1:
        several = "\n".join(f"{client.repository}@{digest}" for digest in about)
        raise UsageError(f"{reference} is the image of {len(about)} experiments", f"name one of them:\n{several}")
    found = client.get_manifest(about[0])
    if found is None:
        raise OcicalibanError(
            f"{client.repository}@{about[0]} is not in the registry any more",
            "do not use it: ask the registry's owner what became of it",
        )
    return found


def _type(data: bytes) -> str:
    return str(json_object(data).get("artifactType", ""))


def _read(client: ArtifactClient, digest: str, data: bytes, *, jobs: bool = True) -> Published:
    manifest = json_object(data)
    place = f"{client.repository}@{digest}"
    try:
        files = tuple(
            PublishedFile(
                title=str(each["annotations"][documents.TITLE]),
                media_type=str(each["mediaType"]),
                digest=str(each["digest"]),
                size=int(each["size"]),
            )
            for each in manifest["layers"]
        )
        subject = str(manifest["subject"]["digest"])
        by_type = {file.media_type: file for file in files}
        first, second = by_type[documents.ARTIFACT], by_type[documents.JOBS]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise OcicalibanError(
            f"{place} is not an experiment as ocicaliban publishes it", "check the reference"
        ) from exc
    said = documents.read_experiment(client.get_blob(first.digest, first.size), place)
    if said.image != subject:
        raise OcicalibanError(
            f"{place} is about the image {subject}, and its experiment ran in {said.image}", "do not use it"
        )
    found = documents.read_jobs(client.get_blob(second.digest, second.size), place) if jobs else ()
    notes = {str(name): str(value) for name, value in (manifest.get("annotations") or {}).items()}
    return Published(
        repository=client.repository, digest=digest, experiment=said, jobs=found, files=files, annotations=notes
    )
