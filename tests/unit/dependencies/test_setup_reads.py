"""Which files a setup.py may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.registry import declaration_in
from ocicaliban.dependencies.setup_reads import files_read
from tests.folders import write

SETUP = "from setuptools import setup\n{}\nsetup(name='x', install_requires=deps())\n"


@pytest.mark.parametrize(
    ("line", "files", "found"),
    [
        ("deps = lambda: read('requirements', 'base.txt')", {"requirements/base.txt": "", "a.txt": ""}, [
            "requirements/base.txt"]),
        ("deps = lambda: sum(map(read, glob('reqs/*.in')), [])", {"reqs/a.in": "", "reqs/b.in": "", "reqs/c.md": ""}, [
            "reqs/a.in", "reqs/b.in"]),
        ("from opk.deps import deps", {"opk/__init__.py": "", "opk/deps.py": "open('more.txt')", "more.txt": ""}, [
            "more.txt", "opk/__init__.py", "opk/deps.py"]),
        ("import json; open('/etc/passwd'); open('../up.txt')", {"json.md": ""}, []),
        ("this is no Python", {"a.txt": ""}, []),
    ],
)  # fmt: skip
def test_files_that_the_text_of_a_setup_script_tells(
    tmp_path: Path, line: str, files: dict[str, str], found: list[str]
) -> None:
    write(tmp_path, {"setup.py": SETUP.format(line), **files})
    assert [str(path.relative_to(tmp_path)) for path in files_read(tmp_path)] == found


def test_a_list_that_a_setup_script_joins_together_belongs_to_the_resolution(tmp_path: Path) -> None:
    line = "deps = lambda: open(os.path.join('requirements', 'base.txt')).read().split()"
    write(tmp_path, {"setup.py": SETUP.format(line), "requirements/base.txt": "six\n"})
    declaration = declaration_in(tmp_path, tmp_path / "setup.py")
    assert declaration.texts()["requirements/base.txt"] == "six\n"
