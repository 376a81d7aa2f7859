"""What jobs on Vertex AI have written, from Cloud Logging, through Google's library where that is installed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.reporter import Reporter
from ocicaliban.targets.vertex import job_spec, rate_limit

if TYPE_CHECKING:
    from ocicaliban.model.job import Attempt, Job

_PAGE = 1000  # entries, the most that the service gives at once
_EVERY = 3.0  # seconds; the service lets a project ask 60 times a minute
_SETTLE = 10.0  # seconds without anything new after a job's end
_LATE = 10.0  # seconds by which an entry may come after younger ones
_SKEW = 3600.0  # seconds by which a clock of ours may be wrong
_PATIENCE = 60.0  # seconds for a service that gives no answer, or has been asked too often
_FIRST = "workerpool0-0"


@frozen(kw_only=True)
class Entry:
    """An entry of a job's log: which of its tasks wrote it, and when (nanoseconds since 1970)."""

    id: str
    task: str
    time: int
    text: str


def entries_filter(number: str, since: int) -> str:
    """The filter for what the custom job of that number has written from a time on (nanoseconds since 1970).

    By resource and label as gcloud's `ai custom-jobs stream-logs` has them.
    """
    whole, part = divmod(since, 1_000_000_000)
    when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:09}Z"
    return f'resource.type="ml_job" AND resource.labels.job_id="{number}" AND timestamp>="{when}"'


def line(entry: Entry, *, alone: bool) -> bytes:
    """An entry as it is printed: after the name of its task, unless it is that of the only replica (`alone`)."""
    prefix = "" if alone and entry.task in (_FIRST, "") else f"{entry.task}: "
    return b"".join(f"{prefix}{each}\n".encode("utf-8", "replace") for each in entry.text.rstrip("\n").split("\n"))


def read(job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter) -> Iterator[bytes]:
    """What the job has written in that attempt, in the order of time; with `goes_on` as long as that is true.

    Entries come to the service some seconds late and not always in order, so that it is asked again for the last
    seconds, and after the end until nothing new has come for a while. `reporter` hears of a service that gives no
    answer
    yet. Raises UsageError where the library is not installed, and OcicalibanError where the service gives nothing.
    """
    log = _connected(job, attempt, reporter)
    alone = _replicas(job) == 1
    since = int((attempt.started - _SKEW) * 1e9)
    newest = since
    seen: set[tuple[int, str, str]] = set()
    over, quiet = False, time.monotonic()
    while True:
        over = over or goes_on is None or not goes_on()
        for page in log.pages(since):
            new = {(each.time, each.task, each.id): each for each in page}
            fresh = [each for mark, each in new.items() if mark not in seen]
            seen.update(new)
            if fresh:
                newest = max(newest, *(each.time for each in fresh))
                quiet = time.monotonic()
                yield b"".join(line(each, alone=alone) for each in fresh)
        if goes_on is None:
            return
        if not over:
            quiet = time.monotonic()
        elif time.monotonic() - quiet >= _SETTLE:
            return
        since = max(since, newest - int(_LATE * 1e9))
        seen = {mark for mark in seen if mark[0] >= since}
        time.sleep(_EVERY)


def _replicas(job: Job) -> int:
    asked = job.submission.options.get("vertex")
    return int(asked.get("replicas") or 1) if isinstance(asked, dict) else 1


def _connected(job: Job, attempt: Attempt, reporter: Reporter) -> _Log:
    google_auth.quieten()
    elsewhere = f"{job_spec.log_command(attempt.handle)}, or {job_spec.console(attempt.handle)}"
    try:
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
    except ImportError as exc:
        hint = f"pip install 'ocicaliban[logging]' shows it here; else {elsewhere}"
        raise UsageError(f"the log of job {job.id} is in the cloud", hint) from exc
    options = job.submission.options
    host = google_auth.endpoint("logging", "logging.googleapis.com")
    credentials, _ = google_auth.credentials(google_auth.recorded(options.get("cloud_key")))
    _, project, _, _, _, number = attempt.handle.split("/")
    return _Log(
        client=LoggingServiceV2Client(credentials=credentials, client_options={"api_endpoint": host}),
        project=str(options.get("project_id") or project),
        number=number,
        elsewhere=elsewhere,
        reporter=reporter,
    )


@frozen(kw_only=True)
class _Log:
    """The log of one custom job; `elsewhere` tells where it can be seen without us."""

    client: Any
    project: str
    number: str
    elsewhere: str
    reporter: Reporter

    def pages(self, since: int) -> Iterator[list[Entry]]:
        """The entries from a time on (nanoseconds since 1970), in their order, by pages of the service."""
        from google.api_core.exceptions import GoogleAPIError
        from google.api_core.retry import Retry

        request = {
            "resource_names": [f"projects/{self.project}"],
            "filter": entries_filter(self.number, since),
            "order_by": "timestamp asc",
            "page_size": _PAGE,
        }
        told: list[str] = []

        def no_answer(exc: Exception) -> None:
            if not told:
                told.append(self._error(exc).message)
                self.reporter.note(f"{told[0]}; trying again for {_PATIENCE:.0f} s")

        retry = Retry(predicate=_passes, initial=0.5, maximum=10, timeout=_PATIENCE, on_error=no_answer)
        try:
            for page in self.client.list_log_entries(request=request, retry=retry, timeout=_PATIENCE).pages:
                yield [_entry(type(each).pb(each)) for each in page.entries]
        except GoogleAPIError as exc:
            raise self._error(exc) from exc

    def _error(self, exc: Any) -> OcicalibanError:
        exc = getattr(exc, "cause", None) or exc  # why it was tried again, until there was no patience left
        words = str(getattr(exc, "message", "") or exc)
        status = getattr(exc, "grpc_status_code", None)
        code = status.name if status is not None else "UNKNOWN"
        if why := rate_limit.no_login(words):
            return OcicalibanError(f"Google takes no login: {why}", rate_limit.LOG_IN)
        if code == "UNAUTHENTICATED":
            return OcicalibanError(f"Cloud Logging refused: {words} ({code})", rate_limit.LOG_IN)
        if code == "PERMISSION_DENIED" and "has not been used" in words:
            hint = f"gcloud services enable logging.googleapis.com --project={self.project}"
            return OcicalibanError(f"Cloud Logging refused: {words} ({code})", hint)
        if code == "PERMISSION_DENIED":
            hint = f"ask the owner of the project {self.project} for the role roles/logging.viewer"
            return OcicalibanError(f"Cloud Logging refused: {words} ({code})", hint)
        return OcicalibanError(f"Cloud Logging gives no answer: {words} ({code})", self.elsewhere)


def _passes(exc: Exception) -> bool:
    """Whether a fault may pass by itself; a list changes nothing, so that it can be asked again."""
    from google.api_core import exceptions

    kinds = (
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ServiceUnavailable,
        exceptions.TooManyRequests,
    )
    return isinstance(exc, kinds) and not rate_limit.no_login(str(exc))


def _entry(raw: Any) -> Entry:
    payload = raw.json_payload.fields
    if "message" in payload:
        text = payload["message"].string_value
    elif payload:
        from google.protobuf import json_format

        text = json.dumps(json_format.MessageToDict(raw.json_payload), ensure_ascii=False)
    else:
        text = raw.text_payload
    return Entry(
        id=raw.insert_id,
        task=raw.resource.labels.get("task_name", ""),
        time=raw.timestamp.seconds * 1_000_000_000 + raw.timestamp.nanos,
        text=text,
    )
