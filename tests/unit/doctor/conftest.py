"""What the tests of doctor share."""

from __future__ import annotations

import pytest

from ocicaliban.containers import own_store, user_ids
from ocicaliban.doctor import reach


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no network, set no image store up for who runs the tests, and remember nothing of a test's PATH."""
    monkeypatch.setattr(own_store, "set_up", lambda environ: None)
    monkeypatch.setattr(reach, "ask", lambda url: 0.1)
    monkeypatch.setattr(user_ids, "mode", lambda: "sub-ids")
