"""The files that only choose a Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.python_files import read_version
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError


@pytest.mark.parametrize(
    ("text", "specifier", "pinned"),
    [("3.12\n", "==3.12.*", True), ("# ours\n3.11.4\n3.10\n", "==3.11.4", True), (">=3.12\n", ">=3.12", False)],
)
def test_a_version_or_a_range_counts(tmp_path: Path, text: str, specifier: str, pinned: bool) -> None:
    (tmp_path / "v").write_text(text)
    found = PythonRequirement(place="v", specifier=specifier, pinned=pinned)
    assert read_version(tmp_path / "v", "v") == (found,)


@pytest.mark.parametrize("text", ["study-env", "system", "r-4.2-2022-01-01", ""])
def test_a_name_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "v").write_text(text)
    assert read_version(tmp_path / "v", "v") == ()


@pytest.mark.parametrize("text", ["pypy3.10", "3.13t", "3.13+freethreaded", "graalpy-3.11"])
def test_a_python_that_no_image_has_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "v").write_text(text)
    with pytest.raises(UsageError, match="images have CPython"):
        read_version(tmp_path / "v", "v")
