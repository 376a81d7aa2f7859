"""How tools are run: what goes on beside one that has our terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import ToolError
from ocicaliban.system import process


def _nothing(_: int) -> None:
    """No signal comes here."""


@pytest.mark.parametrize("fault", [ToolError("no room"), OSError(28, "no room")])
def test_what_fails_meanwhile_is_no_fault_of_the_run(fault: Exception) -> None:
    def meanwhile() -> None:
        raise fault

    assert process.run_in_foreground(("sh", "-c", "exit 3"), on_signal=_nothing, meanwhile=meanwhile) == 3


def test_an_error_of_ours_meanwhile_comes_when_the_tool_has_ended(tmp_path: Path) -> None:
    def meanwhile() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        process.run_in_foreground(
            ("sh", "-c", f"sleep 0.2; echo > {tmp_path}/ended"), on_signal=_nothing, meanwhile=meanwhile
        )
    assert (tmp_path / "ended").exists()
