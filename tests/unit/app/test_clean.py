"""Remove images."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import clean
from ocicaliban.app.requests import CleanRequest
from ocicaliban.build import folder_store, last_build, prune
from ocicaliban.containers import image_store, workspace
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch, Plan
from ocicaliban.system import files
from tests.plans import BASE

if TYPE_CHECKING:
    from ocicaliban.model.job import Submission
    from tests.unit.app.conftest import World


@pytest.fixture
def kept(world: World, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return the images, by id, that each `clean` keeps."""
    made: list[set[str]] = []

    def remove(stays, *, dry_run, out, reporter) -> int:  # type: ignore[no-untyped-def]
        made.append({image.id[:2] for image in world.images if stays(image)})
        return 0

    monkeypatch.setattr(prune, "remove", remove)
    monkeypatch.setattr(workspace, "remove_leftovers", lambda: None)
    monkeypatch.setattr(image_store, "images_in_containers", lambda: frozenset({"aa" * 32}))
    monkeypatch.setattr(image_store, "last_used", lambda identity: time.time() - (3600 if identity[0] == "b" else 1e6))
    for two in ("aa", "bb", "cc"):
        world.image(two * 32)
    return made


def test_images_in_use_stay(
    world: World, submission: Submission, kept: list[set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out: list[str] = []
    clean.clean(CleanRequest(all_=True), out.append)
    clean.clean(CleanRequest(older_than="2h"), out.append)
    clean.clean(CleanRequest(older_than="30d", unused=True), out.append)
    world.submit(submission, ())
    clean.clean(CleanRequest(all_=True), out.append)
    assert kept == [{"aa"}, {"aa", "ba", "bb"}, {"1d", "aa", "ba", "bb", "cc"}, {"1d", "aa"}]
    assert "jobs of digits wait for their image, so it stays: ocicaliban resume digits" in capsys.readouterr().err
    assert out == ["0 B freed"] * 4


def test_folders_stay_that_jobs_mount(world: World, submission: Submission, kept: list[set[str]]) -> None:
    queued, old, last = (folder_store.path_of(digit * 64) for digit in "abc")
    for path in (queued, old, last):
        path.mkdir(parents=True)
        (path / "train.py").write_text("x")
    mounts = (f"{queued}:/usr/app:O", "/home/ada/out:/out")
    world.submit(evolve(submission, launch=evolve(submission.launch, mounts=mounts)), ())
    plan = Plan(mode="run", base=BASE, base_key="0" * 64, layers=(), launch=Launch())
    last_build.save(world.project, plan, {}, (last.name,))
    clean.clean(CleanRequest(unused=True, dry_run=True), lambda _: None)
    assert old.is_dir()
    clean.clean(CleanRequest(unused=True), lambda _: None)
    assert (queued.is_dir(), old.is_dir(), last.is_dir()) == (True, False, True)
    clean.clean(CleanRequest(all_=True), lambda _: None)
    assert (queued.is_dir(), last.is_dir()) == (True, False)
    (world.folder / "history.db").write_text("no database" * 100)
    clean.clean(CleanRequest(all_=True), lambda _: None)
    assert queued.is_dir(), "nobody knows whether a job needs it"


def test_debian_packages_go_that_were_not_used(world: World, kept: list[set[str]]) -> None:
    folder = files.cache() / "debian"
    (folder / "resolved").mkdir(parents=True)
    old, new = folder / ("a" * 64), folder / ("b" * 64)
    for path, age in ((old, 40 * 86400), (new, 0)):
        path.write_bytes(b"deb")
        os.utime(path, (time.time() - age,) * 2)
    out: list[str] = []
    clean.clean(CleanRequest(unused=True), out.append)
    clean.clean(CleanRequest(older_than="30d", dry_run=True), out.append)
    assert old.is_file() and out == ["0 B freed", f"{folder}  1 Debian package, 3 B", "3 B would be freed"]
    clean.clean(CleanRequest(older_than="30d"), out.append)
    assert (old.is_file(), new.is_file(), out[-1]) == (False, True, "3 B freed")
    clean.clean(CleanRequest(all_=True), out.append)
    assert not new.is_file() and (folder / "resolved").is_dir()


def test_a_history_that_cannot_be_read_is_noted(
    world: World, kept: list[set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (world.folder / "history.db").write_text("no database" * 100)
    clean.clean(CleanRequest(all_=True), lambda _: None)
    assert "note: cannot tell which images jobs wait for:" in capsys.readouterr().err


def test_what_to_clean_must_be_said(world: World) -> None:
    with pytest.raises(UsageError, match="say what to remove"):
        clean.clean(CleanRequest(dry_run=True), print)
    with pytest.raises(UsageError, match="--older-than '3w' is not an age"):
        clean.clean(CleanRequest(older_than="3w"), print)
