"""The emulator's jobs: their states, and pages of them."""

from __future__ import annotations

import pytest
from google.cloud.aiplatform_v1.types import CustomJob, JobState
from google.protobuf import field_mask_pb2

from ocicaliban.emulator import filters
from ocicaliban.emulator.job_store import JobQuery, JobStore
from ocicaliban.reporter import Reporter
from tests.unit.emulator.samples import PARENT, custom_job

ALL = filters.parse("")


def test_a_job_is_queued_and_takes_no_state_from_what_was_asked() -> None:
    store = JobStore()
    asked = custom_job(labels={"n": "1"})
    asked.name, asked.state = "mine", JobState.JOB_STATE_SUCCEEDED
    record = store.add(PARENT, asked)
    job = CustomJob.deserialize(store.serialize(record))
    assert job.name == f"{PARENT}/customJobs/{record.id}" and record.id.isdecimal()
    assert job.state == JobState.JOB_STATE_QUEUED and dict(job.labels) == {"n": "1"} and job.create_time
    assert store.find(job.name) is record and store.find("mine") is None and store.records() == [record]
    store.forget()
    assert store.records() == []


def test_states_follow_each_other_and_an_end_is_final() -> None:
    lines: list[str] = []
    store = JobStore(Reporter(lines.append))
    record = store.add(PARENT, custom_job())
    for state in (JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING):
        assert store.set_state(record, state) and store.state(record) == state and not store.has_ended(record)
    assert store.set_state(record, JobState.JOB_STATE_CANCELLING)
    assert not store.set_state(record, JobState.JOB_STATE_RUNNING)
    assert store.set_state(record, JobState.JOB_STATE_FAILED, 3, "no")
    assert store.has_ended(record) and not store.set_state(record, JobState.JOB_STATE_CANCELLED)
    job = CustomJob.deserialize(store.serialize(record))
    assert (job.error.code, job.error.message) == (3, "no") and job.start_time and job.end_time
    assert lines[0] == f"{record.id}: pending" and lines[-1] == f"{record.id}: failed: no"


def test_pages_have_the_newest_job_first_and_each_once() -> None:
    store = JobStore()
    records = [store.add(PARENT, custom_job(labels={"even": str(n % 2 == 0).lower()})) for n in range(7)]
    store.add(PARENT.replace("us-central1", "europe-west4"), custom_job(labels={"even": "true"}))
    predicate, names, token = filters.parse('labels.even="true"'), list[str](), ""
    while True:
        page, token = store.page(JobQuery(parent=PARENT, predicate=predicate, size=3, token=token))
        names += [CustomJob.deserialize(each).name for each in page]
        if not token:
            break
    assert names == [record.job.name for record in reversed(records[::2])]


def test_a_mask_leaves_out_other_fields_and_a_delay_new_jobs() -> None:
    store = JobStore()
    record = store.add(PARENT, custom_job(labels={"n": "1"}))
    mask = field_mask_pb2.FieldMask(paths=["name", "state"])
    [raw], _ = store.page(JobQuery(parent=PARENT, predicate=ALL, mask=mask))
    job = CustomJob.deserialize(raw)
    assert job.name == record.job.name and not job.labels and not job.display_name
    assert store.page(JobQuery(parent=PARENT, predicate=ALL, delay=60)) == ([], "")


@pytest.mark.parametrize("token", ["~", "bm8="])
def test_a_token_that_is_not_valid_is_an_error(token: str) -> None:
    with pytest.raises(ValueError):
        JobStore().page(JobQuery(parent=PARENT, predicate=ALL, token=token))
