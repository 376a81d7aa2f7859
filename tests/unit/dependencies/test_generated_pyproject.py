"""The pyproject.toml that uv gets where packages have indexes of their own."""

from __future__ import annotations

import tomllib

from ocicaliban.dependencies.generated_pyproject import pyproject


def test_each_pinned_package_has_its_index() -> None:
    lines = ['six==1 ; python_version >= "3"', "torch==2", "ours==1"]
    pins = {"torch": "cpu=https://t/cpu", "ours": "https://o/simple"}
    raw = tomllib.loads(pyproject(lines, pins, ["cpu=https://me:secret@t/cpu/"]))
    assert raw["project"]["dependencies"] == lines
    assert raw["tool"]["uv"] == {
        "index": [
            {"name": "cpu", "url": "https://me:secret@t/cpu/", "explicit": True},
            {"name": "index-2", "url": "https://o/simple", "explicit": True},
        ],
        "sources": {"torch": {"index": "cpu"}, "ours": {"index": "index-2"}},
    }
