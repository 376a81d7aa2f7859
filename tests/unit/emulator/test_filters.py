"""The filters of lists: what they mean, and which are not valid."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.emulator import filters
from ocicaliban.targets.vertex import logs as cloudlogs

JOB = {
    "display_name": "digits-k1", "state": "JOB_STATE_FAILED", "create_time": "2026-11-24T10:00:00.140308Z",
    "labels.ocicaliban-job": "k1", "labels.lr": "0_1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "lets_through"),
    [
        ("", True),
        ('labels.ocicaliban-job="k1"', True),
        ("labels.ocicaliban-job=k2", False),
        ('labels.ocicaliban-job="k2" OR labels.ocicaliban-job="k1"', True),
        ("labels.lr:*", True),
        ("labels.gone:*", False),
        ("NOT labels.gone=x", True),
        ('state="JOB_STATE_FAILED" AND display_name:"digits*"', True),
        ('state!="JOB_STATE_FAILED" OR display_name="digits-k1"', True),
        ('NOT display_name="digits-k1"', False),
        ('create_time>"2026-05-18T00:00:00Z"', True),
        ('create_time<="2026-05-18T00:00:00Z"', False),
        ('create_time>"2026-11-24T10:00:00Z"', True),
        ('create_time<"2026-11-24T10:00:00Z"', False),
        ('create_time="2026-11-24T11:00:00.1403080+01:00"', True),
        ('create_time!="2026-11-24t10:00:00.140308001z"', True),
        ('display_name:"*-k1"', True),
        ('display_name:"digits-?1"', False),
        ('(state="JOB_STATE_QUEUED" OR state="JOB_STATE_FAILED") AND NOT (labels.lr="1")', True),
        ('state="JOB_STATE_QUEUED" AND state="JOB_STATE_PAUSED" OR state="JOB_STATE_FAILED"', False),
        ('labels.lr="0_1" labels.ocicaliban-job="k1"', True),
    ],
)
def test_a_filter_means_what_the_reference_says(text: str, lets_through: bool) -> None:
    assert filters.parse(text)(JOB) is lets_through


@pytest.mark.parametrize(
    "text",
    [
        "name=x", "state", "state=", "(state=JOB_STATE_FAILED", "state=JOB_STATE_FAILED)", 'state="x',
        "state<JOB_STATE_FAILED", "AND", 'state:"JOB*"', 'state="FOO"', 'labels.n:"1*"', "labels.n!=1", "labels.n<1",
        'create_time>"rubbish"', 'create_time>"2026-11-24"', 'create_time>"2026-13-24T10:00:00Z"',
        'create_time>"2026-11-24T10:00:00"', 'create_time:"2026*"', 'display_name<"x"',
    ],
)  # fmt: skip
def test_a_filter_that_is_none_says_so(text: str) -> None:
    with pytest.raises(filters.FilterError):
        filters.parse(text)


ENTRY = {
    "resource.type": "ml_job", "resource.labels.job_id": "7", "resource.labels.task_name": "workerpool0-0",
    "timestamp": "2026-11-24T10:00:00.000000500Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "since", "lets_through"),
    [("7", 500, True), ("7", 501, False), ("7", 0, True), ("8", 0, False)],
)
def test_the_filter_of_a_jobs_log_is_understood(number: str, since: int, lets_through: bool) -> None:
    text = cloudlogs.entries_filter(number, 1_795_514_400_000_000_000 + since)
    assert filters.parse(text, filters.LOG_ENTRIES)(ENTRY) is lets_through


def test_a_filter_of_jobs_is_none_of_entries() -> None:
    with pytest.raises(filters.FilterError):
        filters.parse('display_name="x"', filters.LOG_ENTRIES)
    with pytest.raises(filters.FilterError):
        filters.parse("resource.labels.job_id:*", filters.LOG_ENTRIES)


@given(st.text())
def test_no_text_breaks_the_filter(text: str) -> None:
    for each in (text, f'create_time>"{text}"', f'labels.lr:"{text}"', f'display_name:"{text}"'):
        with contextlib.suppress(filters.FilterError):
            filters.parse(each)(JOB)


@given(st.datetimes(timezones=st.just(datetime.UTC)), st.datetimes(timezones=st.just(datetime.UTC)))
def test_times_compare_as_times(one: datetime.datetime, other: datetime.datetime) -> None:
    test = filters.parse(f'create_time<"{other.isoformat()}"')
    assert test({"create_time": one.isoformat().replace("+00:00", "Z")}) is (one < other)
