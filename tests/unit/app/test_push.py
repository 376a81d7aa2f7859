"""Push an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import push
from ocicaliban.app.requests import BuildRequest, PushRequest
from ocicaliban.errors import UsageError
from ocicaliban.registry import push as registry_push
from ocicaliban.registry.push import Pushed
from ocicaliban.registry.reference import Destination

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

BUILD = BuildRequest(mode="build", module="train.py", gpu_wanted=False)


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
    settings.write_text("[push]\nrepository = 'NOT ONE'\n")
    with pytest.raises(UsageError, match=r"config.toml: 'NOT ONE' does not begin with the host"):
        push.push(BUILD, PushRequest())
    config = (world.project / "ocicaliban.toml").read_text()
    world.write({"ocicaliban.toml": config + "[push]\nrepository = 'NOT ONE'\n"})
    with pytest.raises(UsageError, match=r"ocicaliban.toml:\d+: 'NOT ONE' does not begin with the host"):
        push.push(BUILD, PushRequest())
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
