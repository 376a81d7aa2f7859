"""postBuild and start, as repo2docker finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.project import binder_files

EXEC = '#!/bin/bash\nexport STUDY=1\nexec "$@"\n'


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ((), ""),
        (("postBuild",), "postBuild"),
        (("postBuild", "binder/postBuild"), "binder/postBuild"),
        ((".binder/postBuild", "postBuild"), ".binder/postBuild"),
        (("postBuild/x",), ""),
    ],
)
def test_a_binder_folder_goes_before_the_root(tmp_path: Path, written: tuple[str, ...], found: str) -> None:
    for name in written:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert binder_files.find(tmp_path, binder_files.POSTBUILD) == found


@pytest.mark.parametrize(
    ("text", "executable", "words"),
    [
        (EXEC, True, ("/usr/app/start",)),
        (EXEC, False, ("/bin/bash", "/usr/app/start")),
        (EXEC.replace("/bin/bash", "/usr/bin/env bash"), False, ("/usr/bin/env", "bash", "/usr/app/start")),
        ('exec "$@"\n', True, ("sh", "/usr/app/start")),
        ("#!/usr/bin/python3\nimport os, sys\nos.execvp(sys.argv[1], sys.argv[1:])\n", True, ("/usr/app/start",)),
        ("#!/bin/sh\npython server.py\n", True, ()),
        ("", True, ()),
    ],
)
def test_start_runs_the_command_if_it_runs_its_arguments(
    tmp_path: Path, text: str, executable: bool, words: tuple[str, ...]
) -> None:
    assert binder_files.start_command(tmp_path, "/usr/app") == ((), "")
    (tmp_path / "start").write_text(text)
    (tmp_path / "start").chmod(0o755 if executable else 0o644)
    assert binder_files.start_command(tmp_path, "/usr/app") == (words, "start")


def test_a_start_with_windows_line_endings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "start").write_bytes(EXEC.replace("\n", "\r\n").encode())
    with pytest.raises(UsageError, match="Windows line endings") as caught:
        binder_files.start_command(tmp_path, "/usr/app")
    assert caught.value.hint == "dos2unix start"
