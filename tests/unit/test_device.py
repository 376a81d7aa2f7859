"""The CDI spec that the trial on a GPU machine writes is one that we read, and its programs fit together."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ocicaliban.gpu import cdi
from tests.device import cuda, machine


def test_the_spec_names_each_gpu_and_what_all_need(tmp_path: Path) -> None:
    libraries = [tmp_path / "libcuda.so.1", tmp_path / "libnvidia-ml.so.580.95"]
    for path in (*libraries, tmp_path / "nvidia-smi"):
        path.touch()
    nodes = [tmp_path / name for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm")]
    for node in nodes:
        node.touch()
    (tmp_path / "cdi").mkdir()
    spec = machine.spec(libraries, tmp_path / "nvidia-smi", nodes)
    (tmp_path / "cdi" / "nvidia.json").write_text(json.dumps(spec))
    found = cdi.discover([tmp_path / "cdi"])
    assert not found.faults and cdi.absent_host_paths(found.devices) == {}
    assert [device.qualified for device in found.devices] == ["nvidia.com/gpu=0", "nvidia.com/gpu=11"]


def test_the_drivers_libraries_are_known_by_their_names() -> None:
    wanted = ("libcuda.so.1", "libcuda.so.580.159.04", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.580.95.05")
    assert all(map(machine.LIBRARIES.fullmatch, wanted))
    assert not any(map(machine.LIBRARIES.fullmatch, ("libcudart.so.12", "libnvidia-ml.so", "libcuda.so.1.bak")))


def test_the_stand_in_has_all_that_the_program_calls() -> None:
    calls = set(re.findall(r"driver\.(cu\w+)", Path(str(cuda.__file__)).read_text()))
    defined = set(re.findall(r"^result (cu\w+)\(", (machine.HERE / "fake_cuda.c").read_text(), re.M))
    assert calls and calls == defined
