"""No file that arrives in a folder is missed, with the kernel's watch and without one."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from ocicaliban.system import arrivals
from ocicaliban.system.arrivals import Arrivals


@pytest.mark.parametrize("watched", [True, False])
def test_each_file_that_arrives_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    if not watched:
        monkeypatch.setattr(arrivals, "_watch", lambda folder: None)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "early").write_text("")
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    watch = Arrivals(folder, lambda path: found.put(path.name))
    assert found.get(timeout=10) == "early"
    names = {f"n{number}" for number in range(300)}
    for name in names:
        (tmp_path / name).write_text("")
        (tmp_path / name).rename(folder / name)
    while names:
        names.discard(found.get(timeout=10))
    watch.close()


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    Arrivals(tmp_path / "nowhere", lambda path: None).close()
