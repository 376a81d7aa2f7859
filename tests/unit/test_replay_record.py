"""A run is replayed when nothing that planning read has changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocicaliban import replay
from ocicaliban.containers import podman
from ocicaliban.system import files

Ran = list[tuple[tuple[str, ...], str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a link, a store's index and a private cache; we are an ordinary user in it."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    project = tmp_path / "project"
    (project / "package").mkdir(parents=True)
    (project / "train.py").write_text("1")
    (project / "other.py").write_text("2")
    (project / "link").symlink_to("train.py")
    (project / "ocicaliban.toml").write_text("")
    (tmp_path / "images.json").write_text('[{"id":"1d"}]')
    used = files.used("1d")
    used.parent.mkdir(parents=True)
    used.touch()
    monkeypatch.chdir(project)
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """What was given to podman; its container always ends with 7."""
    calls: Ran = []

    def run(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
        calls.append((argv, name))
        return 7

    monkeypatch.setattr(podman, "run", run)
    return calls


def _remember(
    home: Path,
    *script: str,
    command: str = "run",
    settled: bool = True,
    meanwhile: Callable[[], object] = lambda: None,
    folders: tuple[str, ...] = (),
) -> None:
    project = home / "project"
    with replay.recording() as found:
        (project / "ocicaliban.toml").read_text()
        os.listdir(project / "package")
        meanwhile()
    if settled:
        found.began += 3_000_000_000
    argv = [command, "train.py", *(["--", *script] if script else [])]
    run = replay.Replayable(
        argv=argv,
        script=script,
        command=("podman", "run", "--name", "ours-K0", "1d", *script),
        key="K0",
        image="1d",
        images=home / "images.json",
        said="running on the CPU",
        job={"submission": {"project": "/p", "group": "g"}},
        folders=folders,
    )
    entries = [str(path) for path in (project, *project.rglob("*"))]
    replay.remember(run, found, read=(str(home / "layers"),), entries=entries)


def test_the_same_command_runs_again_with_its_own_name_and_arguments(home: Path, ran: Ran) -> None:
    _remember(home, "--lr", "1")
    assert replay.attempt(["run", "train.py", "--", "--lr", "2"]) == 7
    ((argv, name),) = ran
    assert argv == ("podman", "run", "--name", name.replace("ocicaliban", "ours"), "1d", "--lr", "2")
    assert name not in ("ours-K0", "n")


def test_a_folder_that_is_mounted_must_be_there_and_counts_as_used(home: Path, ran: Ran) -> None:
    folder = files.cache() / "mounted" / "folders" / ("a" * 64)
    folder.mkdir(parents=True)
    mark = files.used(folder.name)
    mark.touch()
    os.utime(mark, (1, 1))
    _remember(home, folders=(str(folder),))
    assert replay.attempt(["run", "train.py"]) == 7
    assert mark.stat().st_mtime > 1
    folder.rmdir()
    assert replay.attempt(["run", "train.py"]) is None


def test_arguments_of_the_script_are_not_kept(home: Path, ran: Ran) -> None:
    _remember(home, "--token", "hunter2")
    kept = list((files.cache() / "hot").iterdir())
    assert kept and all("hunter2" not in path.read_text() for path in kept)


def test_another_command_line_is_not_replayed(home: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    _remember(home)
    for argv in (["run", "--mount", "train.py"], ["run", "other.py"], ["build", "train.py"], ["run"], []):
        assert replay.attempt(argv) is None
    monkeypatch.setenv("OCICALIBAN_X", "1")
    assert replay.attempt(["run", "train.py"]) is None
    monkeypatch.delenv("OCICALIBAN_X")
    monkeypatch.chdir(home)
    assert replay.attempt(["run", "train.py"]) is None
    assert ran == []


CHANGES: dict[str, Callable[[Path], object]] = {
    "a source file of the same size": lambda home: (home / "project/other.py").write_text("3"),
    "a source file made executable": lambda home: (home / "project/other.py").chmod(0o755),
    "a source file replaced by its like": lambda home: _replaced(home / "project/other.py"),
    "a new file": lambda home: (home / "project/new.py").touch(),
    "a new file in a folder": lambda home: (home / "project/package/new.py").touch(),
    "a file gone": lambda home: (home / "project/other.py").unlink(),
    "a link to somewhere else": lambda home: _linked(home / "project/link", "other.py"),
    "a file that was read": lambda home: (home / "project/ocicaliban.toml").write_text("\n"),
    "a folder that was missing": lambda home: (home / "layers").mkdir(),
    "the image gone": lambda home: (home / "images.json").write_text('[{"id":"2d"}]'),
    "the store gone": lambda home: (home / "images.json").unlink(),
    "a memo that was cut off": lambda home: [f.write_text(f.read_text()[:50]) for f in _memos()],
    "a memo of another form": lambda home: [f.write_text("[]") for f in _memos()],
}


def _memos() -> list[Path]:
    return list((files.cache() / "hot").iterdir())


def _replaced(path: Path) -> None:
    times = path.stat()
    copy = path.with_name("copy")
    copy.write_text(path.read_text())
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.replace(path)


def _linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_missed(change: str, home: Path, ran: Ran) -> None:
    _remember(home)
    assert replay.attempt(["run", "train.py"]) == 7
    ran.clear()
    CHANGES[change](home)
    assert replay.attempt(["run", "train.py"]) is None
    assert ran == []


def test_what_changed_just_now_is_not_trusted(home: Path, ran: Ran) -> None:
    _remember(home, settled=False)
    assert replay.attempt(["run", "train.py"]) is None


def test_what_came_after_the_dashes_must_be_the_scripts_alone(home: Path, ran: Ran) -> None:
    with replay.recording() as found:
        pass
    found.began += 3_000_000_000
    run = replay.Replayable(
        argv=["run", "--", "train.py"], script=(), command=("podman", "run", "--name", "ours-K0", "1d", "train.py"),
        key="K0", image="1d", images=home / "images.json", said="", job={"submission": {"project": "/p", "group": "g"}},
    )  # fmt: skip
    replay.remember(run, found, read=(), entries=())
    assert replay.attempt(["run"]) is None
    assert replay.attempt(["run", "--", "train.py"]) is None


def test_a_recording_can_go_on(home: Path) -> None:
    with replay.recording() as found:
        (home / "one").is_file()
    (home / "two").is_file()
    began = found.began
    with replay.recording(found) as again:
        (home / "three").is_file()
    assert again is found and found.began == began
    assert {path for path, _ in found.asked} == {str(home / "one"), str(home / "three")}


def test_what_planning_told_is_told_again(home: Path, ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    with replay.recording() as found:
        found.note_line("note: one")
    found.began += 3_000_000_000
    run = replay.Replayable(
        argv=["run", "train.py"], script=(), command=("podman", "run", "--name", "ours-K0", "1d"), key="K0",
        image="1d", images=home / "images.json", said="running", job={"submission": {"project": "/p", "group": "g"}},
    )  # fmt: skip
    replay.remember(run, found, read=(), entries=())
    assert replay.attempt(["run", "train.py"]) == 7
    assert capsys.readouterr().err == "note: one\nrunning\n"


@pytest.mark.parametrize("asked", [lambda: subprocess.run([sys.executable, "-c", ""], check=True)])
def test_a_plan_that_asked_a_process_is_not_replayed(asked: Callable[[], object], home: Path, ran: Ran) -> None:
    _remember(home, meanwhile=asked)
    assert replay.attempt(["run", "train.py"]) is None


def test_root_goes_the_long_way(home: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    _remember(home)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert replay.attempt(["run", "train.py"]) is None


def test_a_shell_is_replayed_with_the_command_that_comes_after(
    home: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    _remember(home, command="shell")
    monkeypatch.setattr(
        podman, "run_interactively", podman.run
    )  # as it is without a terminal, and not our end with one
    assert replay.attempt(["shell", "train.py", "--", "ls", "-l"]) == 7
    ((argv, name),) = ran
    assert argv == ("podman", "run", "--name", name.replace("ocicaliban", "ours"), "1d", "ls", "-l")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert replay.attempt(["shell", "train.py"]) is None
