"""Runs that start again at each save."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ocicaliban.__main__ import main
from ocicaliban.app import watch
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.project import source_tree
from ocicaliban.system import process


class _Enough(Exception):
    pass


def test_a_save_ends_a_run_and_starts_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("1")
    ran: list[Sequence[str]] = []

    def run_until(argv: Sequence[str], over: Callable[[], bool], *_: object) -> int | None:
        ran.append(argv)
        assert not over()
        if len(ran) == 3:
            raise _Enough
        if len(ran) == 2:
            return 1  # it ends by itself, and waits for a save
        (tmp_path / "train.py").write_text("1" * (len(ran) + 1))
        assert not over(), "it may be only half written"
        assert over()
        return None

    monkeypatch.setattr(process, "run_until", run_until)
    with pytest.raises(_Enough):
        watch.watch(
            ["run", "--watch", "train.py", "--", "--watch"], tmp_path, pause=lambda _: _save(tmp_path / "new.py")
        )
    assert ran == [(sys.executable, "-m", "ocicaliban", "run", "train.py", "--", "--watch")] * 3


def _save(path: Path) -> None:
    if not path.exists():
        path.touch()


def test_what_a_run_an_editor_or_python_writes_is_no_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".local/state"))
    (tmp_path / "pkg").mkdir()
    for name in ("train.py", "pkg/a.py"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("*.log\n")
    written = watch._written(tmp_path, str(tmp_path / "results"))
    before = watch.stamps(tmp_path, written)
    assert {*before} == {"train.py", "pkg/a.py", ".gitignore"}
    for name in (
        "ocicaliban.lock", "ocicaliban.notebook.lock", "results/g/1/metrics.json", "pkg/__pycache__/a.pyc",
        "pkg/.a.py.swp", "pkg/4913", "pkg/a.py~", "run.log", ".local/state/ocicaliban/runs/1",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert watch.stamps(tmp_path, written) == before
    (tmp_path / "pkg/a.py").write_text("x")
    assert watch.stamps(tmp_path, written) != before
    assert "results" not in watch._written(tmp_path / "pkg", str(tmp_path / "results"))
    with pytest.raises(UsageError, match="would run again for ever"):
        watch._written(tmp_path, str(tmp_path / "pkg" / ".."))

    def fail(*_: object, **__: object) -> None:
        raise OcicalibanError("an ignore file is wrong")

    monkeypatch.setattr(source_tree, "names", fail)
    assert watch.stamps(tmp_path, written) == {}, "the run tells what is wrong"


def test_a_program_that_goes_on_after_ctrl_c_gets_sigterm_until_it_ends(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = (
        "import pathlib, signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ncame = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: came.append(1) or len(came) < 2 or sys.exit(0))\n"
        f"pathlib.Path({str(started)!r}).touch()\nwhile True: signal.pause()"
    )
    told: list[str] = []
    assert process.run_until([sys.executable, "-c", script], started.exists, 0.01, told.append, 0.01) is None
    assert told[:2] == [f"the run has not ended within 0.01 s; it gets SIGTERM{word}" for word in ("", " again")]


def test_a_program_is_ended_when_it_is_over_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    assert process.run_until(["sh", "-c", "exit 3"], lambda: False, 0.01) == 3
    started = tmp_path / "started"
    script = f"import time, pathlib\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)"
    assert process.run_until([sys.executable, "-c", script], started.exists, 0.01) is None


def test_a_sweep_is_not_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--watch", "--experiment-config", "s.json", "t.py"]) == 2
    assert "--watch is for a single run on this machine" in capsys.readouterr().err
