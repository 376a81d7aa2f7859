"""Plan, build, push and clean images."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import build, clean, plan, push
from ocicaliban.app.requests import BuildRequest, CleanRequest, PushRequest
from ocicaliban.build import prune
from ocicaliban.containers import image_store, workspace
from ocicaliban.errors import UsageError
from ocicaliban.registry import push as registry_push
from ocicaliban.registry.push import Pushed
from ocicaliban.registry.reference import Destination

if TYPE_CHECKING:
    from ocicaliban.model.job import Submission
    from tests.unit.app.conftest import World

BUILD = BuildRequest(mode="build", module="train.py", gpu_wanted=False)


def test_an_image_is_built_and_named(world: World) -> None:
    built = build.build(BUILD, "digits:v1")
    assert built.image is world.images[-1] and built.key
    assert ("buildah", "tag", built.image.id, "digits:v1") in world.tools
    assert list((world.folder / "state").rglob("plans/*"))
    with pytest.raises(UsageError, match="--tag 'Digits' is not a valid image name"):
        build.build(BUILD, "Digits")


def test_a_user_who_is_root_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    build.note_root()
    assert "running as root; ocicaliban needs no root" in capsys.readouterr().err


def test_a_plan_tells_which_layers_are_built(world: World) -> None:
    lines = plan.layer_lines(BUILD)
    assert any("train.py" in line or "source-copy" in line for line in lines)
    build.build(BUILD)
    again = plan.layer_lines(BUILD)
    assert lines != again
    whole = plan.as_json(BUILD)
    assert whole["mode"] == "build"
    assert "FROM" in plan.containerfile(BUILD)


def test_modes_are_compared(world: World) -> None:
    (world.project / ".gitignore").write_text("notes\n")
    (world.project / "notes").write_text("x")
    lines = plan.difference(BuildRequest(mode="shell", gpu_wanted=False), "run")
    assert any("notes" in line for line in lines)
    assert plan.difference(BUILD, "run")


def pushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Destination, str]]:
    """Return what is pushed: the image's id, where to, and how it is compressed."""
    made: list[tuple[str, Destination, str]] = []

    def send(image: object, target: Destination, registry: object, **how: object) -> Pushed:
        made.append((image.id, target, str(how["compression"])))  # type: ignore[attr-defined]
        return Pushed(repository=target.repository, digest=f"sha256:{'d' * 64}", sent=1, saved=2)

    monkeypatch.setattr(registry_push, "connect", lambda target, reporter: object())
    monkeypatch.setattr(registry_push, "push", send)
    return made


def test_the_projects_image_is_pushed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pushed(monkeypatch)
    result = push.push(BUILD, PushRequest(repository="ghcr.io/ada/digits", tag="v1", compression="zstd"))
    [(identity, target, compression)] = made
    assert identity == world.images[-1].id and compression == "zstd"
    assert str(target.repository) == "ghcr.io/ada/digits" and target.tag == "v1"
    assert result.reference.startswith("ghcr.io/ada/digits@sha256:")
    assert "sent 1 B, 2 B were there already" in capsys.readouterr().err
    world.image("cd" * 32, "mine")
    push.push(BUILD, PushRequest(repository="ghcr.io/ada/digits"), "mine")
    assert made[-1][0] == "cd" * 32


def test_where_to_push_is_given_or_configured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pushed(monkeypatch)
    with pytest.raises(UsageError, match="no repository to push to is configured"):
        push.push(BUILD, PushRequest())
    settings = world.folder / "config/ocicaliban/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[push]\nrepository = 'ghcr.io/ada'\n")
    push.push(BUILD, PushRequest())
    config = (world.project / "ocicaliban.toml").read_text()
    world.write({"ocicaliban.toml": config + "[push]\nrepository = 'ghcr.io/team/own'\n"})
    push.push(BUILD, PushRequest())
    assert [str(target.repository) for _, target, _ in made] == ["ghcr.io/ada/digits", "ghcr.io/team/own"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"compression": "xz"}, "--compression 'xz' is not supported"),
        ({"cloud_key": "nowhere"}, "--cloud-key: there is no file"),
        ({"cloud_key": "train.py"}, "--cloud-key is for Google's registries, and ghcr.io is not one of them"),
        ({"tag": "a b"}, "a b"),
    ],
)
def test_what_cannot_be_pushed_is_told(world: World, how: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        push.push(BUILD, PushRequest(repository="ghcr.io/ada/digits", **how))  # type: ignore[arg-type]


@pytest.fixture
def kept(world: World, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return the images, by id, that each `clean` keeps."""
    made: list[set[str]] = []

    def remove(stays, *, dry_run, out, reporter) -> None:  # type: ignore[no-untyped-def]
        made.append({image.id[:2] for image in world.images if stays(image)})
        out("0 B freed")

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
