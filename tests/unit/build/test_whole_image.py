"""The folders that containers mount, as layers of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocicaliban.build import builder, folder_store, whole_image
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store, workspace
from ocicaliban.model.image import Copy, Image, PlannedLayer
from ocicaliban.reporter import SILENT

IMAGE = Image(id="1d" * 32, digest="", key="")


def test_folders_become_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    source, packages = (folder_store.path_of(digit * 64) for digit in "ab")
    for path in (source / "sub", packages / "bin"):
        path.mkdir(parents=True)
    (source / "sub" / "train.py").write_text("1")
    (packages / "bin" / "tool").write_text("#!/opt/venv/bin/python\n")
    (packages / "bin" / "tool").chmod(0o755)
    (packages / "bin" / "python").symlink_to("/usr/bin/python3")
    made: list[tuple[PlannedLayer, Image, BuildContext]] = []

    def tree_layer(layer: PlannedLayer, parent: Image, _: Path, context: BuildContext) -> Image:
        made.append((layer, parent, context))
        return Image(id="2d" * 32, digest="", key=layer.key)

    def find(name: str, key: str) -> Any:
        return Image(id="2d" * 32, digest="", key=key) if made else None

    monkeypatch.setattr(builder, "tree_layer", tree_layer)
    monkeypatch.setattr(image_store, "find_layer", find)
    monkeypatch.setattr(workspace, "remove_leftovers", lambda: None)
    mounts = (f"{source}:/usr/app:O", f"{packages}:/opt/venv:O", "/home/ada/out:/out")
    assert whole_image.stored(IMAGE, ("/home/ada/out:/out",), SILENT) == IMAGE
    assert whole_image.stored(IMAGE, mounts, SILENT).id == "2d" * 32
    assert whole_image.stored(IMAGE, mounts, SILENT).id == "2d" * 32
    [(layer, parent, context)] = made
    assert parent == IMAGE
    assert [(step.tree, step.to) for step in layer.steps if isinstance(step, Copy)] == [
        ("b" * 64, "/opt/venv"),
        ("a" * 64, "/usr/app"),
    ]
    entries = {entry.path: (entry.kind, entry.executable, entry.size) for entry in context.trees["b" * 64].entries}
    assert entries == {"bin": ("dir", False, 0), "bin/python": ("link", False, 0), "bin/tool": ("file", True, 23)}
    assert [entry.path for entry in context.trees["a" * 64].entries] == ["sub", "sub/train.py"]
