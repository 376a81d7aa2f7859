"""What the command lock prints, and how it exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ocicaliban.__main__ import main
from ocicaliban.dependencies import resolver
from ocicaliban.project.lockfile import Resolution

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_a_lock_that_is_out_of_date_ends_with_1(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Resolution(inputs="sha256:1", requirements="six==1.16.0\n")
    monkeypatch.setattr(resolver, "resolve", lambda *_: found)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["lock", "--nogpu", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    code, out, err = call("--check", "--json")
    assert code == 1 and "out of date" in err
    six = {"section": "python", "package": "six", "before": "", "after": "1.16.0"}
    assert json.loads(out)["changes"] == [{**six, "name": name} for name in ("cpu", "gpu")]
    assert call()[:2] == (0, "added six 1.16.0 (python, cpu)\nadded six 1.16.0 (python, gpu)\n")
    code, out, err = call("--check")
    assert (code, out) == (0, "") and "up to date" in err
    assert call("apt")[0] == 2
