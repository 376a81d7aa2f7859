"""What a single run keeps and is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ocicaliban.jobs import group_names, single_run


def test_a_port_is_free_and_not_one_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.bind(("", 0))
        one.listen()
        monkeypatch.setattr(single_run, "_PORTS", range(one.getsockname()[1], one.getsockname()[1] + 1))
        assert single_run.free_port() == 0
    monkeypatch.setattr(single_run, "_TABLES", ("/none",))
    port = single_run.free_port()
    assert port in single_run._PORTS and single_run.free_port([port]) == 0
    assert single_run.port_environment(port) == (("OCICALIBAN_PORT", str(port)), ("MASTER_PORT", str(port)))
    assert single_run.port_environment(0) == ()


def test_a_run_has_a_folder_whose_results_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = single_run.make("digits-runs", "0123456789ab")
    assert made == single_run.place("digits-runs", "0123456789ab") and made.out.is_dir()
    assert not single_run.results(made.out) and not single_run.results(tmp_path / "gone")
    (made.out / "model.pt").touch()
    assert single_run.results(made.out) == f"results: {made.out}"


def test_two_projects_of_one_name_have_two_groups() -> None:
    one, other = (group_names.of_single_runs(Path(f"/{user}/digits")) for user in "ab")
    assert one != other and one.startswith("digits-runs-")
    assert group_names.check(group_names.of_single_runs(Path("/" + "x" * 200)))
