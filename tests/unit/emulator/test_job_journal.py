"""The journal of the emulator's jobs: what a killed emulator leaves, and what the next one makes of it."""

from __future__ import annotations

import base64
from pathlib import Path

from google.cloud.aiplatform_v1.types import CustomJob, JobState

from ocicaliban.emulator.job_journal import JobJournal
from ocicaliban.emulator.job_store import JobStore
from ocicaliban.reporter import Reporter
from tests.unit.emulator.samples import PARENT, custom_job


def begun(path: Path) -> JobStore:
    """Return the store of an emulator that has just started."""
    journal = JobJournal(path)
    store = JobStore(journal=journal)
    store.restore(journal.read())
    journal.begin(record.job for record in store.records())
    return store


def test_a_killed_emulators_jobs_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    store = begun(path)
    states = {
        JobState.JOB_STATE_QUEUED: JobState.JOB_STATE_QUEUED,
        JobState.JOB_STATE_PENDING: JobState.JOB_STATE_QUEUED,
        JobState.JOB_STATE_RUNNING: JobState.JOB_STATE_FAILED,
        JobState.JOB_STATE_CANCELLING: JobState.JOB_STATE_CANCELLED,
        JobState.JOB_STATE_SUCCEEDED: JobState.JOB_STATE_SUCCEEDED,
        JobState.JOB_STATE_FAILED: JobState.JOB_STATE_FAILED,
    }
    before = [store.add(PARENT, custom_job(labels={"n": str(n)})) for n in range(len(states))]
    for record, state in zip(before, states, strict=True):
        store.set_state(record, state)
    assert path.stat().st_mode & 0o777 == 0o600
    for _ in range(2):  # killed twice
        store = begun(path)
        assert [each.job.name for each in store.records()] == [each.job.name for each in before]
        assert [store.state(each) for each in store.records()] == [*states.values()]
        assert [each.job.labels["n"] for each in store.records()] == [str(n) for n in range(len(states))]
    assert "killed" in store.records()[2].job.error.message and not store.records()[4].job.error.message
    assert [each.job.labels["n"] for each in store.restore(())] == ["0", "1"]


def test_half_a_line_of_a_kill_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    begun(path).add(PARENT, custom_job())
    whole = path.read_bytes()
    for torn in (b"A", whole[:-20], b"\xff\xfe", b"QUJD\n", b"\n"):
        path.write_bytes(whole + torn)
        assert [job.name for job in JobJournal(path).read()] == [CustomJob.deserialize(_raw(whole)).name]
    assert JobJournal(tmp_path / "none").read() == ()


def _raw(line: bytes) -> bytes:
    return base64.b64decode(line)


def test_an_emulator_that_ends_leaves_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    begun(path).add(PARENT, custom_job())
    left = path.read_bytes()
    JobJournal(path).close()  # of an emulator that could not start
    assert path.read_bytes() == left
    journal = JobJournal(path)
    journal.begin(journal.read())
    journal.close()
    journal.write(custom_job())
    assert not path.exists()


def test_a_journal_that_cannot_be_written_is_told_and_jobs_go_on(tmp_path: Path) -> None:
    lines: list[str] = []
    journal = JobJournal(tmp_path / "none" / "jobs", Reporter(lines.append))
    journal.begin(())
    store = JobStore(journal=journal)
    store.add(PARENT, custom_job())
    assert len(store.records()) == 1 and len(lines) == 1 and "No such file" in lines[0]
