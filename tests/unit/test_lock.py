"""The lock: what it remembers, and when it still holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban import lock
from ocicaliban.errors import UsageError
from ocicaliban.lock import Lock, Resolved
from ocicaliban.model import Base, Project

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_is_read(requirements: str) -> None:
    given = lock.with_base(Lock(), "cpu", BASE)
    requirements = requirements.replace("\r", "")
    given = lock.with_python(given, "gpu", Resolved(inputs="sha256:bb", requirements=requirements))
    with tempfile.TemporaryDirectory() as folder:
        lock.write(Path(folder), given)
        assert lock.read(Path(folder)) == given
        assert [path.name for path in Path(folder).iterdir()] == [lock.NAME]


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert lock.read(tmp_path) == Lock()


def test_a_fault_in_the_lock(tmp_path: Path) -> None:
    (tmp_path / lock.NAME).write_text('version = 1\n[base.cpu]\nkind = "x"\nreference = "r"\n')
    with pytest.raises(UsageError, match=r"ocicaliban\.lock:3: expected one of"):
        lock.read(tmp_path)


def project(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "more").mkdir()
    (root / "requirements.txt").write_text("-r more/a.txt\n--constraint=c.txt\nsix\n")
    (root / "more" / "a.txt").write_text("-r b.txt\n-r ../requirements.txt\n")
    (root / "more" / "b.txt").write_text("rich\n")
    (root / "c.txt").write_text("six<2\n")
    return root / "requirements.txt"


def digest(path: Path, base: Base = BASE, extras: tuple[str, ...] = ()) -> str:
    return lock.inputs_digest(Project(root=path.parent), path, base, extras)


def test_the_inputs_digest_is_independent_of_the_folder_and_of_sources(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "deep" / "two")
    (two.parent / "train.py").write_text("pass\n")
    assert digest(one) == digest(two)


@pytest.mark.parametrize("name", ["requirements.txt", "more/a.txt", "more/b.txt", "c.txt"])
def test_the_inputs_digest_follows_included_files(tmp_path: Path, name: str) -> None:
    path = project(tmp_path)
    before = digest(path)
    with (tmp_path / name).open("a") as file:
        file.write("attrs\n")
    assert digest(path) != before


def test_the_inputs_digest_follows_extras_and_the_base(tmp_path: Path) -> None:
    path = project(tmp_path)
    others = [
        digest(path, extras=("a",)),
        digest(path, evolve(BASE, python="3.12.1")),
        digest(path, evolve(BASE, platform="linux/arm64")),
    ]
    assert len({digest(path), *others}) == 4
    assert digest(path, evolve(BASE, digest="sha256:cc", reference="x")) == digest(path)


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_the_variants_extra_is_added_when_declared(tmp_path: Path, name: str) -> None:
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\ngpu = ["six"]\n')
    path = tmp_path / name
    assert lock._extras(path, ("a",), "gpu") == ("a", "gpu")
    assert lock._extras(path, ("a",), "cpu") == ("a",)
    assert lock._extras(tmp_path / "requirements.txt", (), "gpu") == ()


def test_what_is_locked_is_taken_without_uv(tmp_path: Path) -> None:
    path = project(tmp_path)
    known = Resolved(inputs=digest(path), requirements="six==1\n")
    given = lock.with_python(Lock(), "cpu", known)
    assert lock.resolution(Project(root=tmp_path), given, BASE, "cpu", "", ()) == known


def test_the_declaration(tmp_path: Path) -> None:
    here = Project(root=tmp_path)
    assert lock.declaration(here, "") is None
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert lock.declaration(here, "") is None
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml:1: not valid TOML"):
        lock.declaration(here, "")
    with pytest.raises(UsageError, match=r"there is no file 'no\.txt'"):
        lock.declaration(here, "no.txt")
    (tmp_path / "requirements.txt").write_text("")
    assert lock.declaration(here, "") == tmp_path / "requirements.txt"
