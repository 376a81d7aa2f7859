"""The files that only choose a Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.python_files import VersionFile, read_version, read_versions
from ocicaliban.dependencies.python_requirement import PythonRequirement
from tests.folders import write


@pytest.mark.parametrize(
    ("text", "specifier", "pinned"),
    [
        ("3.12\n", "==3.12.*", True),
        ("# ours\n\n3.11.4\n3.10\n", "==3.11.4", True),
        ("\ufeff3.11.4\r\n", "==3.11.4", True),
        ("3.11 3.12\n", "==3.11.*", True),
        ("3.11  # as on the cluster\n", "==3.11.*", True),
        ("3.10.4/envs/study\n", "==3.10.4", True),
        ("python-3.10\n", "==3.10.*", True),
        ("python3.11\n", "==3.11.*", True),
        ("3\n", "==3.*", True),
        (">=3.12\n", ">=3.12", False),
        (">=3.10, <3.13  # range\n", ">=3.10, <3.13", False),
    ],
)
def test_a_version_or_a_range_counts(tmp_path: Path, text: str, specifier: str, pinned: bool) -> None:
    (tmp_path / "v").write_text(text)
    found = PythonRequirement(place="v", specifier=specifier, pinned=pinned)
    assert read_version(tmp_path / "v", "v") == VersionFile(python=(found,))


@pytest.mark.parametrize("text", ["system", "", "# nothing\n"])
def test_a_file_may_leave_the_choice(tmp_path: Path, text: str) -> None:
    (tmp_path / "v").write_text(text)
    assert read_version(tmp_path / "v", "v") == VersionFile()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study-env", ["'study-env' is no version", '[layers.base] python = "3.11"']),
        ("anaconda3-2022.05", ["'anaconda3-2022.05' is no version"]),
        ("r-4.2-2022-01-01", ["R 4.2", '[layers.apt] packages = ["r-base"]']),
    ],
)
def test_what_chooses_no_python_is_named_with_a_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "v").write_text(text)
    found = read_version(tmp_path / "v", "v")
    assert not found.python and all(word in found.why for word in words)


@pytest.mark.parametrize("text", ["pypy3.10", "3.13t", "3.13+freethreaded", "graalpy-3.11"])
def test_a_python_that_no_image_has_is_told_apart(tmp_path: Path, text: str) -> None:
    (tmp_path / "v").write_text(text)
    assert read_version(tmp_path / "v", "v").python[0].other == text


@pytest.mark.parametrize(
    ("files", "git", "counts", "why"),
    [
        ({}, ".git", True, ""),
        ({"pyproject.toml": "[tool.black]\n"}, ".git", True, ""),
        ({"pyproject.toml": "[project]\nname = 'a'\n"}, ".git", False, "[project] is below it"),
        ({}, "study/.git", False, '[layers.base] python = "3.10"'),
        ({}, "", False, '[layers.base] python = "3.10"'),
    ],
)
def test_a_file_above_counts_in_the_repository(
    tmp_path: Path, files: dict[str, str], git: str, counts: bool, why: str
) -> None:
    root = tmp_path / "study"
    root.mkdir()
    write(tmp_path, {".python-version": "3.10\n"})
    write(root, files)
    if git:
        (tmp_path / git).mkdir()
    found = read_versions(root, frozenset(files), ())["../.python-version"]
    assert (bool(found.python), why in found.why) == (counts, True)
    write(root, {".python-version": "3.11\n"})
    assert [*read_versions(root, frozenset({".python-version"}), ())] == [".python-version"]
