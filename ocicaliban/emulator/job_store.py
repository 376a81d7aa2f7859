"""The emulator's jobs, and their states."""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Iterable

from attrs import define, field, frozen
from google.cloud.aiplatform_v1.types import CustomJob, JobState
from google.protobuf import field_mask_pb2
from google.rpc import code_pb2

from ocicaliban.emulator.filters import Fields, Predicate
from ocicaliban.emulator.job_journal import JobJournal
from ocicaliban.reporter import SILENT, Reporter

MAX_PAGE = 100

_ENDED = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)


@define(kw_only=True)
class JobRecord:
    """A job, its number in the order of creation, when it was created (monotonic clock), and whether to cancel it."""

    number: int
    job: CustomJob
    created: float = field(factory=time.monotonic)
    cancelled: threading.Event = field(factory=threading.Event)

    @property
    def id(self) -> str:
        """The last part of the job's resource name."""
        return str(self.job.name.rpartition("/")[2])


@frozen(kw_only=True)
class JobQuery:
    """Which jobs a list asks for: those in a region that meet a predicate.

    `mask` names the fields to return, none for all. A job is listed `delay` seconds after it was created.
    """

    parent: str
    predicate: Predicate
    size: int = 0
    token: str = ""
    mask: field_mask_pb2.FieldMask = field(factory=field_mask_pb2.FieldMask)
    delay: float = 0.0


class JobStore:
    """All jobs, for several threads: what it returns is a copy, serialized. A `journal` gets each change."""

    def __init__(self, reporter: Reporter = SILENT, journal: JobJournal | None = None) -> None:
        self._records: dict[str, JobRecord] = {}
        self._lock = threading.Lock()
        self._reporter = reporter
        self._journal = journal

    def add(self, parent: str, asked: CustomJob) -> JobRecord:
        """Add a new job, queued; fields that the service itself sets are not taken from `asked`."""
        with self._lock:
            job = CustomJob(
                name=f"{parent}/customJobs/{random.randrange(10**18, 10**19)}",
                display_name=asked.display_name,
                job_spec=asked.job_spec,
                labels=asked.labels,
                state=JobState.JOB_STATE_QUEUED,
            )
            raw = CustomJob.pb(job)
            raw.create_time.GetCurrentTime()
            raw.update_time.CopyFrom(raw.create_time)
            record = JobRecord(number=len(self._records), job=job)
            self._records[job.name] = record
            if self._journal:
                self._journal.write(job)
            return record

    def restore(self, jobs: Iterable[CustomJob]) -> list[JobRecord]:
        """Add the jobs that a killed emulator had; return those that are to run: a job that ran has failed."""
        with self._lock:
            for job in jobs:
                raw, state = CustomJob.pb(job), job.state
                if state == JobState.JOB_STATE_PENDING:
                    raw.state = JobState.JOB_STATE_QUEUED
                elif state not in (*_ENDED, JobState.JOB_STATE_QUEUED):
                    cancelled = state == JobState.JOB_STATE_CANCELLING
                    raw.state = JobState.JOB_STATE_CANCELLED if cancelled else JobState.JOB_STATE_FAILED
                    raw.error.code = code_pb2.CANCELLED if cancelled else code_pb2.INTERNAL
                    raw.error.message = "The emulator was killed while the job ran."
                    raw.end_time.GetCurrentTime()
                self._records[job.name] = JobRecord(number=len(self._records), job=job)
            return [each for each in self._records.values() if each.job.state == JobState.JOB_STATE_QUEUED]

    def records(self) -> list[JobRecord]:
        """Return all jobs in the order of their creation."""
        with self._lock:
            return [*self._records.values()]

    def find(self, name: str) -> JobRecord | None:
        """Return the job with this resource name, or None."""
        return self._records.get(name)

    def forget(self) -> None:
        """Forget all jobs, as an emulator does that is started again."""
        with self._lock:
            self._records.clear()

    def serialize(self, record: JobRecord) -> bytes:
        """Return the job as it is now, serialized."""
        with self._lock:
            return bytes(CustomJob.pb(record.job).SerializeToString())

    def has_ended(self, record: JobRecord) -> bool:
        """Return whether the job has ended."""
        return self.state(record) in _ENDED

    def state(self, record: JobRecord) -> JobState:
        """Return the job's state as it is now."""
        with self._lock:
            return record.job.state

    def set_state(self, record: JobRecord, state: JobState, code: int = 0, message: str = "") -> bool:
        """Change a job's state, and set its error if `code` is not 0.

        Return False, and change nothing, if it has ended, or if it is being cancelled and this is not its end.
        """
        with self._lock:
            # Who is about to run a job may not have seen that it was cancelled.
            now = record.job.state
            if now in _ENDED or (now == JobState.JOB_STATE_CANCELLING and state not in _ENDED):
                return False
            raw = CustomJob.pb(record.job)
            raw.state = state
            raw.update_time.GetCurrentTime()
            if state == JobState.JOB_STATE_RUNNING and not raw.HasField("start_time"):
                raw.start_time.CopyFrom(raw.update_time)
            if state in _ENDED:
                raw.end_time.CopyFrom(raw.update_time)
            if code:
                raw.error.code = code
                raw.error.message = message
            if self._journal:
                self._journal.write(record.job)
        self._reporter.say(
            f"{record.id}: {state.name.removeprefix('JOB_STATE_').lower()}{f': {message}' if message else ''}"
        )
        return True

    def page(self, query: JobQuery) -> tuple[list[bytes], str]:
        """Return a page of jobs, serialized, the newest first, and the token of the next page, "" after the last.

        Raises ValueError if the query's token is not valid.
        """
        size = min(query.size, MAX_PAGE) if query.size > 0 else MAX_PAGE
        below = int(base64.urlsafe_b64decode(query.token)) if query.token else None
        latest = time.monotonic() - query.delay
        with self._lock:
            listed = (
                record
                for record in reversed(self._records.values())
                if record.job.name.startswith(f"{query.parent}/") and record.created <= latest
            )
            matching = (
                record
                for record in listed
                if (below is None or record.number < below) and query.predicate(_fields(record.job))
            )
            found = [record for record, _ in zip(matching, range(size + 1), strict=False)]
            answers = [_masked(record.job, query.mask) for record in found[:size]]
        if len(found) <= size:
            return answers, ""
        return answers, base64.urlsafe_b64encode(str(found[size - 1].number).encode()).decode()


def _fields(job: CustomJob) -> Fields:
    raw = CustomJob.pb(job)
    fields = {
        "display_name": raw.display_name,
        "state": JobState(raw.state).name,
        "create_time": raw.create_time.ToJsonString(),
    }
    return fields | {f"labels.{key}": value for key, value in raw.labels.items()}


def _masked(job: CustomJob, mask: field_mask_pb2.FieldMask) -> bytes:
    if not mask.paths:
        return bytes(CustomJob.pb(job).SerializeToString())
    part = CustomJob.pb(CustomJob())
    mask.MergeMessage(CustomJob.pb(job), part)
    return bytes(part.SerializeToString())
