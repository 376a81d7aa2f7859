"""What the tests of doctor share."""

from __future__ import annotations

import pytest

from ocicaliban.containers import own_store, user_ids


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no image store be set up for who runs the tests, and nothing of a test's PATH be remembered."""
    monkeypatch.setattr(own_store, "set_up", lambda environ: None)
    monkeypatch.setattr(user_ids, "mode", lambda: "sub-ids")
