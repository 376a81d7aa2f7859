"""Event files of TensorBoard, as far as they go without its reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.reports import tensorboard
from ocicaliban.reports.metrics import Metrics


def test_event_files_are_found_below_the_folder_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("a/b/events.out.tfevents.1", "events.out.tfevents.0", "a/b/c/d/e/events.out.tfevents.2", "other"):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "events.out.tfevents.9").touch()
    (tmp_path / "out/events.out.tfevents.link").symlink_to(tmp_path / "events.out.tfevents.9")
    (tmp_path / "out/linked").symlink_to(tmp_path / "out/a")
    os.mkfifo(tmp_path / "out/tfevents")
    found = [os.path.relpath(path, tmp_path / "out") for path in tensorboard._files(str(tmp_path / "out"))]
    assert found == ["a/b/events.out.tfevents.1", "events.out.tfevents.0"]


def test_without_the_reader_a_note_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.backend.event_processing", None)
    assert tensorboard.add(Metrics(), str(tmp_path)) == Metrics() == tensorboard.add(Metrics(), "")
    (tmp_path / "events.out.tfevents.0").touch()
    assert tensorboard.add(Metrics(results={"a": 1}), str(tmp_path)).notes == (tensorboard.MISSING,)
