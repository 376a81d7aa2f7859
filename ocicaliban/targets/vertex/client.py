"""Vertex AI's JobService, through Google's client library: submits jobs by the hundred, looks at them, cancels them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, TypeVar

from attrs import field, frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError, first_line, nearest
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.system import process
from ocicaliban.system import threads as beside
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.vertex import job_spec, rate_limit
from ocicaliban.targets.vertex.job_spec import Seen

_PAGE = 1000  # jobs; the service gives as many as it likes to
_NAMES = 20  # in one filter, of which no longest is documented
_MASK = "name,labels,state,error,createTime,startTime,endTime"
_CHECK_PATIENCE = 5.0  # seconds in which a service that is away for a moment may come back, before anything is done
_CHECK_LIMIT = 10.0  # seconds for the answer to it
_CANCEL_PATIENCE = 30.0
_ASK_EVERY = 2.0  # seconds between two questions whether the jobs are still wanted


# --- the library, whose import takes seconds ---


@frozen(kw_only=True)
class _Library:
    JobServiceClient: Any
    CustomJob: Any
    faults: ModuleType


_loading: futures.Future[_Library] | None = None


def preload() -> None:
    """Begin to import the library in the background, while something else goes on; a second call does nothing."""
    global _loading
    if _loading is None:
        _loading = beside.beside(_load)


def _load() -> _Library:
    google_auth.quieten()
    service, job = _parts("services.job_service", "types.custom_job")
    faults = importlib.import_module("google.api_core.exceptions")
    return _Library(JobServiceClient=service.JobServiceClient, CustomJob=job.CustomJob, faults=faults)


_PACKAGE = "google.cloud.aiplatform_v1"


def _parts(*names: str) -> tuple[ModuleType, ...]:
    """Modules of Google's package, without the hundreds that it imports beside them: a third of the time.

    The package asks Python 3.15 to leave out what nobody uses (PEP 810). For an older one, empty packages stand in for
    those above the modules while these are imported: whoever imports the package afterwards gets all of it.
    """
    found = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else None
    if sys.version_info < (3, 15) and found is not None:
        empty = {}
        for above in ("", *(name.rpartition(".")[0] for name in names)):
            package = ModuleType(f"{_PACKAGE}.{above}".rstrip("."))
            package.__path__ = [os.path.join(folder, above) for folder in found.submodule_search_locations or ()]
            empty[package.__name__] = package
        sys.modules.update(empty)
        try:
            return tuple(importlib.import_module(f"{_PACKAGE}.{name}") for name in names)
        except ImportError:
            pass  # another version needs more of itself
        finally:
            for name in empty:
                del sys.modules[name]
    importlib.import_module(_PACKAGE)
    return tuple(importlib.import_module(f"{_PACKAGE}.{name}") for name in names)


def _library() -> _Library:
    preload()
    assert _loading is not None
    fault = _loading.exception()
    if fault is None:
        return _loading.result()
    words = "Vertex AI's client library cannot be imported"
    if isinstance(fault, ImportError):
        hint = "pip install 'ocicaliban[vertex]' (300 MB); the emulator needs it as well"
        raise OcicalibanError(f"{words}: {fault}", hint) from fault
    # Versions that do not go together: protobuf and gRPC raise whatever comes first.
    hint = "pip install --upgrade 'ocicaliban[vertex]'"
    raise OcicalibanError(f"{words}: {type(fault).__name__}: {first_line(fault)}", hint) from fault


T = TypeVar("T")


# --- a connection ---


@frozen(kw_only=True)
class Request:
    """A job to submit: its key, the number of the attempt, and its CustomJob (see `vertex.custom_job`)."""

    key: str
    attempt: int = 1
    body: Mapping[str, object]


def endpoint(region: str, given: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """The host and port to talk to: what is `given`, else gcloud's own override, else the region's.

    Raises UsageError for an address without TLS, over which no credential goes.
    """
    return google_auth.endpoint("aiplatform", f"{region}-aiplatform.googleapis.com", given, environ)


def connect(project: str, region: str, *, key_file: str = "", address: str = "") -> Service:
    """A connection to the service in `region`, as the user's application-default credentials or a key file allow.

    Without a `project` it is the credentials' own, or else gcloud's. Raises OcicalibanError where the library is
    missing, where there are no credentials or they are none, and where no project is known; nothing is sent yet (see
    `Service.check`).
    """
    host = endpoint(region, address)
    library = _library()
    credentials, own = google_auth.credentials(key_file)
    chosen = project or own or _configured_project()
    if not chosen:
        hint = "--project-id PROJECT, or GOOGLE_CLOUD_PROJECT, or: gcloud config set project PROJECT"
        raise UsageError("no Google Cloud project is named", hint)
    client = library.JobServiceClient(credentials=credentials, client_options={"api_endpoint": host})
    return Service(library=library, client=client, project=chosen, region=region, host=host)


def _configured_project() -> str:
    """gcloud's project: google-auth asks for it only where it has found the credentials in gcloud's own file."""
    try:
        return process.answer(("gcloud", "config", "get-value", "project"), "", limit=_CHECK_LIMIT).strip()
    except OcicalibanError:
        return ""  # it is not installed, or has none


@frozen(kw_only=True)
class Service:
    """JobService in one region, for one project; for threads.

    `timeout` is for one request, in seconds: gRPC by itself waits for ever.
    """

    library: Any = field(repr=False)
    client: Any = field(repr=False)
    project: str
    region: str
    host: str
    timeout: float = 60.0

    @property
    def parent(self) -> str:
        """The resource under which the jobs are."""
        return f"projects/{self.project}/locations/{self.region}"

    def check(self, body: Mapping[str, object] | None = None) -> None:
        """Ask for one job, which shows whether credentials, project, region and network are good.

        Of a CustomJob as it would be sent it is seen whether the library knows all that is in it. Raises
        OcicalibanError in the service's own words, with the remedy.
        """
        if body is not None:
            self.message(body)
        request = {"parent": self.parent, "page_size": 1}
        limit = min(self.timeout, _CHECK_LIMIT)
        ask = functools.partial(self.client.list_custom_jobs, request=request, timeout=limit)
        self._asked(lambda: next(iter(ask()), None), _CHECK_PATIENCE)

    def message(self, body: Mapping[str, object]) -> Any:
        """A CustomJob as the library sends it; raises UsageError for an accelerator that it does not know."""
        try:
            return self.library.CustomJob(body)
        except KeyError as exc:
            newer = "pip install --upgrade google-cloud-aiplatform, if it is a new one"
            close = nearest(str(exc.args[0]), job_spec.table().accelerators)
            hint = f"{close} else {newer}" if close.startswith("did you mean") else newer
            raise UsageError(f"the client library that is installed does not know {exc}", hint) from exc

    def submit(
        self,
        requests: Iterable[Request],
        group: str,
        accepted: Callable[[Request, str], None],
        *,
        per_minute: float | None = None,
        at_once: int = 64,
        settle: bool = False,
        withdrawn: Callable[[], Collection[str]] = tuple,
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
        reporter: Reporter = SILENT,
    ) -> None:
        """Submit each of these jobs of a `group` once; returns when the service has them all.

        What is there already, by an earlier call that was killed, is not sent again. `accepted` is called with each
        job and its resource name as soon as that is known, by the caller's thread alone: record it there at once. At
        most `at_once` requests are under way, at a rate that begins with `per_minute` (by default the documented
        quota) and follows what the service allows. With `settle` an earlier call was killed a moment ago, and what it
        sent last may be under way still: that is waited for. `withdrawn` tells the keys of jobs that are not to be sent
        after all; the caller's thread asks it now and then. What is accepted at the same time is told within one
        context of `together`.

        Raises Refused when the service refuses a job for good, in its own words and with a remedy, and it is known of
        every job whether it is there; OcicalibanError where that is not known of some, or when the service gives no
        answer for ten minutes. No more jobs are sent then, and those that were accepted have been told. The same for
        whatever `accepted` raises, and a Ctrl-C.
        """
        if settle:
            reporter.say(rate_limit.LOOKING)
            time.sleep(rate_limit.LOOK_AFTER[-1])
        there = {(seen.key, seen.attempt): seen.name for seen in self.look(group)}
        left: deque[tuple[Request, Any]] = deque()
        with together():
            for request in requests:
                if name := there.get((request.key, request.attempt)):
                    accepted(request, name)
                else:
                    left.append((request, self.message(request.body)))
        if left:
            quota = per_minute or job_spec.table().per_minute
            _Submitting(self, left, quota, reporter).run(min(at_once, len(left)), accepted, withdrawn, together)

    def look(self, *groups: str) -> tuple[Seen, ...]:
        """What the service tells of the jobs of these groups, in as few lists as it allows.

        Raises OcicalibanError where the service gives no answer.
        """
        return tuple(self._listed(job_spec.group_filter, groups))

    def look_for(self, *keys: str) -> tuple[Seen, ...]:
        """What the service tells of all attempts at the jobs with these keys. Raises as `look`."""
        return tuple(self._listed(job_spec.key_filter, keys))

    def _listed(self, filter_: Callable[..., str], names: Sequence[str]) -> Iterator[Seen]:
        for start in range(0, len(names), _NAMES):
            some = filter_(*names[start : start + _NAMES])
            request = {"parent": self.parent, "filter": some, "page_size": _PAGE, "read_mask": _MASK}
            # Whole, before the first is used: a page that fails in the middle must not give some of them twice.
            ask = functools.partial(self.client.list_custom_jobs, request=request, timeout=self.timeout)
            found = self._asked(lambda ask=ask: list(ask()), self.timeout)  # type: ignore[misc]
            yield from map(_seen, found)

    def _asked(self, question: Callable[[], T], seconds: float) -> T:
        """The answer to a question that changes nothing, so that it can be asked again whatever became of it."""
        patience = time.monotonic() + seconds
        pause = 0.5
        while True:
            try:
                return question()
            except self.library.faults.GoogleAPICallError as exc:
                if self.verdict(exc) == "refused" or time.monotonic() + pause > patience:
                    raise self.error(exc) from exc
                time.sleep(pause)
                pause = min(pause * 2, 10)

    def cancel(self, names: Sequence[str]) -> dict[str, str]:
        """Ask the service to end these jobs, by resource name; what it says against it, by name.

        One that has ended already is no fault. What can pass is asked again for a while: to cancel twice is as good as
        once.
        """

        def one(name: str) -> str:
            ask = functools.partial(self.client.cancel_custom_job, name=name, timeout=self.timeout)
            try:
                self._asked(ask, _CANCEL_PATIENCE)
            except OcicalibanError as fault:
                said = fault.__cause__
                if self.code(said) == "NOT_FOUND":
                    return job_spec.UNKNOWN
                return "" if self.code(said) == "FAILED_PRECONDITION" else self.words(said)
            return ""

        return {name: fault for name, fault in beside.each(one, names, at_once=16) if fault}

    # --- its words ---

    def code(self, exc: Any) -> str:
        """The name of the gRPC status of a fault."""
        status = getattr(exc, "grpc_status_code", None)
        return str(status.name) if status is not None else "UNKNOWN"

    def words(self, exc: Any) -> str:
        """What the service says, without the library's number before it."""
        return str(exc.message or exc)

    def verdict(self, exc: Any) -> rate_limit.Verdict:
        """What a fault means for a request."""
        return rate_limit.judge(self.code(exc), self.words(exc))

    def error(self, exc: Any, before: str = "") -> OcicalibanError:
        """A fault as an error of ours; what was done `before` it is told too."""
        code, words = self.code(exc), self.words(exc)
        if why := rate_limit.no_login(words):
            return OcicalibanError(f"Google takes no login{before}: {why}", rate_limit.LOG_IN)
        if self.verdict(exc) == "refused":
            hint = rate_limit.remedy(code, words, self.project, self.region)
            return Refused(f"Vertex AI refused{before}: {words} ({code})", hint)
        hint = f"is {self.host} within reach, and {self.region} a region? what was sent is found again: try once more"
        return OcicalibanError(f"Vertex AI gives no answer{before}: {words} ({code})", hint)


def _seen(job: Any) -> Seen:
    raw = type(job).pb(job)
    times = (raw.start_time.seconds + raw.start_time.nanos / 1e9, raw.end_time.seconds + raw.end_time.nanos / 1e9)
    attempt = raw.labels.get(job_spec.ATTEMPT_LABEL, "")
    return Seen(
        key=raw.labels.get(job_spec.JOB_LABEL, ""),
        attempt=int(attempt) if attempt.isdigit() else 1,
        name=raw.name,
        state=job.state.name.removeprefix("JOB_STATE_"),
        reason=raw.error.message,
        created=raw.create_time.seconds + raw.create_time.nanos / 1e9,
        started=times[0] or None,
        ended=times[1] or None,
    )


class _Submitting:
    """One submission under way: its threads, the rate that they share, and the first refusal, which ends it."""

    def __init__(
        self, service: Service, left: deque[tuple[Request, Any]], per_minute: float, reporter: Reporter
    ) -> None:
        self._service = service
        self._left = left
        self._total = len(left)
        self._reporter = reporter
        self._lock = threading.RLock()
        # Told when more may go out than was thought, and when nothing shall any more.
        self._changed = threading.Condition(self._lock)
        self._pace = rate_limit.Pace(per_minute=per_minute)
        self._answered = time.monotonic()
        self._stopping = False
        self._refusal: Any = None
        self._broken: Exception | None = None
        self._open = 0  # jobs of which nobody knows whether they are there
        self._told_slow = False
        self._withdrawn: Collection[str] = ()
        # A job's name, and None from each thread that ends.
        self._done: queue.SimpleQueue[tuple[Request, str] | None] = queue.SimpleQueue()

    def run(
        self,
        threads: int,
        accepted: Callable[[Request, str], None],
        withdrawn: Callable[[], Collection[str]],
        together: Callable[[], AbstractContextManager[None]],
    ) -> None:
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()
        told = 0
        working = threads
        asked = time.monotonic()
        untold: deque[tuple[Request, str]] = deque()

        def tell() -> None:
            with together():
                while untold:
                    accepted(*untold.popleft())

        try:
            while working:
                if time.monotonic() > asked + _ASK_EVERY:
                    self._withdrawn = withdrawn()
                    asked = time.monotonic()
                try:
                    items = [self._done.get(timeout=_ASK_EVERY)]
                except queue.Empty:
                    continue
                # With what has come meanwhile: to write each by itself takes longer than to submit it.
                items += (self._done.get() for _ in range(self._done.qsize()))
                working -= items.count(None)
                untold.extend(item for item in items if item is not None)
                told += len(untold)
                tell()
        except (KeyboardInterrupt, SystemExit):
            self._reporter.say("interrupted; the answers that are under way are waited for")
            raise
        finally:
            # What is under way is waited for: the service may take it yet, and it shall be recorded.
            self._stop()
            while working:
                item = self._done.get()
                if item is None:
                    working -= 1
                else:
                    untold.append(item)
            tell()
        if self._broken is not None:
            fault, hint = self._broken, "what was sent is found again; --debug shows where it comes from"
            raise OcicalibanError(f"unexpected: {type(fault).__name__}: {first_line(fault)}", hint) from fault
        if self._refusal is not None:
            before = f" a job, after {told} of {self._total} were accepted" if told else " the job"
            error = self._service.error(self._refusal, before)
            if self._open:
                open_ = f"of {self._open} nobody knows whether they are there" if self._open > 1 else "it may be there"
                error = OcicalibanError(f"{error.message}; {open_}", error.hint)
            raise error from self._refusal

    def _work(self) -> None:
        try:
            while not self._stopping:
                with self._lock:
                    if not self._left:
                        return
                    request, message = self._left.popleft()
                if name := self._sent(request, message):
                    self._done.put((request, name))
        except Exception as fault:  # noqa: BLE001 it is raised by `run`: what else would be lost is this job
            with self._lock:
                self._broken = self._broken or fault
                self._stop()
        finally:
            self._done.put(None)

    def _sent(self, request: Request, message: Any) -> str:
        """Send a job until its fate is known; its resource name, or nothing when the submission ends without it."""
        while (at := self._may_send(request)) is not None:
            try:
                job = self._service.client.create_custom_job(
                    parent=self._service.parent, custom_job=message, timeout=self._service.timeout
                )
            except self._service.library.faults.GoogleAPICallError as exc:
                unclear = self._service.verdict(exc) == "unclear"
                goes_on = self._goes_on(exc, at)
                if unclear and (name := self._looked_up(request)):
                    return name
                if not goes_on:
                    return ""
            else:
                with self._lock:
                    self._answered = time.monotonic()
                    before = self._pace.per_minute
                    self._pace = rate_limit.accepted(self._pace, self._answered)
                    if self._pace.per_minute > before:
                        self._changed.notify_all()
                return str(job.name)
        return ""

    def _may_send(self, request: Request) -> float | None:
        """Wait for leave to send one; the time at which it was given, None when the submission ends without it."""
        with self._lock:
            while not self._stopping and request.key not in self._withdrawn:
                now = time.monotonic()
                self._pace, pause = rate_limit.take(self._pace, now)
                if not pause:
                    return now
                self._changed.wait(min(pause, _ASK_EVERY))
        return None

    def _stop(self) -> None:
        """Send no more."""
        with self._lock:
            self._stopping = True
            self._changed.notify_all()

    def _goes_on(self, exc: Any, sent_at: float) -> bool:
        """What a create that failed means for all others; False when it ends the submission."""
        verdict = self._service.verdict(exc)
        with self._lock:
            now = time.monotonic()
            if verdict != "unclear":
                self._answered = now
            if verdict == "throttled":
                self._pace = rate_limit.throttled(self._pace, now, sent_at)
                if not self._told_slow:
                    self._told_slow = True
                    self._reporter.note(f"the rest goes out more slowly: {self._service.words(exc)}")
            elif verdict == "refused" or now > self._answered + rate_limit.PATIENCE:
                self._refusal = self._refusal or exc
                self._stop()
                return False
        return True

    def _looked_up(self, request: Request) -> str:
        """The resource name of a job that may have been made though its answer was lost; empty when it was not.

        It is looked up even when the submission ends meanwhile: what the service has shall be recorded. Only a look
        that was answered counts. Where none is for as long as a submission waits, or none will be, or when the
        submission ends, the job counts as `_open`, and the submission ends with it.
        """
        looks, pause, until = 0, rate_limit.next_look(0), time.monotonic() + rate_limit.PATIENCE
        while pause is not None:
            time.sleep(pause)
            try:
                seen = self._service.look_for(request.key)
            except OcicalibanError as fault:  # it had a minute of patience of its own
                if isinstance(fault, Refused) or self._stopping or time.monotonic() > until:
                    with self._lock:
                        self._open += 1
                        self._refusal = self._refusal or fault.__cause__
                        self._stop()
                    return ""
                pause = rate_limit.LOOK_AFTER[-1]
                continue
            if name := next((each.name for each in seen if each.attempt == request.attempt), ""):
                return name
            looks += 1
            pause = rate_limit.next_look(looks)
        return ""
