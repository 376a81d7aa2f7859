"""The metrics files that jobs write to Cloud Storage, fetched into a folder on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.reporter import Reporter
from ocicaliban.reports import metrics
from ocicaliban.system import files, installation
from ocicaliban.targets import result_copies

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

    from ocicaliban.model.job import Job

_SCHEME = "gs://"
_FILES = (metrics.RESULTS, metrics.LINES)
_GLOB = f"**/{{{','.join(_FILES)}}}"
_FIELDS = "items(name,generation,size),nextPageToken"
_AT_ONCE = 16
_ROUNDS = 3  # a job that runs may rewrite a file between the list and the download
_PATIENCE = 20.0  # seconds for one request with all its retries


@frozen(kw_only=True)
class Folder:
    """A folder of a bucket, named as objects are: `path` has no slash at its ends."""

    bucket: str
    path: str

    @property
    def prefix(self) -> str:
        """What the names of its objects and those of its neighbours begin with."""
        return "/".join([*self.path.split("/")[:-1], ""])


def parse(url: str) -> Folder | None:
    """Return the folder of a gs:// URL; None for a folder of a machine, and for ""."""
    if not url.startswith(_SCHEME):
        return None
    bucket, _, path = url.removeprefix(_SCHEME).partition("/")
    return Folder(bucket=bucket, path=path.strip("/"))


def local_copy(url: str) -> Path:
    """Return the folder on this machine for the metrics files of a gs:// URL. It may not exist yet."""
    return files.cache() / "results" / hashlib.sha256(url.encode()).hexdigest()[:32]


@frozen(kw_only=True)
class _Neighbours:
    """Jobs whose folders one list can show: an account, a bucket, and what the names of all objects begin with."""

    project: str
    key_file: str
    bucket: str
    prefix: str


def fetch(jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
    """Fetch what the jobs with results in Cloud Storage have reported. Return each one's folder here, by its id.

    Neighbours, such as the jobs of a group, take one list (of pages). A file that has not changed since the last time
    is not sent again. `reporter` gets a note about what cannot be fetched; what came earlier stays. Raises OSError if
    nothing can be written here.
    """
    folders: dict[int, Path] = {}
    shelves: dict[_Neighbours, dict[str, Path]] = {}
    for job in jobs:
        if (folder := parse(job.out)) is None:
            continue
        folders[job.id] = local_copy(job.out)
        held = job.submission.options
        near = _Neighbours(
            project=str(held.get("project_id") or ""),
            key_file=google_auth.recorded(held.get("cloud_key")),
            bucket=folder.bucket,
            prefix=folder.prefix,
        )
        shelves.setdefault(near, {}).update({f"{folder.path}/{name}": folders[job.id] / name for name in _FILES})
    clients: dict[tuple[str, str], Client] = {}
    for near, wanted in shelves.items():
        try:
            if not near.bucket:
                raise OcicalibanError("the URL names no bucket")
            account = near.project, near.key_file
            if account not in clients:
                clients[account] = _connected(*account)
            _fetch(clients[account], near, wanted)
        except OcicalibanError as fault:
            stale = "; showing what came earlier" if any(path.exists() for path in wanted.values()) else ""
            hint = f" ({fault.hint})" if fault.hint else ""
            reporter.note(f"no results from {_SCHEME}{near.bucket}/{near.prefix}: {fault.message}{hint}{stale}")
    return folders


def fetch_all(job: Job, to: Path) -> None:
    """Fetch everything that a job has written to Cloud Storage into the new folder `to`. Raises OcicalibanError."""
    folder = parse(job.out)
    if folder is None or not folder.bucket:
        raise UsageError(
            f"job {job.id} has no results in Cloud Storage", "submit with --output-dir gs://BUCKET/results"
        )
    held = job.submission.options
    client = _connected(str(held.get("project_id") or ""), google_auth.recorded(held.get("cloud_key")))
    prefix = f"{folder.path}/" if folder.path else ""
    with result_copies.new_folder(to) as half, _explaining():
        for _ in range(_ROUNDS):
            listed = client.list_blobs(folder.bucket, prefix=prefix, fields=_FIELDS, timeout=_PATIENCE, retry=_retry())
            named = [(blob, PurePosixPath(blob.name.removeprefix(prefix))) for blob in listed]
            there = [
                (blob, half / name)
                for blob, name in named
                # A name may end with a slash, which stands for a folder, and may be anything else.
                if not blob.name.endswith("/") and name.parts and ".." not in name.parts and not name.is_absolute()
            ]
            if not _download(there):
                return


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Raise what the library raises as an error of ours."""
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, requests.RequestException) as exc:
        raise _explained(exc) from exc
    except ValueError as exc:  # a name that no bucket can have, or an answer that is not JSON
        raise OcicalibanError(_first_line(exc)) from exc


def _connected(project: str, key_file: str) -> Client:
    """Return a client with the user's application-default credentials or a key file. Sends nothing yet."""
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
        from google.oauth2 import service_account
    except ImportError as exc:
        hint = installation.with_extra("vertex")
        raise OcicalibanError(f"Cloud Storage's client library cannot be imported: {exc}", hint) from exc
    try:
        google_auth.check_form(key_file)
        # By default the library's own: credentials of the user, or those of an emulator that it is pointed to.
        credentials = service_account.Credentials.from_service_account_file(key_file) if key_file else None
        return storage.Client(project=project or None, credentials=credentials)
    except (GoogleAuthError, ValueError, OSError) as exc:
        raise google_auth.unusable(exc, key_file) from exc


def _fetch(client: Client, near: _Neighbours, wanted: Mapping[str, Path]) -> None:
    """Fetch the objects with these names to these paths. Remove the file of an object that does not exist."""
    with _explaining():
        for _ in range(_ROUNDS):
            there = _listed(client, near, wanted)
            for name, path in wanted.items():
                if name not in there:
                    path.unlink(missing_ok=True)
            if not _download([(blob, wanted[name]) for name, blob in there.items()]):
                return


def _listed(client: Client, near: _Neighbours, wanted: Mapping[str, Path]) -> dict[str, Blob]:
    """Return the objects of these names that exist. A job may write thousands: the service selects them by name."""
    found = client.list_blobs(
        near.bucket, prefix=near.prefix, match_glob=_GLOB, fields=_FIELDS, timeout=_PATIENCE, retry=_retry()
    )
    return {blob.name: blob for blob in found if blob.name in wanted}


def _download(there: Iterable[tuple[Blob, Path]]) -> bool:
    """Download the objects that have changed. Return whether some were rewritten meanwhile, and are left out."""
    from google.api_core.exceptions import NotFound
    from google.cloud.storage import transfer_manager

    new = [(blob, path) for blob, path in there if not is_same(path, blob.generation, blob.size)]
    halves = [path.with_name(f"{path.name}.{secrets.token_hex(4)}.part") for _, path in new]
    for _, path in new:
        files.make_folder(path.parent)
    try:
        results = transfer_manager.download_many(
            [(blob, str(half)) for (blob, _), half in zip(new, halves, strict=True)],
            download_kwargs={"timeout": _PATIENCE, "retry": _retry()},
            worker_type=transfer_manager.THREAD,
            max_workers=_AT_ONCE,
        )
        faults = []
        for (blob, path), half, result in zip(new, halves, results, strict=True):
            if isinstance(result, Exception):
                faults.append(result)
            else:
                os.utime(half, ns=(stamp(blob.generation), stamp(blob.generation)))
                os.replace(half, path)
    finally:
        for half in halves:
            half.unlink(missing_ok=True)
    for fault in faults:
        if not isinstance(fault, NotFound):
            raise fault
    return bool(faults)


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_PATIENCE)


def stamp(generation: int) -> int:
    """Return the time of change, in nanoseconds, that a copy of an object of this generation gets.

    A generation is a number of 64 bits that each write changes, at present the microseconds since 1970. As the file's
    own time it is replaced together with the file, even if several processes do so.
    """
    return generation * 1000 % (1 << 62)


def is_same(path: Path, generation: int, size: int) -> bool:
    """Return whether the file is a copy of the object of that generation and size."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_mtime_ns, status.st_size) == (stamp(generation), size)


def _explained(exc: Exception) -> OcicalibanError:
    """Return what the library raised as an error of ours, in the service's own words."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    words = _first_line(exc)
    if isinstance(exc, GoogleAuthError | exceptions.Unauthorized):
        return google_auth.login_failed(words)
    if isinstance(exc, exceptions.Forbidden):
        return OcicalibanError(words, "ask the bucket's owner for the role roles/storage.objectViewer")
    if isinstance(exc, exceptions.GoogleAPICallError):
        return OcicalibanError(words)
    cause = getattr(exc, "cause", None) or exc  # of the last try, after the retries have run out of time
    if isinstance(cause, requests.RequestException):
        # The words of a connection fault hold the whole address, and an emulator's address holds a secret.
        why = "it cannot be reached" if isinstance(cause, requests.ConnectionError) else type(cause).__name__
        return OcicalibanError(f"Cloud Storage does not answer: {why}", "check the network")
    return OcicalibanError(f"Cloud Storage does not answer: {_first_line(cause)}")


def _first_line(exc: Exception) -> str:
    for each in getattr(exc, "errors", None) or ():
        if isinstance(each, Mapping) and each.get("message"):
            return str(each["message"])
    return (str(exc).splitlines() or [type(exc).__name__])[0]
