"""The world of the use cases, for the commands that call them."""

from __future__ import annotations

import pytest

from ocicaliban.containers import user_namespace
from tests.unit.app.conftest import submission as submission
from tests.unit.app.conftest import world as world


@pytest.fixture(autouse=True)
def _no_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave podman's processes alone."""
    monkeypatch.setattr(user_namespace, "revive", lambda: None)
