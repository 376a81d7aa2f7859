"""Make folders of files for the tests, and list what was read of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Tree


def notebook(source: str) -> str:
    """Return a notebook with a cell of parameters, `lr`, and a cell with this source."""
    cells = [({"tags": ["parameters"]}, "lr = 1"), ({}, source)]
    kernel = {"kernelspec": {"display_name": "Python", "language": "python", "name": "elsewhere"}}
    made = [
        {"cell_type": "code", "execution_count": None, "metadata": about, "outputs": [], "source": [text]}
        for about, text in cells
    ]
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})


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
