"""What `status --disk` counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.app import disk
from ocicaliban.containers import image_store
from ocicaliban.model.image import Image
from tests.folders import write


def test_each_file_counts_once_and_layers_of_other_images_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    cache = tmp_path / "cache/ocicaliban"
    write(
        cache,
        {
            "mounted/packages/1/files/a.py": "x" * 100_000,
            "hot/x": "x",
            "debian/1": "x" * 9000,
            "mounted/files/aa/b": "x" * 50_000,
        },
    )
    write(tmp_path / "state/ocicaliban", {"jobs/g/1/log": "x" * 20_000})
    (cache / "mounted/folders/1").mkdir(parents=True)
    (cache / "mounted/folders/1/a.py").hardlink_to(cache / "mounted/packages/1/files/a.py")
    names = [("localhost/ocicaliban/python/1:latest",), ("localhost/ocicaliban/base/1:latest",), ("python:3.12",)]
    images = tuple(Image(id=f"{number}", digest="", key="", names=each) for number, each in enumerate(names))
    monkeypatch.setattr(image_store, "images", lambda: images)
    monkeypatch.setattr(image_store, "location", lambda: (tmp_path / "store", "overlay"))
    monkeypatch.setattr(
        image_store,
        "layer_chains",
        lambda: {"0": {"top": 7, "base": 5}, "1": {"base": 5}, "2": {"other": 9, "base": 5}},
    )
    found = {each.what: each.size for each in disk.uses()}
    assert found["images"] == 7
    assert found["Python packages"] >= 100_000 > found["folders with links to these"]
    assert found["files of sources and data"] >= 50_000
    assert found["Debian packages"] >= 9_000
    assert found["results and records of jobs"] >= 20_000
    assert disk.lines(disk.uses())[-1].endswith("clean --unused")
    assert [each["what"] for each in disk.as_json(disk.uses())] == [*found]
