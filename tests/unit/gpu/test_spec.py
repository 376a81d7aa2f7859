from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi
from tests.cdi_specs import write


def fault(*folders: Path) -> OcicalibanError:
    found = cdi.discover(folders)
    assert len(found.faults) == 1
    return found.faults[0]


def test_yaml_is_imported_late(tmp_path: Path) -> None:
    write(tmp_path, "0")
    code = (
        "import sys; from pathlib import Path; from ocicaliban.gpu import cdi\n"
        "assert cdi.discover([Path(sys.argv[1])]).devices; assert 'yaml' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(cdi.__file__).parents[1])},
    )


def test_without_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme.yaml").write_text("{}")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "PyYAML" in fault(tmp_path).message


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.json", ""),
        ("a.json", '{"cdiVersion": "0.5.0", '),
        ("a.json", "[" * 100_000),
        ("a.json", "[]"),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu"}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "gpu", "devices": []}'),
        ("a.json", '{"cdiVersion": "new", "kind": "acme.example/gpu", "devices": []}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu", "devices": [{}]}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu", "devices": [{"name": "0"}, {"name": "0"}]}'),
        ("a.yaml", ""),
        ("a.yaml", "a: [1"),
        ("a.yaml", "a: 2024-99-99"),
        ("a.yml", "cdiVersion: 0.5.0\nkind: acme.example/gpu\ndevices:\n"),
    ],
)
def test_corrupt_spec(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert str(tmp_path / file) in fault(tmp_path).message
    assert f"nvidia-ctk cdi generate --output={tmp_path / file}" in fault(tmp_path).hint


@pytest.mark.parametrize(
    "edits",
    [
        [],
        {"env": "A=1"},
        {"env": ["A"]},
        {"env": ["=1"]},
        {"env": [True]},
        {"mounts": [{"hostPath": "/a"}]},
        {"mounts": ["/a"]},
        {"deviceNodes": [{"hostPath": "/dev/a"}]},
        {"hooks": [{"hookName": "../x", "path": "/a"}]},
        {"hooks": [{"hookName": "createContainer", "path": "/a", "timeout": "1"}]},
        {"additionalGids": ["video"]},
        {"additionalGids": [True]},
        {"additionalGids": [-1]},
    ],
)
def test_corrupt_edits(tmp_path: Path, edits: object) -> None:
    write(tmp_path, {"name": "0", "containerEdits": edits})
    assert "corrupt" in fault(tmp_path).message


def test_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("absent")
    assert "a.json" in fault(tmp_path).message
