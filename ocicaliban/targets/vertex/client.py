"""A connection to Vertex AI's JobService, through Google's client library."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError, nearest
from ocicaliban.system import installation, process, threads
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.submit_once import CreateFault, Limits, ObservedJob, Verdict, unknown
from ocicaliban.targets.vertex import job_spec, labels, library, machines, status_codes

_PAGE = 1000  # jobs; the service gives as many as it likes
_NAMES = 20  # in one filter; the longest one allowed is not documented
_MASK = "name,labels,state,error,createTime,startTime,endTime"
_CHECK_PATIENCE = 5.0  # seconds in which a service that is away for a moment may come back, before anything is done
_CHECK_LIMIT = 10.0  # seconds for the answer
_CANCEL_PATIENCE = 30.0
_AT_ONCE = 16

T = TypeVar("T")


def endpoint(region: str, given: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Return the host and port to talk to: `given`, else gcloud's own override, else the region's.

    Raises UsageError for an address without TLS.
    """
    return google_auth.endpoint("aiplatform", f"{region}-aiplatform.googleapis.com", given, environ)


def connect(project: str, region: str, *, key_file: str = "", address: str = "") -> VertexClient:
    """Connect to the service in `region` with the user's application-default credentials or a key file.

    Without a `project`, use the credentials' own, or else gcloud's. Sends nothing yet (see `VertexClient.check`).
    Raises OcicalibanError if the library is missing, the credentials are missing or malformed, or no project is known.
    """
    host = endpoint(region, address)
    loaded = library.library()
    credentials, own = google_auth.credentials(key_file)
    chosen = project or own or _configured_project()
    if not chosen:
        hint = "--project-id PROJECT, or GOOGLE_CLOUD_PROJECT, or: gcloud config set project PROJECT"
        raise UsageError("no Google Cloud project is named", hint)
    client = loaded.JobServiceClient(credentials=credentials, client_options={"api_endpoint": host})
    return VertexClient(library=loaded, client=client, project=chosen, region=region, host=host)


def _configured_project() -> str:
    """Return gcloud's project; google-auth reads it only if the credentials are in gcloud's own file."""
    try:
        return process.ask(("gcloud", "config", "get-value", "project"), limit=_CHECK_LIMIT).strip()
    except OcicalibanError:
        return ""  # gcloud is not installed, or has no project


def documented_limits() -> Limits:
    """Return how fast to submit by the service's documented quota."""
    return Limits(per_minute=machines.table().per_minute)


@frozen(kw_only=True)
class VertexClient:
    """JobService in one region, for one project. Threads may share it.

    `timeout` is for one request, in seconds: gRPC by itself waits forever.
    """

    library: library.Library = field(repr=False)
    client: Any = field(repr=False)
    project: str
    region: str
    host: str
    timeout: float = 60.0
    limits: Limits = field(factory=documented_limits)
    clock: Clock = field(default=SYSTEM, repr=False)
    title: str = "Vertex AI"

    @property
    def parent(self) -> str:
        """The resource that holds the jobs."""
        return f"projects/{self.project}/locations/{self.region}"

    def patient(self, seconds: float) -> VertexClient:
        """Return a client that waits for an answer for so many seconds only."""
        return evolve(self, timeout=seconds)

    # --- requests ---

    def check(self, body: Mapping[str, object] | None = None) -> None:
        """List one job, which shows whether credentials, project, region and network are good.

        With the `body` of a CustomJob, check also that the library knows all of its fields. Raises OcicalibanError in
        the service's own words, with the remedy.
        """
        if body is not None:
            self.message(body)
        request = {"parent": self.parent, "page_size": 1}
        limit = min(self.timeout, _CHECK_LIMIT)
        ask = functools.partial(self.client.list_custom_jobs, request=request, timeout=limit)
        self._asked(lambda: next(iter(ask()), None), _CHECK_PATIENCE)

    def message(self, body: Mapping[str, object]) -> object:
        """Return a CustomJob as the library sends it. Raises UsageError for an accelerator that it does not know."""
        try:
            return self.library.CustomJob(body)
        except KeyError as exc:
            newer = f"{installation.with_package('google-cloud-aiplatform')} --upgrade, if it is a new one"
            close = nearest(str(exc.args[0]), machines.table().accelerators)
            hint = f"{close} else {newer}" if close.startswith("did you mean") else newer
            raise UsageError(f"the client library that is installed does not know {exc}", hint) from exc

    def create(self, message: object) -> str:
        """Send a CustomJob once, and return its resource name. Raises CreateFault."""
        try:
            job = self.client.create_custom_job(parent=self.parent, custom_job=message, timeout=self.timeout)
        except self.library.faults.GoogleAPICallError as exc:
            raise CreateFault(self._verdict(exc), _words(exc)) from exc
        return str(job.name)

    def look(self, *groups: str) -> tuple[ObservedJob, ...]:
        """Return what the service has of these groups, in as few lists as it allows.

        Raises OcicalibanError if the service does not answer.
        """
        return tuple(self._listed(labels.group_filter, groups))

    def look_for(self, *keys: str) -> tuple[ObservedJob, ...]:
        """Return all attempts that the service has at the jobs with these keys. Raises as `look` does."""
        return tuple(self._listed(labels.key_filter, keys))

    def _listed(self, filter_: Callable[..., str], names: Sequence[str]) -> Iterator[ObservedJob]:
        for start in range(0, len(names), _NAMES):
            some = filter_(*names[start : start + _NAMES])
            request = {"parent": self.parent, "filter": some, "page_size": _PAGE, "read_mask": _MASK}
            # All pages before the first is used: a page that fails must not give the earlier ones twice.
            ask = functools.partial(self.client.list_custom_jobs, request=request, timeout=self.timeout)
            found: list[Any] = self._asked(lambda ask=ask: list(ask()), self.timeout)  # type: ignore[misc]
            yield from map(_observed, found)

    def _asked(self, question: Callable[[], T], seconds: float) -> T:
        """Return the answer to a question that changes nothing, so that it can be repeated after any fault."""
        patience = self.clock.monotonic() + seconds
        pause = 0.5
        while True:
            try:
                return question()
            except self.library.faults.GoogleAPICallError as exc:
                if self._verdict(exc) == "refused" or self.clock.monotonic() + pause > patience:
                    raise self.explain(exc) from exc
                self.clock.sleep(pause)
                pause = min(pause * 2, 10)

    def cancel(self, names: Sequence[str]) -> dict[str, str]:
        """Ask the service to end these jobs. Return for each resource name that it does not end the reason.

        A job that has ended is not an error. Repeats what may pass for a while: cancelling twice does no harm.
        """

        def one(name: str) -> str:
            ask = functools.partial(self.client.cancel_custom_job, name=name, timeout=self.timeout)
            try:
                self._asked(ask, _CANCEL_PATIENCE)
            except OcicalibanError as fault:
                code = _code(fault.__cause__)
                if code == "NOT_FOUND":
                    return unknown(self.title)
                return "" if code == "FAILED_PRECONDITION" else _words(fault.__cause__)
            return ""

        return {name: fault for name, fault in threads.each(one, names, at_once=_AT_ONCE) if fault}

    # --- the service's words ---

    def _verdict(self, exc: BaseException | None) -> Verdict:
        return status_codes.judge(_code(exc), _words(exc))

    def explain(self, fault: Exception, before: str = "") -> OcicalibanError:
        """Return a fault of the service for people; `before` says what was done until then."""
        exc = fault if isinstance(fault, self.library.faults.GoogleAPICallError) else fault.__cause__
        code, words = _code(exc), _words(exc)
        if why := google_auth.no_login(words):
            return google_auth.login_failed(why, before)
        if self._verdict(exc) == "refused":
            hint = status_codes.remedy(code, words, self.project, self.region)
            return Refused(f"Vertex AI refused{before}: {words} ({code})", hint)
        hint = f"check the network to {self.host}, and the region {self.region}; then try again: what was sent is found"
        return OcicalibanError(f"Vertex AI does not answer{before}: {words} ({code})", hint)


def _code(exc: BaseException | None) -> str:
    """Return the name of the gRPC status of a fault."""
    status = getattr(exc, "grpc_status_code", None)
    return str(status.name) if status is not None else "UNKNOWN"


def _words(exc: BaseException | None) -> str:
    """Return what the service says, without the library's number before it."""
    return str(getattr(exc, "message", "") or exc)


def _observed(job: Any) -> ObservedJob:
    raw = type(job).pb(job)
    times = (raw.start_time.seconds + raw.start_time.nanos / 1e9, raw.end_time.seconds + raw.end_time.nanos / 1e9)
    attempt = raw.labels.get(labels.ATTEMPT_LABEL, "")
    state = job.state.name.removeprefix("JOB_STATE_")
    return ObservedJob(
        key=raw.labels.get(labels.JOB_LABEL, ""),
        attempt=int(attempt) if attempt.isdigit() else 1,
        name=raw.name,
        state=state.lower(),
        status=job_spec.status_of(state),
        reason=raw.error.message,
        created=raw.create_time.seconds + raw.create_time.nanos / 1e9,
        started=times[0] or None,
        ended=times[1] or None,
    )
