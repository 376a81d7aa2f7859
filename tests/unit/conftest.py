"""What unit tests of several packages share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.history import access, connection
from ocicaliban.history.store import History


@pytest.fixture(scope="session", autouse=True)
def _no_loss_of_power() -> Iterator[None]:
    """Spare the tests the waits for the disk, which are all that a sync does as long as the machine has power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        patched.setattr(connection, "SYNCHRONOUS", "OFF")
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test start the real podman or buildah.

    podman remembers the runtime folder of its first call for good. Where that was a test's, each later container of the
    user ends 20 s late.
    """
    folder = tmp_path_factory.mktemp("engine")
    for name in ("podman", "buildah", "skopeo"):
        path = folder / name
        path.write_text(
            f'#!/bin/sh\n[ "$*" != --version ] || {{ echo {name} version 4.3.1; exit; }}\n'
            'echo "a unit test started $0 $*" >&2\nexit 125\n'
        )
        path.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """An empty history, and a state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with access.open(f"sqlite:///{tmp_path}/history.db") as opened:
        yield opened
