"""How a job learns its commit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.jobs import provenance
from ocicaliban.project import git
from tests.unit.jobs.test_status_table import SWEEP


def test_git_looks_while_something_else_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_end = threading.Event(), threading.Event()

    def head(folder: Path) -> tuple[str, bool]:
        assert folder == tmp_path
        began.set()
        may_end.wait(60)
        return "1d", True

    monkeypatch.setattr(git, "head", head)
    with_git = provenance.asking_git(tmp_path)
    assert began.wait(60)
    may_end.set()
    assert with_git(SWEEP) == evolve(SWEEP, commit="1d", dirty=True)
