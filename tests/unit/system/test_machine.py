"""What a machine is, from files as the kernel and NVIDIA's driver write them."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.gpu import driver
from ocicaliban.system import machine
from tests.folders import write


def test_processor_and_memory(tmp_path: Path) -> None:
    write(tmp_path, {"cpuinfo": "processor\t: 0\nmodel name\t: A: B\n", "meminfo": "MemTotal:  16 kB\nMemFree: 1 kB\n"})
    assert machine.processor(tmp_path) == "A: B" and machine.memory(tmp_path) == 16384
    assert machine.processor(tmp_path / "none") and machine.memory(tmp_path / "none") == 0


def test_gpus_and_driver(tmp_path: Path) -> None:
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n"
    information = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 1\n"
    write(tmp_path, {"version": version, "gpus/0000:01:00.0/information": information})
    assert driver.version(tmp_path) == "550.54.14" and driver.gpu_names(tmp_path) == ("NVIDIA H200",)
    assert driver.version(tmp_path / "none") == "" and driver.gpu_names(tmp_path / "none") == ()
