"""Find a published experiment by its reference, and read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban.app import signed
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.publish import documents
from ocicaliban.publish.experiment import Experiment, PublishedJob, is_path_inside
from ocicaliban.registry import auth, layouts
from ocicaliban.registry.artifact_store import ArtifactStore
from ocicaliban.registry.artifacts import ArtifactClient, is_own_tag, json_object
from ocicaliban.registry.layouts import Layout
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

    @property
    def is_source(self) -> bool:
        """Whether it is one of the files that the jobs were made from."""
        return self.media_type in (documents.FILE, documents.BUNDLE)


@frozen(kw_only=True)
class Published:
    """An experiment at a place (a repository, or a layout): the digest of its artifact, and what it says.

    `signed_by` is the key that was verified, "" if none was.
    """

    place: str
    digest: str
    experiment: Experiment
    jobs: tuple[PublishedJob, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    annotations: Mapping[str, str] = field(factory=dict)
    signed_by: str = ""

    @property
    def reference(self) -> str:
        """The experiment by its digest, which always names the same contents."""
        return f"{self.place}@{self.digest}"

    @property
    def image(self) -> str:
        """The image by its digest."""
        return f"{self.place}@{self.experiment.image}"


# --- where it is ---


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


def parse_layout(reference: str) -> tuple[Layout, str, str]:
    """Return the layout, the tag or digest ("" if there is none), and the tag beside a digest. Raises UsageError."""
    place, at, digest = reference.rpartition("@")
    if not (at and _DIGEST.fullmatch(digest)):
        place, digest = reference, ""
    head, _, tag = place.rpartition(":")
    if layouts.path_in(place).exists() or not layouts.is_place(head) or not layouts.path_in(head).exists():
        head, tag = place, ""
    if not layouts.path_in(head).exists():
        raise UsageError(f"{head} does not exist", "check the path")
    return Layout(head), digest or tag, tag if digest else ""


def client_for(repository: Repository, *, tls_verify: bool, actions: str = "pull") -> ArtifactClient:
    """Return a client for the artifacts of a repository that has reached the registry. Raises OcicalibanError."""
    made = ArtifactClient(
        repository, lambda: auth.find_login(repository), actions=actions, verify=tls_verify, reporter=TERMINAL
    )
    made.reach()
    return made


def located(reference: str, *, tls_verify: bool = True) -> tuple[ArtifactStore, str]:
    """Return the place that a reference names, and the tag or digest there. Raises UsageError or OcicalibanError."""
    store: ArtifactStore
    if layouts.is_place(reference):
        store, name, tag = parse_layout(reference)
    else:
        repository, name, tag = parse(reference)
        store = client_for(repository, tls_verify=tls_verify)
    if tag and (named := store.resolve(tag)) and named != name:
        raise OcicalibanError(
            f"the tag {tag} of {store.place} names {named} now: somebody has moved it",
            f"what the reference meant is {store.place}@{name}",
        )
    return store, name


# --- read ---


def read(reference: str, *, tls_verify: bool = True, key: str = "") -> Published:
    """Return the experiment that a reference names: its own, or that of its image if the image has one.

    `key` is the file of a public key that must have signed it. Raises UsageError for something that is not a reference,
    or of which there are several experiments, OcicalibanError if there is none, if a part of it is missing or has been
    changed, or if it is not signed.
    """
    public = signed.public_key(key) if key else None
    store, name = located(reference, tls_verify=tls_verify)
    found = store.get_manifest(name) if name else _only_one(store)
    if found is None:
        raise OcicalibanError(f"{store.place} has no {name}", f"ocicaliban list {store.place}")
    if _type(found[1]) != documents.ARTIFACT:
        found = _of_image(store, found[0], reference)
    made = _read(store, *found)
    if public:
        signed.verify(store, public, made.digest, made.experiment.image)
        return evolve(made, signed_by=public.name)
    return made


def save(
    found: Published,
    folder: Path,
    *,
    tls_verify: bool = True,
    wanted: Callable[[PublishedFile], bool] = lambda file: True,
) -> None:
    """Write the documents of an experiment, or those that are `wanted`, into a new folder, each under its name.

    Raises UsageError if something is there, OcicalibanError if a document is missing or changed, or has a name that
    would lead out of the folder, or into the folder of git.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--save: {folder} exists", "name a folder that does not")
    store, _ = located(found.reference, tls_verify=tls_verify)
    for each in found.files:
        if not is_path_inside(each.title):
            raise OcicalibanError(f"{found.reference} has a document called {each.title!r}", "do not use it")
        if not wanted(each):
            continue
        path = folder / each.title
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x+b") as file:
                store.save_blob(each.digest, each.size, file)
        except OSError as exc:
            raise OcicalibanError(f"{path} cannot be written: {exc.strerror}", "check the path and the disk") from exc


def all_in(place: str, *, tls_verify: bool = True) -> Iterator[tuple[str, Published]]:
    """Yield the experiments of a repository or a layout, each with its tag, without their jobs."""
    store: ArtifactStore
    if layouts.is_place(place):
        store = parse_layout(place)[0]
    else:
        store = client_for(parse_repository(place), tls_verify=tls_verify)
    for tag in store.tags():
        found = None if is_own_tag(tag) else store.get_manifest(tag)
        if found and _type(found[1]) == documents.ARTIFACT:
            try:
                yield tag, _read(store, *found, jobs=False)
            except OcicalibanError as fault:  # another one is fine
                TERMINAL.note(fault.message)


def _only_one(store: ArtifactStore) -> tuple[str, bytes]:
    """Return the experiment of a layout that has one. Raises UsageError."""
    tagged = ((tag, store.get_manifest(tag)) for tag in store.tags() if not is_own_tag(tag))
    known = {found[0]: (tag, found[1]) for tag, found in tagged if found and _type(found[1]) == documents.ARTIFACT}
    if len(known) == 1:
        [(digest, (_, data))] = known.items()
        return digest, data
    several = "\n".join(f"{store.place}:{tag}" for tag, _ in known.values())
    hint = f"name one of them:\n{several}" if known else "`ocicaliban publish GROUP --to oci:FOLDER` publishes one"
    raise UsageError(f"{store.place} has {len(known) or 'no'} published experiments", hint)


def _of_image(store: ArtifactStore, image: str, reference: str) -> tuple[str, bytes]:
    """Return the one experiment about an image. Raises UsageError if there are several, or none."""
    about = store.referrers(image, documents.ARTIFACT)
    if not about:
        raise UsageError(f"{reference} is not a published experiment", "`ocicaliban publish GROUP` publishes one")
    if len(about) > 1:
        several = "\n".join(f"{store.place}@{digest}" for digest in about)
        raise UsageError(f"{reference} is the image of {len(about)} experiments", f"name one of them:\n{several}")
    found = store.get_manifest(about[0])
    if found is None:
        raise OcicalibanError(
            f"{store.place}@{about[0]} is not in the registry any more",
            "do not use it: ask the registry's owner what became of it",
        )
    return found


def _encodable(value: object) -> str:
    """Return a text that can be printed. Raises UnicodeEncodeError: half of a surrogate pair is JSON, but no text."""
    text = str(value)
    text.encode()
    return text


def _type(data: bytes) -> str:
    return str(json_object(data).get("artifactType", ""))


def _read(store: ArtifactStore, digest: str, data: bytes, *, jobs: bool = True) -> Published:
    manifest = json_object(data)
    place = f"{store.place}@{digest}"
    try:
        files = tuple(
            PublishedFile(
                title=_encodable(each["annotations"][documents.TITLE]),
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
    said = documents.read_experiment(store.get_blob(first.digest, first.size), place)
    if said.image != subject:
        raise OcicalibanError(
            f"{place} is about the image {subject}, and its experiment ran in {said.image}", "do not use it"
        )
    found = documents.read_jobs(store.get_blob(second.digest, second.size), place) if jobs else ()
    notes = {str(name): str(value) for name, value in (manifest.get("annotations") or {}).items()}
    return Published(place=store.place, digest=digest, experiment=said, jobs=found, files=files, annotations=notes)
