"""What jobs on Vertex AI have written, from Cloud Logging, through Google's library if it is installed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.reporter import Reporter
from ocicaliban.system import installation
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.vertex import job_spec, options

if TYPE_CHECKING:
    from ocicaliban.model.job import Attempt, Job

_PAGE = 1000  # entries, the most that the service gives at once
_EVERY = 3.0  # seconds; the service lets a project ask 60 times a minute
_SETTLE = 10.0  # seconds without anything new after a job's end
_LATE = 10.0  # seconds by which an entry may come after younger ones
_SKEW = 3600.0  # seconds by which our clock may be wrong
_PATIENCE = 60.0  # seconds for a service that does not answer, or has been asked too often
_FIRST = "workerpool0-0"


@frozen(kw_only=True)
class LogEntry:
    """An entry of a job's log: which of its tasks wrote it, and when (nanoseconds since 1970)."""

    id: str
    task: str
    time: int
    text: str


def entries_filter(number: str, since: int) -> str:
    """Return the filter for what the custom job of that number has written since a time in nanoseconds since 1970.

    It uses the resource and the label that gcloud's `ai custom-jobs stream-logs` uses.
    """
    whole, part = divmod(since, 1_000_000_000)
    when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:09}Z"
    return f'resource.type="ml_job" AND resource.labels.job_id="{number}" AND timestamp>="{when}"'


def line(entry: LogEntry, *, alone: bool) -> bytes:
    """Return an entry as it is printed: after the name of its task, unless that is the only replica (`alone`)."""
    prefix = "" if alone and entry.task in (_FIRST, "") else f"{entry.task}: "
    return b"".join(f"{prefix}{each}\n".encode("utf-8", "replace") for each in entry.text.rstrip("\n").split("\n"))


def read(job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter) -> Iterator[bytes]:
    """Yield what the job has written in that attempt, in the order of time, and go on as long as `goes_on` says.

    Entries reach the service some seconds late and not always in order. So ask again for the last seconds, and after
    the end until nothing new has come for a while. `reporter` gets a note if the service does not answer yet. Raises
    UsageError if the library is not installed, and OcicalibanError if the service refuses.
    """
    return follow(_connected(job, attempt, reporter), attempt.started, goes_on, alone=_replicas(job) == 1)


def follow(
    log: _Log, started: float, goes_on: Callable[[], bool] | None, *, alone: bool, clock: Clock = SYSTEM
) -> Iterator[bytes]:
    """Yield what a log has since the attempt `started` (seconds since 1970); see `read`."""
    since = int((started - _SKEW) * 1e9)
    newest = since
    seen: set[tuple[int, str, str]] = set()
    over, quiet = False, clock.monotonic()
    while True:
        over = over or goes_on is None or not goes_on()
        for page in log.pages(since):
            new = {(each.time, each.task, each.id): each for each in page}
            fresh = [each for mark, each in new.items() if mark not in seen]
            seen.update(new)
            if fresh:
                newest = max(newest, *(each.time for each in fresh))
                quiet = clock.monotonic()
                yield b"".join(line(each, alone=alone) for each in fresh)
        if goes_on is None:
            return
        if not over:
            quiet = clock.monotonic()
        elif clock.monotonic() - quiet >= _SETTLE:
            return
        since = max(since, newest - int(_LATE * 1e9))
        seen = {mark for mark in seen if mark[0] >= since}
        clock.sleep(_EVERY)


def _replicas(job: Job) -> int:
    held = job.submission.options.get(options.KEY)
    return int(held.get("replicas") or 1) if isinstance(held, dict) else 1


def _connected(job: Job, attempt: Attempt, reporter: Reporter) -> _Log:
    google_auth.quieten()
    elsewhere = f"{job_spec.log_command(attempt.handle)}, or {job_spec.console(attempt.handle)}"
    try:
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
    except ImportError as exc:
        hint = f"{installation.with_extra('logging')} to read it here; else {elsewhere}"
        raise UsageError(f"the log of job {job.id} is in Cloud Logging", hint) from exc
    held = job.submission.options
    host = google_auth.endpoint("logging", "logging.googleapis.com")
    credentials, _ = google_auth.credentials(google_auth.recorded(held.get("cloud_key")))
    _, project, _, _, _, number = attempt.handle.split("/")
    return _Log(
        client=LoggingServiceV2Client(credentials=credentials, client_options={"api_endpoint": host}),
        project=str(held.get("project_id") or project),
        number=number,
        elsewhere=elsewhere,
        reporter=reporter,
    )


@frozen(kw_only=True)
class _Log:
    """The log of one custom job; `elsewhere` tells how to see it without us."""

    client: Any = field(repr=False)
    project: str
    number: str
    elsewhere: str
    reporter: Reporter

    def pages(self, since: int) -> Iterator[list[LogEntry]]:
        """Yield the entries since a time in nanoseconds since 1970, in order, by pages of the service."""
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

    def _error(self, exc: Exception) -> OcicalibanError:
        # The cause of the last try, after the retries have run out of time.
        exc = getattr(exc, "cause", None) or exc
        words = str(getattr(exc, "message", "") or exc)
        status = getattr(exc, "grpc_status_code", None)
        return explain(status.name if status is not None else "UNKNOWN", words, self.project, self.elsewhere)


def explain(code: str, words: str, project: str, elsewhere: str) -> OcicalibanError:
    """Return a fault with this gRPC status and these words of the service, for people."""
    if why := google_auth.no_login(words):
        return google_auth.login_failed(why)
    if code == "UNAUTHENTICATED":
        return OcicalibanError(f"Cloud Logging refused: {words} ({code})", google_auth.LOG_IN)
    if code == "PERMISSION_DENIED" and "has not been used" in words:
        hint = f"gcloud services enable logging.googleapis.com --project={project}"
        return OcicalibanError(f"Cloud Logging refused: {words} ({code})", hint)
    if code == "PERMISSION_DENIED":
        hint = f"ask the owner of the project {project} for the role roles/logging.viewer"
        return OcicalibanError(f"Cloud Logging refused: {words} ({code})", hint)
    return OcicalibanError(f"Cloud Logging does not answer: {words} ({code})", elsewhere)


def _passes(exc: Exception) -> bool:
    """Return whether a fault may pass by itself. A list changes nothing, so it can be repeated."""
    from google.api_core import exceptions

    kinds = (
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ServiceUnavailable,
        exceptions.TooManyRequests,
    )
    return isinstance(exc, kinds) and not google_auth.no_login(str(exc))


def _entry(raw: Any) -> LogEntry:
    payload = raw.json_payload.fields
    if "message" in payload:
        text = payload["message"].string_value
    elif payload:
        from google.protobuf import json_format

        text = json.dumps(json_format.MessageToDict(raw.json_payload), ensure_ascii=False)
    else:
        text = raw.text_payload
    return LogEntry(
        id=raw.insert_id,
        task=raw.resource.labels.get("task_name", ""),
        time=raw.timestamp.seconds * 1_000_000_000 + raw.timestamp.nanos,
        text=text,
    )
