"""The emulator's jobs: what is known of each."""

from __future__ import annotations

import base64
import random
import threading
import time

from attrs import define, field
from google.cloud.aiplatform_v1.types import CustomJob, JobState
from google.protobuf import field_mask_pb2

from ocicaliban.emulator.filters import Fields, Test
from ocicaliban.reporter import SILENT, Reporter

LARGEST_PAGE = 100

_ENDED = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)


@define(kw_only=True)
class Entry:
    """A job, its place in the order of creation and when that was, and whether it shall end."""

    number: int
    job: CustomJob
    created: float = field(factory=time.monotonic)
    cancelled: threading.Event = field(factory=threading.Event)

    @property
    def id(self) -> str:
        """The last part of its resource name."""
        return str(self.job.name.rpartition("/")[2])


class Ledger:
    """All jobs, for threads: what is handed out is a copy, or the bytes of one."""

    def __init__(self, reporter: Reporter = SILENT) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._reporter = reporter

    def add(self, parent: str, asked: CustomJob) -> Entry:
        """A new job, queued, of what was asked for; the service's own fields are not taken from there."""
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
            entry = Entry(number=len(self._entries), job=job)
            self._entries[job.name] = entry
            return entry

    def find(self, name: str) -> Entry | None:
        """The job with this resource name."""
        return self._entries.get(name)

    def answer(self, entry: Entry) -> bytes:
        """The job as it is now, serialized."""
        with self._lock:
            return bytes(CustomJob.pb(entry.job).SerializeToString())

    def over(self, entry: Entry) -> bool:
        """Whether the job has ended."""
        return self.state(entry) in _ENDED

    def state(self, entry: Entry) -> JobState:
        """The job's state as it is now."""
        with self._lock:
            return entry.job.state

    def move(self, entry: Entry, state: JobState, code: int = 0, message: str = "") -> bool:
        """Put a job into another state, with an error where there is one; False where it has ended already, or ends."""
        with self._lock:
            # Who is about to run a job may not have seen that it is cancelled.
            now = entry.job.state
            if now in _ENDED or (now == JobState.JOB_STATE_CANCELLING and state not in _ENDED):
                return False
            raw = CustomJob.pb(entry.job)
            raw.state = state
            raw.update_time.GetCurrentTime()
            if state == JobState.JOB_STATE_RUNNING and not raw.HasField("start_time"):
                raw.start_time.CopyFrom(raw.update_time)
            if state in _ENDED:
                raw.end_time.CopyFrom(raw.update_time)
            if code:
                raw.error.code = code
                raw.error.message = message
        self._reporter.say(
            f"{entry.id}: {state.name.removeprefix('JOB_STATE_').lower()}{f': {message}' if message else ''}"
        )
        return True

    def page(
        self, parent: str, test: Test, size: int, token: str, mask: field_mask_pb2.FieldMask, late: float = 0.0
    ) -> tuple[list[bytes], str]:
        """A page of a region's jobs that pass a test and are `late` seconds old, the newest first, and the token of the
        next page.

        Raises ValueError for a token that is none.
        """
        size = min(size, LARGEST_PAGE) if size > 0 else LARGEST_PAGE
        below = int(base64.urlsafe_b64decode(token)) if token else None
        until = time.monotonic() - late
        with self._lock:
            known = [entry for entry in reversed(self._entries.values()) if entry.job.name.startswith(f"{parent}/")]
            known = [entry for entry in known if entry.created <= until]
            fitting = (entry for entry in known if (below is None or entry.number < below) and test(_fields(entry.job)))
            found = [entry for entry, _ in zip(fitting, range(size + 1), strict=False)]
            more = len(found) > size
            answers = [_masked(entry.job, mask) for entry in found[:size]]
        last = found[size - 1].number if more else 0
        return answers, base64.urlsafe_b64encode(str(last).encode()).decode() if more else ""


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
