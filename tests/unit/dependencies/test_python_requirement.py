"""What files say about the project's Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version
from ocicaliban.dependencies.survey import read_environment

SETUP = "from setuptools import setup\nN = '>=3.7'\nsetup(name='a', python_requires={})\n"


@pytest.mark.parametrize(
    ("name", "text", "place", "specifier"),
    [
        ("pyproject.toml", '[project]\nrequires-python = ">=3.10"\n', "pyproject.toml: requires-python", ">=3.10"),
        ("uv.lock", 'version = 1\nrequires-python = ">=3.10"\n', "uv.lock: requires-python", ">=3.10"),
        ("pylock.toml", "requires-python = '>=3.9'\n", "pylock.toml: requires-python", ">=3.9"),
        ("setup.py", SETUP.format("'>=3.8'"), "setup.py: python_requires", ">=3.8"),
        ("setup.py", SETUP.format("N"), "setup.py: python_requires", ">=3.7"),
        (".python-version", "# ours\n3.12.4\n", ".python-version", "==3.12.4"),
        ("runtime.txt", "python-3.10.4\n", "runtime.txt", "==3.10.4"),
    ],
)
def test_each_file_is_asked_for_its_python(tmp_path: Path, name: str, text: str, place: str, specifier: str) -> None:
    (tmp_path / name).write_text(text)
    [wanted] = read_environment(EnvironmentRequest(root=tmp_path)).python
    assert (wanted.place, wanted.specifier) == (place, specifier)
    assert wanted.pinned is (name in (".python-version", "runtime.txt"))


def test_a_setup_py_is_read_together_with_its_setup_cfg(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("from setuptools import setup; setup()\n")
    (tmp_path / "setup.cfg").write_text("[options]\npython_requires = >=3.8, <3.12\n")
    assert read_environment(EnvironmentRequest(root=tmp_path)).python == (
        PythonRequirement(place="setup.cfg: python_requires", specifier=">=3.8, <3.12"),
    )


def test_files_beside_the_source_count_too(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nrequires-python = ">=3.10"\n')
    (tmp_path / ".python-version").write_text("3.12\n")
    found = read_environment(EnvironmentRequest(root=tmp_path))
    assert found.declaration and found.declaration.shown == "requirements.txt"
    assert [wanted.file for wanted in found.python] == ["pyproject.toml", ".python-version"]


@pytest.mark.parametrize(
    ("text", "specifier"),
    [
        ("3.12", "==3.12.*"),
        ("3.12.1", "==3.12.1"),
        ("3.12-dev", "==3.12.*"),
        ("3.12rc1", "==3.12.*"),
        ("cpython-3.11.4-linux-x86_64-gnu", "==3.11.4"),
        ("3.13t", ""),
        ("python-3.9", "==3.9.*"),
        ("cpython@3.10", "==3.10.*"),
        ("pypy3.10", ""),
        ("r-4.2-2022-01-01", ""),
        ("study-env", ""),
        ("system", ""),
        ("", ""),
    ],
)
def test_a_version_as_people_write_it(text: str, specifier: str) -> None:
    assert of_version(text) == specifier
