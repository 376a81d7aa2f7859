"""What a user sees of a fault: once, with a hint, without a traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocicaliban.__main__ import main
from ocicaliban.errors import first_line, nearest, of_system


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("pyton", ["apt", "python"], "did you mean 'python'?"),
        ("zzz", ["apt", "python"], "there are: apt, python"),
        ("zzz", [], "there are none"),
    ],
)
def test_the_nearest_name_or_what_there_is(name: str, names: list[str], hint: str) -> None:
    assert nearest(name, names) == hint


def test_what_the_system_refuses_is_told_with_the_file_and_a_hint() -> None:
    fault = of_system(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), b"/a/\xff"))
    assert fault.message == "/a/\\xff: No space left on device"
    assert "free disk space" in fault.hint
    assert of_system(OSError("odd")).message == "odd"


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/key"), "Permission denied"),
        (OSError("odd"), "odd"),
        (ValueError("no key\nand more", {"status": 400}), "no key"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), None),
        (ValueError(), "ValueError"),
        (ValueError("\nx"), "ValueError"),
    ],
)
def test_what_anothers_exception_says_is_one_line(exc: Exception, told: str | None) -> None:
    assert first_line(exc) == (told or str(exc))


def test_a_folder_that_cannot_be_entered_gives_an_error_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers").chmod(0)
    assert main(["layers", "list"]) == 1
    (tmp_path / "layers").chmod(0o700)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/layers: Permission denied\n hint: ")


def test_a_current_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["layers", "list"]) == 1
    assert capsys.readouterr().err.startswith("error: the current folder no longer exists\n hint: ")


def test_an_error_does_not_pass_on_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "show", "\x1b]0;title\x07"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\\x1b]0;title\\x07" in err
