"""Send what was collected to be published: into a registry, or into a layout on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban.app import published, published_results, signed, submissions
from ocicaliban.build import whole_image
from ocicaliban.containers import workspace
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Image
from ocicaliban.publish import crate, documents, sbom, signatures, statement
from ocicaliban.publish.documents import Document
from ocicaliban.registry import image_layout, kept_base, layouts
from ocicaliban.registry import push as registry_push
from ocicaliban.registry.artifact_store import ArtifactStore
from ocicaliban.registry.layouts import Layout
from ocicaliban.registry.reference import Destination
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.app.publish import Edition

_TAG_OF_IMAGE = "-image"


@frozen(kw_only=True)
class Sent:
    """What was published: the reference of the experiment, by its digest."""

    reference: str
    digest: str


def check_crate(place: str) -> None:
    """Raise UsageError if no RO-Crate can be written to a place, because something is there."""
    path = Path(place)
    if path.exists() and not (path.is_dir() and not any(path.iterdir()) and not _is_zip(path)):
        raise UsageError(f"--crate: {place} exists", "name a folder or a .zip file that does not")


def check_layout(place: str) -> None:
    """Raise UsageError if nothing can be published into a layout."""
    path = layouts.path_in(place)
    if not str(path) or str(path) == ".":
        raise UsageError(f"--to {place} names no path", "oci:FOLDER or oci-archive:FILE.tar")
    if place.startswith(layouts.ARCHIVE) and path.exists():
        raise UsageError(f"--to: {path} exists", "name a file that does not")
    if place.startswith(layouts.FOLDER) and path.exists():
        Layout(place).tags()  # it says what is wrong with a folder that is no layout


def send(edition: Edition, image: Image) -> Sent:
    """Send the image, attach the experiment and what belongs to it, and return its reference.

    Raises OcicalibanError if the place refuses. What a registry got before an interruption is not sent again.
    """
    with workspace.open_workspace() as folder, _opened(edition, folder) as (store, put_image):
        try:
            whole = whole_image.stored(image, edition.mounts, TERMINAL)
        except FileNotFoundError as exc:
            group = edition.experiment.group
            what = f"the files of {group}, which its jobs mount, do not exist any more"
            raise UsageError(what, submissions.rebuild_hint(group)) from exc
        digest, size = put_image(whole)
        made = evolve(edition.experiment, image=digest, image_id=f"sha256:{whole.id}")
        edition = evolve(edition, experiment=made)
        with TERMINAL.making("the experiment", "publishing", done="published"):
            parts = [
                *edition.documents(),
                *(published_results.packed(each, folder) for each in edition.results),
            ]
            described = crate.metadata(made, edition.jobs, parts, store.place)
            parts.append(Document(media_type=documents.CRATE, title=documents.CRATE_NAME, data=described))
            reference = _attach(store, edition, parts, documents.subject(digest, size))
        if edition.crate:
            _write_crate(Path(edition.crate), parts)
        return Sent(reference=f"{store.place}@{reference}", digest=reference)


def _attach(store: ArtifactStore, edition: Edition, parts: list[Document], image: dict[str, object]) -> str:
    """Attach the experiment, the bill of materials and the provenance to an image; return the experiment's digest."""
    made = edition.experiment
    notes = {documents.CREATED: made.created, documents.GROUP: made.group}
    for each in parts:
        if each.file:
            store.put_file(each.file, each.blob)
        else:
            store.put_blob(each.data)
    store.put_blob(documents.EMPTY)
    data = documents.manifest(parts, image, notes)
    digest = store.attach(data)
    bill = [each for each in parts if each.media_type == sbom.MEDIA_TYPE]
    if bill:
        store.attach(documents.manifest(bill, image, {}, artifact_type=sbom.MEDIA_TYPE))
    said = statement.statement(store.place, digest, made, parts)
    kind = statement.MEDIA_TYPE
    if edition.key:
        said, kind = signatures.envelope(said, kind, edition.key), signatures.ENVELOPE
    provenance = Document(media_type=kind, title="provenance.json", data=said)
    store.put_blob(said)
    about = {"predicateType": statement.PREDICATE, documents.GROUP: made.group}
    store.attach(documents.manifest([provenance], image, about, artifact_type=kind))
    if edition.key:
        signed.sign(store, edition.key, digest, len(data))
        signed.sign(store, edition.key, made.image, int(str(image["size"])))
    # The tag comes last: what it names is whole.
    store.put_manifest(edition.tag, data)
    return digest


# --- where it goes ---


_PutImage = Callable[[Image], tuple[str, int]]
"""Sends an image to a place, and returns the digest of its manifest there, and that manifest's bytes."""


@contextlib.contextmanager
def _opened(edition: Edition, folder: Path) -> Iterator[tuple[ArtifactStore, _PutImage]]:
    """Yield the place of an edition, and what puts an image there. An archive is written at the end."""
    tag = f"{edition.tag}{_TAG_OF_IMAGE}"
    if isinstance(edition.place, Destination):
        to = evolve(edition.place, tag=tag)
        registry = registry_push.connect(to, TERMINAL)
        client = published.client_for(to.repository, tls_verify=to.tls_verify, actions="pull,push")

        def push(image: Image) -> tuple[str, int]:
            pushed = registry_push.push(image, to, registry, reporter=TERMINAL)
            kept_base.keep(image, to, registry, TERMINAL)
            found = client.get_manifest(pushed.digest)
            if found is None:
                raise OcicalibanError(f"{pushed.reference} is not in the registry any more", "publish again")
            return pushed.digest, len(found[1])

        yield client, push
        return
    archive = edition.place.startswith(layouts.ARCHIVE)
    path = layouts.path_in(edition.place)
    layout = Layout(edition.place, folder / "layout" if archive else None)

    def keep(image: Image) -> tuple[str, int]:
        with TERMINAL.making("the image", "packing", done="packed"):
            digest, _ = image_layout.write(image, folder, {}, "gzip")
            layout.add_image(folder / image_layout.FOLDER, digest, tag)
            shutil.rmtree(folder / image_layout.FOLDER)
        found = layout.get_manifest(digest)
        assert found
        return digest, len(found[1])

    try:
        yield layout, keep
        if archive:
            half = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                layouts.pack(folder / "layout", half)
                os.link(half, path)  # never over a file that somebody has made meanwhile
            finally:
                half.unlink(missing_ok=True)
    except OSError as exc:
        raise OcicalibanError(
            f"{path} cannot be written: {exc.strerror or exc}", "check the path and the disk"
        ) from exc


def _write_crate(path: Path, parts: list[Document]) -> None:
    """Write the documents as an RO-Crate: into a folder, or into a zip file."""
    try:
        if _is_zip(path):
            half = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as file:
                    for each in parts:
                        if each.file:
                            file.write(each.file, each.title)
                        else:
                            file.writestr(each.title, each.data)
                os.replace(half, path)
            finally:
                half.unlink(missing_ok=True)
            return
        for each in parts:
            to = path / each.title
            to.parent.mkdir(parents=True, exist_ok=True)
            if each.file:
                shutil.copyfile(each.file, to)
            else:
                to.write_bytes(each.data)
    except OSError as exc:
        raise OcicalibanError(f"--crate: {path} cannot be written: {exc.strerror or exc}", "check the disk") from exc


def _is_zip(path: Path) -> bool:
    return path.suffix == ".zip"
