"""The lock: what it remembers, and when it still holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import tomli_w
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


def resolution(text: str) -> Resolution:
    return Resolution(inputs="sha256:bb", requirements=text)


def test_the_notebooks_packages_have_a_file_of_their_own(tmp_path: Path) -> None:
    lock = Lock().with_base("cpu", BASE).with_resolution("python", "cpu", resolution("six==1\n"))
    whole = lock.with_resolution("jupyter", "lab-cpu", resolution("jupyterlab==4\n"))
    lockfile.write_lock(tmp_path, whole)
    assert "jupyter" not in (tmp_path / lockfile.NAME).read_text()
    assert "jupyterlab==4" in (tmp_path / "ocicaliban.notebook.lock").read_text()
    assert lockfile.read_lock(tmp_path) == whole
    # A mode without Jupyter neither reads the file nor loses what is in it.
    (tmp_path / "ocicaliban.notebook.lock").chmod(0)
    assert lockfile.read_lock(tmp_path, ("python",)) == lock
    lockfile.write_lock(tmp_path, lock.with_resolution("python", "cpu", resolution("six==2\n")))
    (tmp_path / "ocicaliban.notebook.lock").chmod(0o644)
    assert lockfile.read_lock(tmp_path).resolution("jupyter", "lab-cpu") == resolution("jupyterlab==4\n")


def test_the_notebooks_file_keeps_what_another_mode_has_put_there(tmp_path: Path) -> None:
    lock = Lock().with_resolution("papermill", "cpu", resolution("papermill==2\n"))
    lockfile.write_lock(tmp_path, lock)
    read = lockfile.read_lock(tmp_path, ("jupyter",))
    lockfile.write_lock(tmp_path, read.with_resolution("jupyter", "lab-cpu", resolution("jupyterlab==4\n")))
    assert lockfile.read_lock(tmp_path, ("papermill",)).resolution("papermill", "cpu") == resolution("papermill==2\n")


def test_a_lock_in_one_file_does_not_hide_what_its_new_place_holds(tmp_path: Path) -> None:
    lockfile.write_lock(tmp_path, Lock().with_resolution("jupyter", "lab-cpu", resolution("new==1\n")))
    old = {"lab-cpu": {"inputs": "i", "requirements": "old==1"}, "lab-gpu": {"inputs": "i", "requirements": "o"}}
    (tmp_path / lockfile.NAME).write_text(tomli_w.dumps({"jupyter": old}))
    for sections in ((), ("jupyter",)):
        held = lockfile.read_lock(tmp_path, sections).sections["jupyter"]
        assert {name: each.requirements for name, each in held.items()} == {"lab-cpu": "new==1\n", "lab-gpu": "o"}


def test_the_lock_shows_requirements_as_they_are(tmp_path: Path) -> None:
    text = 'six==1 ; python_version >= "3" \\\n    --hash=sha256:00\n'
    lockfile.write_lock(tmp_path, Lock().with_resolution("python", "cpu", resolution(text)))
    assert f"requirements = '''\n{text}'''\n" in (tmp_path / lockfile.NAME).read_text()


def test_a_lock_that_is_the_same_is_not_written(tmp_path: Path) -> None:
    lock = Lock().with_resolution("jupyter", "lab-cpu", resolution("a==1\n"))
    lockfile.write_lock(tmp_path, lock)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    lockfile.write_lock(tmp_path, lock)
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before and len(before) == 2


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
