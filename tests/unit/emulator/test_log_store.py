"""The lines that replicas write."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.emulator import filters
from ocicaliban.emulator.log_store import LogStore
from ocicaliban.targets.vertex import logs as cloudlogs


def test_pages_of_a_log_are_whole_and_in_order() -> None:
    store = LogStore()
    for n in range(25):
        store.write("7" if n % 2 else "8", "workerpool0-0", str(n))
    test = filters.parse(cloudlogs.entries_filter("7", 0), filters.LOG_ENTRIES)
    got: list[str] = []
    token = ""
    while True:
        some, token = store.page(test, 5, token)
        got += [each.text for each in some]
        if not token:
            break
    assert got == [str(n) for n in range(25) if n % 2]
    assert store.page(test, 5, "", delay=3600) == ([], "")


def test_a_log_is_followed_from_where_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    store = LogStore()
    with store.follow("7", "t", log), log.open("a") as file:
        file.write("one\n\nü\nno end")
    assert [each.text for each in store.lines()] == ["one", "", "ü", "no end"]
