"""Make folders of files for the tests, and list what was read of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Tree


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Lay out files in a folder, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def files(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries if entry.kind != "dir"]


def paths(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + int(seconds * 1e9))


def usage_error(file: Path, text: str | bytes, read: Callable[[], object]) -> UsageError:
    """Write the file, and return the error that reading it raises."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        read()
    assert caught.value.exit_code == 2
    return caught.value
