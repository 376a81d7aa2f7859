"""What a project's files declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.environment import EnvironmentRequest, read_environment
from ocicaliban.errors import UsageError


def test_a_named_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layers\.mine\.requirements: there is no file 'no\.txt'"):
        read_environment(EnvironmentRequest(root=tmp_path, named="no.txt", setting="layers.mine.requirements"))
