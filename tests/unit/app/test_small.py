"""Recipes, sweep files and the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import cloud_key, emulator, expand, layers
from ocicaliban.app.requests import EmulatorRequest
from ocicaliban.errors import OcicalibanError, UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_recipes_are_listed_described_and_copied(world: World) -> None:
    assert any(line.split()[:2] == ["apt", "built-in"] for line in layers.listed()), layers.listed()
    assert "apt" in layers.described("apt")[0]
    copy = layers.eject("apt")
    assert copy == world.project / "layers/apt" and (copy / "layer.toml").is_file()
    with pytest.raises(OcicalibanError, match="exists already"):
        layers.eject("apt")
    for use_case in (layers.described, layers.eject):
        with pytest.raises(UsageError, match="aptt"):
            use_case("aptt")


def test_the_jobs_of_a_sweep_file_are_written_out(world: World) -> None:
    world.write({"s.json": json.dumps([{"x": [1, 2], "name": "a b"}, {}])})
    jobs = [{"x": 1, "name": "a b"}, {"x": 2, "name": "a b"}, {}]
    for indented in (False, True):
        assert "".join(expand.json_pieces("s.json", indented=indented)) == (
            json.dumps(jobs, indent=2 if indented else None) + "\n"
        )
    assert list(expand.argument_lines("s.json")) == ["--x 1 --name 'a b'\n", "--x 2 --name 'a b'\n", "\n"]


def test_a_key_file_must_exist(world: World) -> None:
    assert cloud_key.key_file("") == "" and cloud_key.podman_options("") == ()
    assert cloud_key.key_file("train.py") == str(world.project / "train.py")
    assert any("GOOGLE_APPLICATION_CREDENTIALS" in word for word in cloud_key.podman_options("train.py"))
    with pytest.raises(UsageError, match="there is no file"):
        cloud_key.key_file("~/none.json")


def test_an_emulator_is_set_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("ocicaliban.emulator.server")
    made: list[dict[str, object]] = []
    monkeypatch.setattr(server, "Emulator", lambda **how: made.append(how))
    emulator.prepare(EmulatorRequest(port=9, jobs=0, registry=("h:1",)))
    emulator.prepare(EmulatorRequest(folder="here", gcs="/b"))
    state = world.folder / "state/ocicaliban/vertex-emulator"
    assert (made[0]["folder"], made[0]["gcs"], made[0]["registries"]) == (state, state / "gcs", ("h:1",))
    assert (made[1]["folder"], made[1]["gcs"]) == (world.project / "here", Path("/b"))


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (EmulatorRequest(project="X"), "--project-id 'X' is not a name"),
        (EmulatorRequest(region="us central"), "--region 'us central' is not a name"),
        (EmulatorRequest(faults="none.toml"), "--faults: there is no file none.toml"),
    ],
)
def test_what_no_emulator_can_be_is_told(world: World, request_: EmulatorRequest, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        emulator.prepare(request_)
