"""Where our files lie, and how one is replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ocicaliban.gpu import cdi
from ocicaliban.model.project import Project
from ocicaliban.recipes import catalog
from ocicaliban.system import files


def test_a_relative_folder_of_settings_is_ignored_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    for given, folder in (("/x", "/x"), ("x", "/h/.config"), ("", "/h/.config")):
        monkeypatch.setenv("XDG_CONFIG_HOME", given)
        assert files.config() == Path(folder, "ocicaliban")
        assert dict(catalog.layer_folders(Project(root=Path("/p"))))["user"] == Path(folder, "ocicaliban/layers")
        assert cdi.spec_dirs(os.environ)[0] == Path(folder, "cdi")


@pytest.mark.parametrize("lasting", [False, True])
def test_a_file_is_replaced_whole(lasting: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", "n\u00e9w\r\n"):
        files.replace(path, content, mode=0o600, lasting=lasting)
    assert path.read_bytes() == b"n\xc3\xa9w\r\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_cannot_be_replaced_stays_and_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    full = OSError(28, "No space left on device")

    def refused(*_: object) -> None:
        raise full

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, refused)
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            files.replace(path, "new", lasting=True)
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError, match=r"'.*/none/file'"):
        files.replace(tmp_path / "none" / "file", "")


def test_a_file_of_ours_gets_its_folder(tmp_path: Path) -> None:
    files.keep(tmp_path / "a" / "b", "held")
    assert (tmp_path / "a" / "b").read_text() == "held"


def test_only_the_user_may_enter_state_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    old = files.state()
    old.mkdir(parents=True, mode=0o755)
    (old / "jobs").mkdir(mode=0o755)
    (old / "history.db").touch(0o644)
    (old / "link").symlink_to(tmp_path)
    (old / "tool").touch(0o755)
    (old / "logs" / "g").mkdir(parents=True)
    (old / "logs" / "g" / "1.log").touch(0o644)
    before = tmp_path.stat().st_mode
    files.make_private()
    assert [stat.S_IMODE((old / "logs" / name).stat().st_mode) for name in ("g", "g/1.log")] == [0o700, 0o600]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (old, files.cache(), old / "jobs")] == [0o700] * 3
    assert [stat.S_IMODE((old / name).stat().st_mode) for name in ("history.db", "tool")] == [0o600, 0o700]
    assert tmp_path.stat().st_mode == before
    files.keep(files.cache() / "hot" / "a.json", "{}")
    assert [stat.S_IMODE(path.stat().st_mode) for path in files.cache().rglob("*")] == [0o700, 0o600]
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")  # no folder can be made there
    files.make_private()


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_folder_of_ours_is_closed_and_another_keeps_its_modes(
    mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    before = os.umask(mask)
    try:
        for folder in (files.state() / "jobs" / "g" / "1" / "out", tmp_path / "team" / "g" / "1"):
            files.make_folder(folder)
            files.make_folder(folder)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [files.state(), *files.state().rglob("*")]}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "team").rglob("*")} == {0o777 & ~mask}
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"."):
            files.make_folder(wrong)
