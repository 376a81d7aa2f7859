from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocicaliban.doctor import gpus
from ocicaliban.doctor.finding import Finding
from ocicaliban.gpu import lease
from tests.cdi_specs import write


def test_cdi(tmp_path: Path) -> None:
    gone = tmp_path / "no-driver"
    specs = tmp_path / "cdi"
    specs.mkdir()
    library = tmp_path / "libcuda.so.550"
    spec = specs / "nvidia.json"
    mounts = [{"hostPath": str(library), "containerPath": "/lib/libcuda.so"}]
    devices = [{"name": "0", "containerEdits": {"mounts": mounts}}]
    assert gpus.specs([specs], gone) == (Finding(name="GPUs", level="ok", message="no GPU"),)
    assert [finding.level for finding in gpus.specs([specs], tmp_path)] == ["warning"]

    spec.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))
    (stale,) = gpus.specs([specs], gone)
    assert stale.level == "error" and str(library) in stale.message
    assert f"nvidia-ctk cdi generate --output={spec}" in stale.remedy

    library.touch()
    good = Finding(name="GPUs", level="ok", message="nvidia.com/gpu=0")
    assert gpus.specs([specs], gone) == (good,)

    other = specs / "other.json"
    other.write_text("{")
    corrupt, *rest = gpus.specs([specs], gone)
    assert corrupt.level == "error" and str(other) in corrupt.message and "nvidia-ctk" in corrupt.remedy
    assert rest == [good]
    library.unlink()
    assert [finding.level for finding in gpus.specs([specs], gone)] == ["error", "error"]


def test_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    specs, shared = tmp_path / "cdi", tmp_path / "lock"
    shared.mkdir()
    monkeypatch.setattr(lease, "SHARED", (shared,))
    assert gpus.leases([specs]) == ()
    write(specs, "0")
    [finding] = gpus.leases([specs])
    assert finding.level == "ok" and str(shared) in finding.message and not [*shared.iterdir()]
    shared.chmod(0o555)
    [finding] = gpus.leases([specs])
    assert finding.level == "warning" and str(tmp_path / "state") in finding.message
    assert f"'d {shared}/ocicaliban-gpus 1777 root root -'" in finding.remedy
