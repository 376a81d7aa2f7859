"""The emulator's parts by themselves: filters, logs, who may come in, and the faults to order."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.emulator import faults, filters, identity, logs
from ocicaliban.errors import UsageError
from ocicaliban.reporter import Reporter
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
    assert filters.parse(text, filters.ENTRIES)(ENTRY) is lets_through


def test_a_filter_of_jobs_is_none_of_entries() -> None:
    with pytest.raises(filters.FilterError):
        filters.parse('display_name="x"', filters.ENTRIES)
    with pytest.raises(filters.FilterError):
        filters.parse("resource.labels.job_id:*", filters.ENTRIES)


def test_pages_of_a_log_are_whole_and_in_order() -> None:
    book = logs.Book()
    for n in range(25):
        book.write("7" if n % 2 else "8", "workerpool0-0", str(n))
    test = filters.parse(cloudlogs.entries_filter("7", 0), filters.ENTRIES)
    got: list[str] = []
    token = ""
    while True:
        some, token = book.page(test, 5, token)
        got += [each.text for each in some]
        if not token:
            break
    assert got == [str(n) for n in range(25) if n % 2]
    assert book.page(test, 5, "", late=3600) == ([], "")


def test_a_log_is_followed_from_where_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    book = logs.Book()
    with book.follows("7", "t", log), log.open("a") as file:
        file.write("one\n\nü\nno end")
    assert [each.text for each in book._entries] == ["one", "", "ü", "no end"]


# --- the account ---


@pytest.fixture(scope="module")
def account() -> identity.Account:
    return identity.Account("rehearsal")


def signed(account: identity.Account, **claims: object) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    text = f"{part(json.dumps({'alg': 'RS256'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{text}.{part(account._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_the_token_is_for_who_has_the_key_alone(account: identity.Account) -> None:
    claims = {"exp": time.time() + 60}
    token = account.token(signed(account, **claims))
    assert len(token) > 30 and account.knows(f"Bearer {token}") and account.knows(f"Bearer {signed(account, **claims)}")
    other = identity.Account("rehearsal")
    for bad in (signed(other, **claims), signed(account, **{**claims, "exp": time.time() - 60})):
        assert not account.token(bad) and not account.knows(f"Bearer {bad}")
    assert not account.knows(token) and not account.knows("Bearer ") and not other.knows(f"Bearer {token}")


@given(st.text())
def test_no_text_opens_the_door(account: identity.Account, text: str) -> None:
    assert not account.token(text) and not account.knows(text) and not account.knows(f"Bearer {text}")


def test_a_token_that_was_changed_is_none(account: identity.Account) -> None:
    head, _, rest = signed(account, exp=time.time() + 60).partition(".")
    payload, _, signature = rest.partition(".")
    later = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 9999}).encode()).decode().rstrip("=")
    for text in (f"{head}.{later}.{signature}", f"{head}.{payload}.", f"{head}.{payload}", f"{payload}.{signature}"):
        assert not account.knows(f"Bearer {text}")


@given(st.text())
def test_no_text_breaks_the_filter(text: str) -> None:
    for each in (text, f'create_time>"{text}"', f'labels.lr:"{text}"', f'display_name:"{text}"'):
        with contextlib.suppress(filters.FilterError):
            filters.parse(each)(JOB)


@given(st.datetimes(timezones=st.just(datetime.UTC)), st.datetimes(timezones=st.just(datetime.UTC)))
def test_times_compare_as_times(one: datetime.datetime, other: datetime.datetime) -> None:
    test = filters.parse(f'create_time<"{other.isoformat()}"')
    assert test({"create_time": one.isoformat().replace("+00:00", "Z")}) is (one < other)


def test_faults_are_read_from_toml() -> None:
    text = 'latency = 1\nlost_every = 3\nlost_as = "deadline"\nno_quota = ["NVIDIA_L4"]\ndenied = true\n'
    assert faults.parse(text, "f") == faults.Faults(
        latency=1.0, lost_every=3, lost_as="deadline", no_quota=("NVIDIA_L4",), denied=True
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latncy = 1", "no fault 'latncy'"),
        ('latency = "1"', "no number"),
        ("lost_every = 0.5", "no whole number"),
        ("denied = 1", "no true or false"),
        ('lost_as = "x"', "lost_as"),
        ("no_quota = [1]", "no list of texts"),
        ('no_quota = ["FOO"]', "no accelerator 'FOO'"),
        ("latency = -1", "not between 0"),
        ("latency = nan", "not between 0"),
        ("preempted_after = inf", "not between 0"),
        ("waits = true", "no number"),
        ("unavailable_every = -2", "not between 0"),
        (f"lost_every = {10**30}", "not between 0"),
        ("x", "f: "),
    ],
)
def test_faults_that_do_not_exist_are_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        faults.parse(text, "f")


def test_the_file_of_faults_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    order = faults.Order(file=file)
    assert order.now() == faults.Faults()
    file.write_text("latency = 0.5\n")
    assert order.now().latency == 0.5
    file.write_text("latency = 0.25\nper_minute = 3\n")
    assert (order.now().latency, order.now().per_minute) == (0.25, 3)


def test_a_file_of_faults_that_becomes_wrong_is_told_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("latency = 0.5\n")
    told: list[str] = []
    order = faults.Order(file=file, reporter=Reporter(told.append))
    file.write_text("latency = 'long'\n")
    assert order.now() == order.now() == faults.Faults(latency=0.5)
    assert len(told) == 1 and "no number" in told[0]
    with pytest.raises(UsageError):
        faults.Order(file=file)


def test_accelerators_may_have_their_short_names() -> None:
    known = faults.parse('no_quota = ["V100", "NVIDIA_L4", "CPU"]', "f")
    assert known.no_quota == ("NVIDIA_TESLA_V100", "NVIDIA_L4", "CPU")


def not_utf_8(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


def folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def to_itself(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("become", "words"),
    [(not_utf_8, "not UTF-8"), (folder, "not a plain file"), (pipe, "not a plain file"), (to_itself, "symbolic links")],
)
def test_a_file_of_faults_that_cannot_be_read_is_told_once(
    tmp_path: Path, become: Callable[[Path], None], words: str
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("latency = 0.5\n")
    told: list[str] = []
    order = faults.Order(file=file, reporter=Reporter(told.append))
    become(file)
    assert order.now() == order.now() == faults.Faults(latency=0.5)
    assert len(told) == 1 and words in told[0]
    with pytest.raises(UsageError, match=words):
        faults.Order(file=file)


def test_every_nth_is_counted_by_its_kind() -> None:
    order = faults.Order()
    assert [order.nth("create", 3) for _ in range(6)] == [False, False, True, False, False, True]
    assert not order.nth("list", 3) and not order.nth("create", 0)


@given(st.lists(st.floats(0, 30), max_size=100), st.integers(1, 10))
def test_the_quota_holds_in_any_minute(steps: list[float], per_minute: int) -> None:
    order, now, let = faults.Order(), 0.0, list[float]()
    for step in steps:
        now += step
        if order.within_quota(per_minute, now):
            let.append(now)
    assert all(len([at for at in let if start <= at < start + 60]) <= per_minute for start in let)
