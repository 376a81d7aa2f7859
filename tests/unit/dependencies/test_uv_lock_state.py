"""Whether a uv.lock is that of its project, without uv."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.uv_lock_state import lacks_requirements
from tests.folders import write

LOCK = """version = 1
[[package]]
name = "six"
version = "1.16.0"
[[package]]
name = "the-study"
version = "0.1"
source = { virtual = "." }
[package.metadata]
requires-dist = [{ name = "six", specifier = ">=1.15,<2" }, { name = "nets", editable = "libs/nets" }]
"""


@pytest.mark.parametrize(
    ("dependencies", "lacks"),
    [
        (["six <2, >=1.15", "nets>=2"], False),
        (["Six[extra]>=1.15,<2; python_version > '3'"], False),
        ([], False),
        (["six>=1.16"], True),
        (["six>=1.15,<2", "toolz"], True),
    ],
)
def test_a_lock_that_is_older_than_the_dependencies(tmp_path: Path, dependencies: list[str], lacks: bool) -> None:
    project = f'[project]\nname = "The_Study"\nversion = "0.1"\ndependencies = {dependencies!r}\n'
    write(tmp_path, {"uv.lock": LOCK, "pyproject.toml": project.replace("'3'", "3")})
    assert lacks_requirements(tmp_path) is lacks


def test_a_lock_without_the_project_is_of_another_one(tmp_path: Path) -> None:
    project = '[project]\nname = "other"\nversion = "0.1"\ndependencies = []\n'
    write(tmp_path, {"uv.lock": LOCK, "pyproject.toml": project})
    assert lacks_requirements(tmp_path)
