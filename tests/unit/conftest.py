"""What unit tests of several packages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.history import access
from ocicaliban.history.store import History


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """An empty history, and a state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with access.open(f"sqlite:///{tmp_path}/history.db") as opened:
        yield opened
