"""Runs that start again at each save."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ocicaliban.__main__ import main
from ocicaliban.app import watch
from ocicaliban.system import process


class _Enough(Exception):
    pass


def test_a_save_ends_a_run_and_starts_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("1")
    ran: list[Sequence[str]] = []

    def run_until(argv: Sequence[str], over: Callable[[], bool], pause: float) -> int | None:
        ran.append(argv)
        assert not over()
        if len(ran) == 3:
            raise _Enough
        if len(ran) == 2:
            return 1  # it ends by itself, and waits for a save
        (tmp_path / "train.py").write_text("1" * (len(ran) + 1))
        assert over()
        return None

    monkeypatch.setattr(process, "run_until", run_until)
    with pytest.raises(_Enough):
        watch.watch(["run", "--watch", "train.py", "--", "--watch"], tmp_path, lambda _: _save(tmp_path / "new.py"))
    assert ran == [(sys.executable, "-m", "ocicaliban", "run", "train.py", "--", "--watch")] * 3


def _save(path: Path) -> None:
    path.touch()


def test_a_program_is_ended_when_it_is_over_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    assert process.run_until(["sh", "-c", "exit 3"], lambda: False, 0.01) == 3
    started = tmp_path / "started"
    script = f"import time, pathlib\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)"
    assert process.run_until([sys.executable, "-c", script], started.exists, 0.01) is None


def test_a_sweep_is_not_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--watch", "--experiment-config", "s.json", "t.py"]) == 2
    assert "--watch is for a single run on this machine" in capsys.readouterr().err
