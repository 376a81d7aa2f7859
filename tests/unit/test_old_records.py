"""What earlier versions wrote is read by this one: see `tests/data/README.md`, which says how each file came to be.

The files are never replaced. A later version adds files of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban import replay
from ocicaliban.app.requests import JobsRequest, LaunchRequest
from ocicaliban.build import last_build
from ocicaliban.containers import image_store, podman
from ocicaliban.execution import reconcile, runner
from ocicaliban.gpu import podman_options, spec
from ocicaliban.history import access
from ocicaliban.jobs import group_names, lease, log_file, run_journal
from ocicaliban.jobs.records import requested
from ocicaliban.model.image import Base
from ocicaliban.model.job import Job, Submission
from ocicaliban.project import lockfile, tree_memo
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.registry import packed_layers
from ocicaliban.registry.packed_layers import Compression, PackedLayer
from ocicaliban.system import files as paths
from ocicaliban.system import process
from ocicaliban.targets.vertex import results
from tests import records
from tests.records import COMMIT, DATA, PLAN_KEY

IMAGE = "1d" * 32


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a copy of the state and the cache of the user ada."""
    for name in ("state", "cache"):
        shutil.copytree(DATA / name, tmp_path / name, copy_function=shutil.copyfile)
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))


# --- the history ---


def test_a_history_of_schema_1_is_read(tmp_path: Path) -> None:
    shutil.copyfile(DATA / "history-1.sqlite", tmp_path / "history.db")
    with access.open(f"sqlite://{tmp_path}/history.db") as known:
        records.check(known)


def test_a_history_of_schema_2_is_read(tmp_path: Path) -> None:
    for number in (1, 2):
        shutil.copyfile(DATA / f"history-{number}.sqlite", tmp_path / f"{number}.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "2.db")) as tables:
        assert tables.execute("SELECT version FROM schema_version").fetchall() == [(1,), (2,)]
        written = tables.execute("SELECT options ->> '$.version', launch ->> '$.version' FROM submission").fetchall()
        assert written == [(1, 1), (1, 1)]
    with access.open(f"sqlite://{tmp_path}/1.db") as known:
        sweep, _, cloud, _, _ = known.submissions()
    with access.open(f"sqlite://{tmp_path}/2.db") as known:
        assert known.submissions() == (
            evolve(sweep, id=1, created=1798761900.25),
            evolve(cloud, id=2, created=1798762140.25),
        )
        found = {
            job.id: (job.status, [(each.status, each.reason, each.backend_state) for each in job.attempts])
            for job in known.jobs()
        }
        assert found == {
            1: ("running", [("failed", "exit code 3", ""), ("running", "", "")]),
            2: ("queued", []),
            3: ("pending", [("pending", "", "queued")]),
            4: ("running", [("running", "", "cancelling")]),
            5: ("stopped", [("stopped", "cancelled", "")]),
        }
        (first,) = known.jobs(ids=[1])
        assert (first.parameters, first.args) == ((("lr", 0.1), ("fast", True)), ("--lr", "0.1", "--fast"))
        assert known.end(3, 1, "lost", ended=1.0) and known.resubmit(evolve(cloud, id=0), [3, 5]).id == 3


def test_the_history_is_still_one_of_schema_1(tmp_path: Path) -> None:
    """Check that no newer version has opened the file itself, which would migrate it."""
    shutil.copyfile(DATA / "history-1.sqlite", tmp_path / "history.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as known:
        assert known.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    tables = (DATA / "history-1.postgresql.sql").read_text()
    assert "INSERT INTO schema_version (version, applied) VALUES (1, 1767225600.25);" in tables


# --- the lock ---


def test_a_lock_of_version_1_is_read() -> None:
    def base(variant: str) -> Base:
        return Base(
            kind="registry",
            reference=f"example/python:3.12-{variant}",
            digest=f"sha256:{'ab' * 32}",
            python="3.12.1",
            platform="linux/amd64",
            libc="2.36",
        )

    def resolved(digit: str, **weights: int) -> Resolution:
        text = f"six==1.16.0 \\\n    --hash=sha256:{digit * 64}\n" + 'torch==2.3.0 ; python_version >= "3.8"\n'
        return Resolution(inputs=f"sha256:{digit * 64}", requirements=text, weights=weights)

    heavy = {"torch": 755_500_000, "numpy": 18_200_000}
    assert lockfile.VERSION == 1
    assert lockfile.read_lock(DATA) == Lock(
        base={"cpu": base("cpu"), "gpu": base("gpu")},
        sections={
            "python": {"cpu": resolved("1", **heavy), "gpu": resolved("2", **heavy)},
            "jupyter": {"lab-cpu": resolved("1"), "lab-gpu": resolved("2"), "notebook-cpu": resolved("3")},
        },
    )


def test_a_lock_is_written_as_it_was(tmp_path: Path) -> None:
    """Leave a lock that is written again as it is: a project has it under version control."""
    split = DATA / "lock-split"
    lockfile.write_lock(tmp_path, lockfile.read_lock(split))
    for name in lockfile.NAMES:
        assert (tmp_path / name).read_bytes() == (split / name).read_bytes()


def test_a_lock_in_one_file_is_split_when_it_is_written(tmp_path: Path) -> None:
    """Read what versions before the notebook's own file wrote, and put each section into its place."""
    lockfile.write_lock(tmp_path, lockfile.read_lock(DATA))
    for name in lockfile.NAMES:
        assert (tmp_path / name).read_bytes() == (DATA / "lock-split" / name).read_bytes()
    assert lockfile.read_lock(DATA / "lock-split") == lockfile.read_lock(DATA)


# --- the state ---


def test_what_was_built_last_is_read() -> None:
    before = last_build.load(Path("/home/ada/digits"), "run")
    assert before
    assert (before.root, before.base) == ("/home/ada/digits", f"sha256:{'ab' * 32}")
    assert list(before.layers) == list(before.keys) == ["apt", "python", "data data", "source-copy"]
    assert before.keys["source-copy"] == PLAN_KEY
    assert before.layers["apt"]["env PACKAGES"] == "git"
    assert list(before.layers["python"]) == ["script", "requirements.txt", "config"]
    source = before.layers["source-copy"]["files in /usr/app"]
    assert before.files[source] == {
        "größe.txt": f"file False {'1' * 64}",
        "run.sh": f"file True {'2' * 64}",
        "trainer": "dir False ",
        "trainer/link": "link False ../run.sh",
        "trainer/train.py": f"file False {'3' * 64}",
    }
    assert last_build.newest() == ()  # the project is gone


def spool() -> list[tuple[Job, bool]]:
    """The single runs that files tell of, and whether they go on."""
    found = []
    for value, goes_on in run_journal.taken():
        job = reconcile.from_journal(value, goes_on)
        assert job
        found.append((job, goes_on))
    return found


def test_single_runs_are_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_names, "of_single_runs", lambda folder: f"{folder.name}-calm-crow")
    (over, _), (killed, _) = found = spool()
    assert [goes_on for _, goes_on in found] == [False, False]
    assert (over.key, over.status, over.args) == ("b0b0b0b0b002", "failed", ("--lr", "0.1", "größer"))
    assert over.last
    assert (over.last.handle, over.last.exit_code, over.last.reason) == ("ocicaliban-b0b0b0b0b002", 3, "exit code 3")
    assert (over.last.started, over.last.ended) == (1767228826.25, 1767228832.25)
    assert evolve(over.submission, options={}) == Submission(
        target="local",
        group="digits-calm-crow",
        user="ada",
        host="workstation",
        project="/home/ada/digits",
        mode="run",
        module="trainer.train",
        image=IMAGE,
        plan_key=PLAN_KEY,
        commit=COMMIT,
        dirty=True,
        launch=over.submission.launch,
        created=1767228826.25,
    )
    assert over.submission.launch.command == ("python3", "-m", "trainer.train")
    assert over.submission.options["alone"] is True
    asked = LaunchRequest(mode="run", module="trainer.train")
    assert requested(over.submission, LaunchRequest, JobsRequest) == (asked, JobsRequest())
    assert (killed.key, killed.status) == ("b0b0b0b0b003", "running")
    assert killed.last and killed.last.ended is None
    assert list(run_journal.taken()) == []


def test_a_single_run_that_goes_on_is_told_by_its_lock() -> None:
    name = "01767228832249999872-b0b0b0b0b003.json"
    with (paths.state() / "runs" / name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [(job.key, job.status, goes_on) for job, goes_on in spool()] == [
            ("b0b0b0b0b002", "failed", False),
            ("b0b0b0b0b003", "running", True),
        ]
    assert run_journal.has("b0b0b0b0b003") and not run_journal.has("b0b0b0b0b002")


def test_a_single_run_of_an_earlier_version_gets_into_a_history(tmp_path: Path) -> None:
    with access.open(f"sqlite://{tmp_path}/history.db") as known:
        for job, _ in spool():
            known.record(job)
        assert [(job.key, job.status) for job in known.jobs()] == [
            ("b0b0b0b0b002", "failed"),
            ("b0b0b0b0b003", "running"),
        ]


def test_a_submission_whose_process_was_killed_is_known_by_its_file() -> None:
    made = Submission(
        target="local",
        id=1,
        group="digits",
        user="ada",
        host="workstation",
        project="/p",
        mode="run",
        created=1767225600.25,
    )
    assert lease.was_abandoned(made) and not lease.is_held(made)
    assert not lease.was_abandoned(evolve(made, id=2))


def test_the_log_of_a_job_that_runs_is_read() -> None:
    job = Job(
        id=6,
        key="a0a0a0a0a006",
        submission=Submission(target="local", group="digits", user="", host="", project="", mode=""),
    )
    log = runner.folder(job) / "attempt-1.log"
    assert log_file.last_line(log) == "größer"
    assert b"".join(log_file.follow(log, lambda: True)) == "epoch 1\nloss 0.5\ngrößer\n".encode()
    log_file.plain(log)
    assert log.read_bytes() == "epoch 1\nloss 0.5\ngrößer\n".encode() and not log_file.raw(log).exists()


def test_when_an_image_was_used_is_known() -> None:
    os.utime(paths.used(IMAGE), (1000, 1000))
    assert image_store.last_used(IMAGE) == 1000
    image_store.forget_use(IMAGE)
    assert image_store.last_used(IMAGE) == 0


# --- the cache ---


KEPT_COMMAND = Path("cache", "ocicaliban", "hot", "9a0c9e962a01964f96754a2c36b8355f.json")


def kept_command(argv: list[str]) -> dict[str, Any]:
    """Put the command line that was kept where this one looks for it; the file's name tells machine and version."""
    place = Path(replay._place(replay._split(argv)[0]))
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(DATA / KEPT_COMMAND, place)
    known: dict[str, Any] = json.loads(place.read_text())
    return known


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was given to podman; we are an ordinary user."""
    calls: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
        calls.append(argv)
        meanwhile()
        return 7

    monkeypatch.setattr(podman, "run", run)
    monkeypatch.setattr(podman, "new_key", lambda: "0123456789ab")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return calls


def test_a_kept_command_line_is_not_replayed_where_files_differ(ran: list[tuple[str, ...]]) -> None:
    known = kept_command(["run", "trainer.train"])
    assert known["read"]["/home/ada/layers"] is None and known["asked"] == {"/home/ada/digits/missing": None}
    assert replay.attempt(["run", "trainer.train", "--", "--lr", "2"]) is None
    assert ran == []


def test_a_kept_command_line_is_replayed_where_nothing_differs(
    tmp_path: Path, ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    known = kept_command(["run", "trainer.train"])
    assert {kind: len(stamps) for kind, stamps in known.items() if isinstance(stamps, dict) and kind != "job"} == {
        "read": 4,
        "entries": 5,
        "asked": 1,
        "links": 1,
    }
    (tmp_path / "images.json").write_text(json.dumps([{"id": IMAGE}], separators=(",", ":")))
    same = known | {"read": {}, "entries": {}, "links": {}, "index": str(tmp_path / "images.json")}
    Path(replay._place(["run", "trainer.train"])).write_text(json.dumps(same))
    assert replay.attempt(["run", "trainer.train", "--", "--lr", "2"]) == 7
    assert capsys.readouterr().err == "note: said while it was planned\nrunning on the CPU\n"
    assert ran == [
        (
            *("podman", "run", "--rm", "--init", "--pull=never", "--name", "ocicaliban-0123456789ab"),
            *("--network", "host", "--label", "ocicaliban.job=0123456789ab", "--entrypoint", "python3", IMAGE),
            *("-m", "trainer.train", "--lr", "2"),
        )
    ]
    job, goes_on = spool()[-1]
    assert (job.key, job.args, job.status, goes_on) == ("0123456789ab", ("--lr", "2"), "failed", False)
    assert (job.submission.user, job.submission.host, job.submission.plan_key) == ("ada", "workstation", PLAN_KEY)
    assert job.submission.options["alone"] is True


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_was_pushed_is_remembered(compression: Compression) -> None:
    kind = f"application/vnd.oci.image.layer.v1.tar+{compression}"
    assert packed_layers.load(compression) == [
        PackedLayer(diff_id=f"sha256:{'1' * 64}", digest=f"sha256:{'a' * 64}", size=1001, media_type=kind),
        PackedLayer(
            diff_id=f"sha256:{'2' * 64}",
            digest=f"sha256:{'b' * 64}",
            size=1002,
            media_type=kind,
            repository="registry.example/ada/digits",
        ),
    ]


def test_where_the_image_store_is_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> str:
        raise AssertionError("podman is asked")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(image_store, "_conf_stamp", lambda: "|||-")
    assert image_store.location() == (Path("/home/ada/.local/share/containers/storage"), "overlay")


def test_what_was_read_of_a_tree_is_remembered() -> None:
    memo = tree_memo.load(paths.cache() / "trees" / "0123456789abcdef0123456789abcdef")
    assert memo.files == {}, "version 2 did not search them for all credentials"
    assert {folder: codes for folder, (_, codes) in memo.dirs.items()} == {
        "": {"größe.txt": 0, ".gitignore": 0, "x.log": 2, "sub": 1},
        "sub/": {"a.py": 0},
    }


def test_hooks_are_found_in_their_folder() -> None:
    """A container that an earlier version started needs its hooks to its end, under the same path."""
    hook = spec.Hook(
        hook_name="createContainer",
        path="/usr/bin/nvidia-cdi-hook",
        args=("nvidia-cdi-hook", "update-ldcache"),
        env=("A=1",),
        timeout=5,
    )
    folder = paths.cache() / "hooks"
    files = podman_options.hook_files(spec.ContainerEdits(hooks=(hook,)))
    place = podman_options.write_hooks(files, folder)
    assert [path.name for path in folder.iterdir()] == [place.name] == ["fe10a90b59f0bc3f8571b18e26b63140"]
    assert {path.name: path.read_text() for path in place.iterdir()} == files


def test_results_in_the_cloud_have_the_same_copy_here() -> None:
    copy = results.local_copy("gs://ada-digits/results/digits-cloud/a0a0a0a0a008")
    assert copy == paths.cache() / "results" / "f8734af1906dd3e350c9324e2faf8b63"
    assert results.stamp(1767225600250000) == 1767225600250000000
