"""Tools in the background: they end when they should, and take no Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path

from ocicaliban.system.background import BackgroundProcess, waiting


def test_the_end_of_a_tool_is_waited_for() -> None:
    with waiting(("sleep", "60")) as ended:
        assert not ended(0.05)
    with waiting(("true",)) as ended:
        assert ended(10) and ended(None)


def test_a_background_process_and_its_children_end_when_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = 'echo "$WORD" >&2; sleep 60 & echo $! >&2; wait'
    running = BackgroundProcess(("sh", "-c", script), log, {"WORD": "hello"})
    while len(words := log.read_text().split()) < 2:
        assert not running.ended(0.01)
    running.stop()
    assert running.ended(0) and words[0] == "hello"
    stat = Path("/proc", words[1], "stat")
    for _ in range(100):  # it was killed, and ends in a moment
        if not stat.exists() or stat.read_text().split()[2] in "ZX":
            return
        time.sleep(0.05)
    raise AssertionError("the child goes on")
