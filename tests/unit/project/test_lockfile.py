"""The lock: what it remembers, and when it still holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock, Resolution

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_is_read(requirements: str) -> None:
    given = Lock().with_base("cpu", BASE)
    requirements = requirements.replace("\r", "")
    given = given.with_resolution("python", "gpu", Resolution(inputs="sha256:bb", requirements=requirements))
    with tempfile.TemporaryDirectory() as folder:
        lockfile.write_lock(Path(folder), given)
        assert lockfile.read_lock(Path(folder)) == given
        assert [path.name for path in Path(folder).iterdir()] == [lockfile.NAME]


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert lockfile.read_lock(tmp_path) == Lock()


def test_a_fault_in_the_lock(tmp_path: Path) -> None:
    (tmp_path / lockfile.NAME).write_text('version = 1\n[base.cpu]\nkind = "x"\nreference = "r"\n')
    with pytest.raises(UsageError, match=r"ocicaliban\.lock:3: expected one of"):
        lockfile.read_lock(tmp_path)
    (tmp_path / lockfile.NAME).write_text("version = 1\n<<<<<<< HEAD\n")
    with pytest.raises(UsageError, match=r"ocicaliban\.lock:2: not valid TOML") as caught:
        lockfile.read_lock(tmp_path)
    assert "git checkout ocicaliban.lock; or remove it" in caught.value.hint


def test_a_lock_of_a_newer_ocicaliban(tmp_path: Path) -> None:
    (tmp_path / lockfile.NAME).write_text("version = 2\n[python.cpu]\nfuture = 1\n")
    with pytest.raises(UsageError, match="newer ocicaliban") as caught:
        lockfile.read_lock(tmp_path)
    assert "upgrade" in caught.value.hint
    (tmp_path / lockfile.NAME).write_text('version = "2"\n')
    with pytest.raises(UsageError, match=r"ocicaliban\.lock:1: expected a whole number"):
        lockfile.read_lock(tmp_path)
