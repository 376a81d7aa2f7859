"""Which of uv's settings count for a script with a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocicaliban.dependencies.script_header import ScriptHeader
from ocicaliban.dependencies.script_settings import absolute, joined
from tests.folders import write


@pytest.mark.parametrize(
    ("header", "project", "expected"),
    [
        ({}, {"constraint-dependencies": ["a"], "sources": {"a": {}}, "no-build": True}, {"no-build": True}),
        ({"override-dependencies": ["a"]}, {"override-dependencies": ["b"]}, {"override-dependencies": ["a"]}),
        ({"exclude-newer": "2021"}, {"exclude-newer": "2022"}, {"exclude-newer": "2021"}),
        ({"find-links": ["a"]}, {"find-links": ["b"]}, {"find-links": ["a", "b"]}),
        (
            {"config-settings": {"a": "1"}},
            {"config-settings": {"a": "2", "b": "2"}},
            {"config-settings": {"a": "1", "b": "2"}},
        ),
        ({"pip": {"no-build": True}}, {"pip": {"no-build": True}}, {}),
    ],
)
def test_the_headers_settings_come_first(
    header: dict[str, Any], project: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert joined(header, project) == expected


def test_paths_are_relative_to_the_file_that_names_them() -> None:
    settings = {
        "sources": {"a": {"path": "../a"}, "b": [{"index": "own"}, {"path": "b"}]},
        "index": [{"url": "simple"}, {"url": "https://example.org/simple"}],
        "find-links": ["wheels"],
    }
    assert absolute(settings, Path("/p/scripts")) == {
        "sources": {"a": {"path": "/p/a"}, "b": [{"index": "own"}, {"path": "/p/scripts/b"}]},
        "index": [{"url": "/p/scripts/simple"}, {"url": "https://example.org/simple"}],
        "find-links": ["/p/scripts/wheels"],
    }


def test_the_projects_constraints_do_not_decide_on_a_script(tmp_path: Path) -> None:
    header = "# /// script\n# dependencies = []\n# [tool.uv]\n# find-links = ['w']\n# ///\n"
    found = []
    for constraint in ("six<1", "six<2"):
        manifest = f"[tool.uv]\nconstraint-dependencies = ['{constraint}']\nindex-url = 'https://example.org/simple'\n"
        root = write(tmp_path, {"scripts/a.py": header, "pyproject.toml": manifest})
        script = ScriptHeader.of_script(root, root / "scripts/a.py")
        assert script
        found.append(script.texts())
        assert script.indexes().find_links == (f"{root}/scripts/w",)
        assert script.indexes().indexes == ("https://example.org/simple",)
    assert found[0] == found[1]
