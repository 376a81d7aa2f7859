"""A short run of `tests.chaos`: things are killed at random moments, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import main


def test_nothing_is_lost_doubled_or_left_behind(base_lock: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert base_lock  # so that the base is in the store
    # The same faults each time: the long run looks for new ones.
    assert main(["--kills", "12", "--seconds", "45", "--seed", "17"]) == 0, capfd.readouterr().out
