"""Which Python files a build by meson reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.meson import modules_read
from ocicaliban.project import source_tree
from tests import folders

PYTHON = "py = import('python').find_installation(pure: false)\n"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("py.install_sources(['__init__.py', 'train.py'], subdir: 'study')", []),
        (
            "sources = [\n  '__init__.py',  # (all of them\n  'train.py',\n]\npy.install_sources(sources, pure: false)",
            [],
        ),
        ("sources = files(['train.py'])\nsources += ['__init__.py']\npy.install_sources(sources)", []),
        ("sources = ['train.py']\npy.install_sources(sources)\nmessage(sources)", ["study/train.py"]),
        ("foreach each : ['train.py']\n  py.install_sources(each)\nendforeach", ["study/train.py"]),
        ("install_subdir('study', install_dir: py.get_install_dir() / '(')", []),
        ("run_command(py, files('tools/gen.py'), check: true)", ["tools/gen.py"]),
        ("custom_target('x', command: [py, '-m', 'study.train'], output: 'x')", ["study/train.py"]),
        ("py.install_sources(", []),
        ("", []),
    ],
)
def test_a_file_that_is_only_installed_is_not_read(tmp_path: Path, text: str, read: list[str]) -> None:
    files = dict.fromkeys(("study/__init__.py", "study/train.py", "tools/gen.py", "run.py"), "x = 1\n")
    folders.write(tmp_path, {**files, "meson.build": PYTHON + text + "\n"})
    assert sorted(modules_read(tmp_path, source_tree.names(tmp_path))) == read
