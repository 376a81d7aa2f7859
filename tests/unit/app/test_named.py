"""Jobs and groups that are named by a word, and what is fetched of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import get, logs, selection
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Submission

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


@pytest.fixture
def here(submission: Submission, world: World) -> Submission:
    """Return a submission of the project in the current folder."""
    return evolve(submission, project=str(world.project), host=provenance.host(), user=provenance.user())


def test_last_is_the_newest_group_and_job_of_this_project(world: World, here: Submission) -> None:
    with world.history() as history, pytest.raises(UsageError, match=f"the project {world.project} has no jobs yet"):
        selection.group_named(history, "")
    world.submit(evolve(here, group="first"), ("a",))
    world.submit(evolve(here, group="second"), ("b",), ("c",))
    world.submit(evolve(here, group="other", project="/elsewhere"), ("d",))
    for number in (2, 3):
        world.end(number, "failed", exit_code=1)
    with world.history() as history:
        assert selection.group_named(history, "") == selection.group_named(history, "last") == "second"
        assert selection.group_named(history, "", unfinished=True) == "first"
        assert selection.group_named(history, "any") == "any"
        assert selection.job_named(history, "last").id == 3 and selection.job_named(history, "1").id == 1
        assert [job.id for job in selection.named(history, "second")] == [2, 3]
        with pytest.raises(UsageError, match="there is no group 'secnd'"):
            selection.named(history, "secnd")


def _with_log(world: World, number: int, text: str, *, failed: bool) -> None:
    log = world.folder / f"log-{number}"
    log.write_text(text)
    out = world.folder / f"out-{number}"
    out.mkdir()
    (out / "model").write_text(text)
    with world.history() as history:
        attempt = history.begin(number, started=1.0, log=lambda _: str(log), out=str(out))
        assert attempt
        history.end(number, attempt.number, "failed" if failed else "succeeded", exit_code=int(failed), ended=2.0)


def test_the_logs_of_a_group_follow_each_other(
    world: World, here: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(here, ("a",), ("b",))
    _with_log(world, 1, "one\n", failed=False)
    _with_log(world, 2, "two\n", failed=True)
    heading = "==> job 2, failed (1): train.py b <==\n"
    whole = b"".join(logs.log_blocks(here.group)).decode()
    assert whole == f"==> job 1, succeeded: train.py a <==\none\n\n{heading}two\n"
    assert b"".join(logs.log_blocks("", failed=True)).decode() == f"{heading}two\n"
    assert b"".join(logs.log_blocks("last")).decode() == "two\n"
    assert b"".join(logs.log_blocks("1", failed=True)) == b""
    assert capsys.readouterr().err == "no job has failed\n"
    with pytest.raises(UsageError, match="--follow is for one job"):
        list(logs.log_blocks(here.group, follow=True))


def test_a_job_whose_results_are_gone_hinders_no_other(
    world: World, here: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(here, ("a",), ("b",), ("c",))
    for number in (1, 2, 3):
        _with_log(world, number, str(number), failed=False)
    gone = world.folder / "out-2"
    gone.rename(world.folder / "away")
    copied: list[Path] = []
    for expected in (["1", "3"], []):
        with pytest.raises(OcicalibanError, match="the results of job 2 were not copied") as caught:
            copied.extend(get.get(here.group, "all"))
        assert caught.value.exit_code == 1
        assert [path.name for path in copied] == expected
        copied.clear()
    told = capsys.readouterr().err
    assert "note: all/1 exists already, and stays as it is\n" in told and told.count("the results of job 2 are") == 2
    (world.folder / "away").rename(gone)
    (world.project / "all/2").write_text("not a folder")
    with pytest.raises(OcicalibanError, match="the results of job 2 were not copied"):
        list(get.get(here.group, "all"))
    (world.project / "all/2").unlink()
    assert list(get.get(here.group, "all")) == [Path("all/2")]
    assert list(get.get(here.group, "all")) == []


def test_results_are_copied_to_a_new_folder(world: World, here: Submission) -> None:
    world.submit(here, ("a",), ("b",))
    _with_log(world, 1, "one", failed=False)
    _with_log(world, 2, "two", failed=True)
    results = world.folder / "out-2"
    os.mkfifo(results / "pipe")
    (results / "link").symlink_to("/etc/passwd")
    assert list(get.get("last", "")) == [Path(here.group) / "2"]
    copied = world.project / here.group / "2"
    assert sorted(each.name for each in copied.iterdir()) == ["link", "model"] and (copied / "link").is_symlink()
    with pytest.raises(UsageError, match="exists already"):
        list(get.get("2", ""))
    assert list(get.get(here.group, "all")) == [Path("all/1"), Path("all/2")]
    assert list(get.get("1", "one")) == [Path("one")] and Path("one/model").read_text() == "one"
    (world.project / "planted").symlink_to(world.folder)
    with pytest.raises(UsageError, match="exists already"):
        list(get.get("1", "planted"))
    world.submit(evolve(here, group="new"), ("c",))
    for word, told in (("3", "kept nowhere"), ("new", "no results yet")):
        with pytest.raises(UsageError, match=told):
            list(get.get(word, ""))
    assert not [each for each in world.project.iterdir() if each.name.startswith(".")]
