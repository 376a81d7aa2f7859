"""Where the packages in folders are that uv's result names by paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import local_folders

SIX = "six==1.17.0 \\\n    --hash=sha256:aa\n"


@pytest.mark.parametrize(
    ("text", "real", "expected"),
    [
        ("-e ./libs/aa\n../bb\n", ["libs/aa", "libs/bb"], "-e ./libs/aa\nlibs/bb\n"),
        ("-e ../bb\nlibs/aa\n", ["libs/aa", "libs/bb"], "-e libs/bb\nlibs/aa\n"),
        ("../core\n../core\n", ["../core", "libs/core"], "../core\nlibs/core\n"),
        ("./sub\nlibs/aa\n", ["libs/aa", "libs/aa/sub"], "libs/aa/sub\nlibs/aa\n"),
        ("bb @ file:../bb\nlibs/aa\n", ["libs/aa", "libs/bb"], "bb @ file:libs/bb\nlibs/aa\n"),
        ("../elsewhere\n", ["libs/bb"], "../elsewhere\n"),
        ("/srv/bb\nname @ https://example.org/a.whl\n", ["/srv/bb"], "/srv/bb\nname @ https://example.org/a.whl\n"),
    ],
)
def test_a_path_is_relative_to_the_file_that_names_it(
    tmp_path: Path, text: str, real: list[str], expected: str
) -> None:
    root = tmp_path / "p"
    folders = local_folders.of_pylock([{"name": "x", "directory": {"path": str(root / path)}} for path in real], root)
    assert local_folders.placed(text + SIX, root, folders) == expected + SIX


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-e ../bb  # ours\n", "-e {top}/bb  # ours\n"),
        ("../bb\n", "{top}/bb\n"),
        ("bb @ file:../bb\n", "bb @ file:{top}/bb\n"),
        ("-e ../bb[plot]\n", "-e {top}/bb[plot]\n"),
        ("-e ./libs/aa\n", "-e ./libs/aa\n"),
        ("../nowhere\n", "../nowhere\n"),
        ("beside\n", "beside\n"),
        ("six>=1.2  # ../bb\n", "six>=1.2  # ../bb\n"),
        ("--find-links ../bb\n", "--find-links ../bb\n"),
    ],
)
def test_a_folder_beside_a_list_is_found_there(tmp_path: Path, line: str, expected: str) -> None:
    for folder in ("req/beside", "libs/aa", "bb"):
        (tmp_path / folder).mkdir(parents=True)
    found = local_folders.beside_list(line, tmp_path / "req/base.txt", tmp_path)
    assert found == expected.format(top=tmp_path)
