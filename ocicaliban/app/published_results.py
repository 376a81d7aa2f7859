"""The files that jobs have written, to be published."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.job import Job
from ocicaliban.project import credential_files
from ocicaliban.publish import documents
from ocicaliban.publish.documents import Document


@frozen(kw_only=True)
class JobFiles:
    """The folder of a job's results, its number in the experiment, and its files: paths in it with their bytes."""

    number: int
    folder: Path
    files: tuple[tuple[str, int], ...]

    @property
    def title(self) -> str:
        """The name of the document that holds them."""
        return f"results/{self.number}.tar.gz"

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size in self.files)


def found(jobs: Sequence[Job]) -> tuple[JobFiles, ...]:
    """Return the files of each job that has some. Links are left out.

    Raises UsageError if the results of a job are not on this machine, OcicalibanError if a file holds a credential.
    """
    whole = []
    for number, job in enumerate(jobs, start=1):
        folder = Path(job.out)
        if not job.out or not folder.is_dir():
            where = job.out or f"on {job.submission.host}"
            raise UsageError(
                f"the results of job {job.id} are not on this machine: {where}",
                "`ocicaliban get GROUP` fetches what is within reach; or leave out --with-results",
            )
        files = tuple(_files(folder))
        if files:
            whole.append(JobFiles(number=number, folder=folder, files=files))
    return tuple(whole)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as file:
                data = file.read(credential_files.SCANNED)
            size = path.stat().st_size
        except OSError as exc:
            raise OcicalibanError(f"{path} cannot be read: {exc.strerror}", "check its permissions") from exc
        if what := credential_files.credential_in(data, name, whole=len(data) == size):
            raise OcicalibanError(
                f"{path}, line {what.line}: {what.what}; nothing was sent",
                "a published experiment is for everybody: remove it, or leave out --with-results",
            )
        yield name, size


def packed(job: JobFiles, folder: Path) -> Document:
    """Write the files of a job into an archive in a folder, and return it as a document.

    Owners and times are left out: the same files give the same archive. Raises OcicalibanError if one has changed.
    """
    file = folder / f"{job.number}.tar.gz"
    try:
        with (
            file.open("wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, size in job.files:
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = size, 0o644, oci_layout.EPOCH
                with (job.folder / name).open("rb") as source:
                    tar.addfile(info, source)
    except OSError as exc:
        raise OcicalibanError(f"{job.folder} changed while it was packed: {exc}", "run the command again") from exc
    with file.open("rb") as whole:
        digest = f"sha256:{hashlib.file_digest(whole, 'sha256').hexdigest()}"
    blob = Blob(digest=digest, size=file.stat().st_size)
    return Document(media_type=documents.RESULTS, title=job.title, file=file, in_file=blob)
