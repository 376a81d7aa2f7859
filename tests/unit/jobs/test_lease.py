from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.jobs import lease
from ocicaliban.model.job import Submission

SUBMISSION = Submission(
    target="local", id=3, group="digits", user="ada", host="one", project="/p", mode="run", created=1.5
)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(lease, "_PATIENCE", 0.01)


def test_one_at_a_time_holds_it() -> None:
    assert not lease.is_held(SUBMISSION)
    with lease.held(SUBMISSION):
        assert lease.is_held(SUBMISSION) and not lease.was_abandoned(SUBMISSION)
        with pytest.raises(UsageError, match="another ocicaliban runs these jobs of 'digits'"), lease.held(SUBMISSION):
            pass
        with lease.held(evolve(SUBMISSION, created=2.5)):  # the same number in another history
            pass
    assert not lease.is_held(SUBMISSION) and not lease.was_abandoned(SUBMISSION)
    with lease.held(SUBMISSION):
        pass


def test_a_killed_process_releases_it(tmp_path: Path) -> None:
    same = dict(target="local", id=3, group="g", user="", host="", project="", mode="", created=1.5)
    code = (
        "import sys\nfrom ocicaliban.jobs import lease\nfrom ocicaliban.model.job import Submission\n"
        f"with lease.held(Submission(**{same})):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    argv, env = [sys.executable, "-c", code], {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"held\n"
        assert lease.is_held(SUBMISSION) and not lease.was_abandoned(SUBMISSION)
        child.send_signal(signal.SIGKILL)
    assert not lease.is_held(SUBMISSION) and lease.was_abandoned(SUBMISSION)
    with lease.held(SUBMISSION):
        pass
    assert not lease.was_abandoned(SUBMISSION)
