"""The Python of uv that a layer adds to a base, without uv."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.base import managed_python
from ocicaliban.build.base.managed_python import ArchiveTree, ManagedPython
from ocicaliban.build.inputs import interpreter
from ocicaliban.model.image import Base

BASE = Base(kind="local", reference="localhost/a:1", digest="sha256:1", python="3.13.5", missing="python")
CONTENT = b"an archive"
PYTHON = ManagedPython(
    version="3.10.22", archive="20261009/cpython-3.10.22+20261009.tar.gz", sha256=hashlib.sha256(CONTENT).hexdigest()
)


def test_a_base_gets_another_python_and_lacks_no_command() -> None:
    base = managed_python.added(BASE, PYTHON)
    assert base == evolve(BASE, python="3.10.22", archive=PYTHON.archive, archive_sha256=PYTHON.sha256, missing="")
    values = interpreter.of_base(base).values
    assert values["missing_command"] == ""
    assert values["python_archive"] == PYTHON.archive
    assert values["python_tree"] == ArchiveTree(base=base).digest


def test_the_tree_is_known_by_the_archives_digest_and_holds_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    base = managed_python.added(BASE, PYTHON)
    tree = ArchiveTree(base=base)
    assert tree.digest == "370522c65532a7454bbe70460c14f8ea3dea3fe3a88d15bf7554e533d27bfc0e"
    assert ArchiveTree(base=evolve(base, archive="other/name.tar.gz")).digest == tree.digest
    assert ArchiveTree(base=evolve(base, archive_sha256="0" * 64)).digest != tree.digest
    held = tmp_path / "ocicaliban" / "python" / PYTHON.sha256 / "cpython-3.10.22+20261009.tar.gz"
    held.parent.mkdir(parents=True)
    held.write_bytes(CONTENT)
    made = tree.make(tmp_path, lambda _: None)
    assert (made.root, made.digest) == (held.parent, tree.digest)
    assert [(entry.path, entry.kind, entry.digest) for entry in made.entries] == [(held.name, "file", PYTHON.sha256)]


@pytest.mark.parametrize(
    ("base", "labels"),
    [
        (None, []),
        (evolve(BASE, missing=""), []),
        (BASE, ["python"]),
        (managed_python.added(BASE, PYTHON), ["python"]),
    ],
)
def test_a_base_that_lacks_nothing_has_no_layer(base: Base | None, labels: list[str]) -> None:
    assert [each.label for each in interpreter.of_base(base).instances or ()] == labels
