"""A short run of `tests.chaos`: things are struck at random moments, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import os

import pytest

from tests.chaos.__main__ import main

SEED = os.environ.get("OCICALIBAN_CHAOS_SEED", "17")
"""Fixed, so that a failure is the fault of the change that is tested; the long run has another seed each time."""


def test_nothing_is_lost_doubled_or_left_behind(base_lock: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert base_lock  # so that the base is in the store
    code = main(["--kills", "10", "--most", "4", "--seconds", "25", "--seed", SEED])
    assert code == 0, capfd.readouterr().out
