"""How an emulator is set up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import emulator
from ocicaliban.app.requests import EmulatorRequest
from ocicaliban.emulator.settings import EmulatorSettings
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_an_emulator_is_set_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("ocicaliban.emulator.server")
    made: list[EmulatorSettings] = []
    monkeypatch.setattr(server, "Emulator", lambda settings, **_: made.append(settings))
    emulator.prepare(EmulatorRequest(port=9, jobs=0, registry=("h:1",)))
    emulator.prepare(EmulatorRequest(folder="here", gcs="/b"))
    state = world.folder / "state/ocicaliban/vertex-emulator"
    assert (made[0].folder, made[0].gcs, made[0].insecure_registries) == (state, state / "gcs", ("h:1",))
    assert (made[1].folder, made[1].gcs) == (world.project / "here", Path("/b"))


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
