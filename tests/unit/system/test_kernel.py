"""What the kernel says about memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.system import kernel


@pytest.mark.parametrize(
    ("text", "count"), [("oom_kill 12\nx 3\n", 12), ("oom_kill_x 1\n", 0), ("", 0), ("oom_kill x\n", 0)]
)
def test_how_often_the_kernel_has_killed_for_want_of_memory(tmp_path: Path, text: str, count: int) -> None:
    (tmp_path / "vmstat").write_text(text)
    assert kernel.oom_kills(tmp_path / "vmstat") == count
    assert kernel.oom_kills(tmp_path / "nowhere") == 0
