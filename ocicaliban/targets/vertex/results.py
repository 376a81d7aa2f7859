"""What jobs report in Cloud Storage: their metrics files, brought from the buckets to a folder on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError
from ocicaliban.reporter import Reporter
from ocicaliban.reports import metrics
from ocicaliban.system import files
from ocicaliban.targets.vertex import rate_limit

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

    from ocicaliban.model.job import Job

_SCHEME = "gs://"
_FILES = (metrics.RESULTS, metrics.LINES)
_GLOB = f"**/{{{','.join(_FILES)}}}"
_FIELDS = "items(name,generation,size),nextPageToken"
_AT_ONCE = 16
_ROUNDS = 3  # a job that runs writes a file anew between the list and the download
_PATIENCE = 20.0  # seconds for one request with all its retries


@frozen(kw_only=True)
class Place:
    """A folder of a bucket, named as objects are: `folder` has no slash at its ends."""

    bucket: str
    folder: str

    @property
    def above(self) -> str:
        """What the names of its objects and those of its neighbours begin with."""
        return "/".join([*self.folder.split("/")[:-1], ""])


def parse(url: str) -> Place | None:
    """The place that a gs:// URL names; None for a folder of a machine, and for no folder at all."""
    if not url.startswith(_SCHEME):
        return None
    bucket, _, folder = url.removeprefix(_SCHEME).partition("/")
    return Place(bucket=bucket, folder=folder.strip("/"))


def copy_of(url: str) -> Path:
    """The folder on this machine for the metrics files of a place; it need not be there."""
    return files.cache() / "results" / hashlib.sha256(url.encode()).hexdigest()[:32]


def bring(jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
    """Bring what the jobs with results in Cloud Storage have reported; each one's folder here, by the job's id.

    Neighbours, as the jobs of a group are, take one list (of pages), and what came earlier and is the same there is not
    sent again. What cannot be brought is told to `reporter`, and what came earlier stays. Raises OSError where
    nothing can
    be written here.
    """
    folders: dict[int, Path] = {}
    shelves: dict[tuple[str, str, str, str], dict[str, Path]] = {}
    for job in jobs:
        if (place := parse(job.out)) is None:
            continue
        folders[job.id] = copy_of(job.out)
        options = job.submission.options
        account = str(options.get("project_id") or ""), google_auth.recorded(options.get("cloud_key"))
        wanted = shelves.setdefault((*account, place.bucket, place.above), {})
        wanted |= {f"{place.folder}/{name}": folders[job.id] / name for name in _FILES}
    clients: dict[tuple[str, str], Client] = {}
    for (project, key_file, bucket, above), wanted in shelves.items():
        try:
            if not bucket:
                raise OcicalibanError("no bucket is named")
            if (project, key_file) not in clients:
                clients[project, key_file] = _connected(project, key_file)
            _brought(clients[project, key_file], bucket, above, wanted)
        except OcicalibanError as fault:
            stale = "; what came earlier is shown" if any(path.exists() for path in wanted.values()) else ""
            hint = f" ({fault.hint})" if fault.hint else ""
            reporter.note(f"no results from {_SCHEME}{bucket}/{above}: {fault.message}{hint}{stale}")
    return folders


def _connected(project: str, key_file: str) -> Client:
    """A client, as the user's application-default credentials or a key file allow; nothing is sent yet."""
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
        from google.oauth2 import service_account
    except ImportError as exc:
        hint = "pip install 'ocicaliban[vertex]' brings it"
        raise OcicalibanError(f"Cloud Storage's client library cannot be imported: {exc}", hint) from exc
    try:
        google_auth.check_form(key_file)
        # By default the library's own: credentials of the user, or an emulator's that it is pointed to.
        credentials = service_account.Credentials.from_service_account_file(key_file) if key_file else None
        return storage.Client(project=project or None, credentials=credentials)
    except (GoogleAuthError, ValueError, OSError) as exc:
        raise google_auth.unusable(exc, key_file) from exc


def _brought(client: Client, bucket: str, above: str, wanted: Mapping[str, Path]) -> None:
    """Bring the objects of these names to these paths; where there is none there is no file afterwards either."""
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        for _ in range(_ROUNDS):
            there = _listed(client, bucket, above, wanted)
            for name, path in wanted.items():
                if name not in there:
                    path.unlink(missing_ok=True)
            if not _downloaded([(blob, wanted[name]) for name, blob in there.items()]):
                return
    except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, requests.RequestException) as exc:
        raise _fault(exc) from exc
    except ValueError as exc:  # a name that no bucket can have, or an answer that is no JSON
        raise OcicalibanError(_first_line(exc)) from exc


def _listed(client: Client, bucket: str, above: str, wanted: Mapping[str, Path]) -> dict[str, Blob]:
    """What is there of these names. A job may write thousands of files, so that the service chooses by name."""
    found = client.list_blobs(
        bucket, prefix=above, match_glob=_GLOB, fields=_FIELDS, timeout=_PATIENCE, retry=_retry()
    )  # fmt: skip
    return {blob.name: blob for blob in found if blob.name in wanted}


def _downloaded(there: Iterable[tuple[Blob, Path]]) -> bool:
    """Download what is not here as it is there; whether some of it was written anew meanwhile, and is left."""
    from google.api_core.exceptions import NotFound
    from google.cloud.storage import transfer_manager

    new = [(blob, path) for blob, path in there if not is_same(path, blob.generation, blob.size)]
    halves = [path.with_name(f"{path.name}.{secrets.token_hex(4)}.part") for _, path in new]
    for _, path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """The time of change, in nanoseconds, that a copy of an object of this generation gets.

    A generation is a number of 64 bits that each write changes, for now the microseconds since 1970. In the file's own
    time it is replaced together with the file, whoever else is at it.
    """
    return generation * 1000 % (1 << 62)


def is_same(path: Path, generation: int, size: int) -> bool:
    """Whether the file is a copy of the object of that generation and size."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_mtime_ns, status.st_size) == (stamp(generation), size)


def _fault(exc: Exception) -> OcicalibanError:
    """What the library raised as an error of ours, in the service's own words."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    words = _first_line(exc)
    if isinstance(exc, GoogleAuthError | exceptions.Unauthorized):
        return OcicalibanError(f"Google takes no login: {words}", rate_limit.LOG_IN)
    if isinstance(exc, exceptions.Forbidden):
        return OcicalibanError(words, "it takes the role roles/storage.objectViewer on the bucket")
    if isinstance(exc, exceptions.GoogleAPICallError):
        return OcicalibanError(words)
    cause = getattr(exc, "cause", None) or exc  # why it was tried again, until there was no patience left
    if isinstance(cause, requests.RequestException):
        # What it says of connections has the whole address in it, and an emulator's has a secret.
        why = "it cannot be reached" if isinstance(cause, requests.ConnectionError) else type(cause).__name__
        return OcicalibanError(f"Cloud Storage gives no answer: {why}", "is the network up?")
    return OcicalibanError(f"Cloud Storage gives no answer: {_first_line(cause)}")


def _first_line(exc: Exception) -> str:
    for each in getattr(exc, "errors", None) or ():
        if isinstance(each, Mapping) and each.get("message"):
            return str(each["message"])
    return (str(exc).splitlines() or [type(exc).__name__])[0]
