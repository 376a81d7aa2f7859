"""Which machine takes which accelerator."""

from __future__ import annotations

import re

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.targets.vertex import machines


def machine(
    type_: str = "", gpu: str = "", tpu: str = "", region: str = "us-central1", *, force: bool = False
) -> object:
    return machines.machine(type_, gpu, tpu, region, force)


def test_calibans_gpu_spec_gets_a_machine_that_takes_it() -> None:
    assert machine(gpu="2xV100") == (
        machines.Machine(type="n1-standard-4", accelerator="NVIDIA_TESLA_V100", count=2),
        (),
    )


@pytest.mark.parametrize(
    ("spec", "type_", "accelerator"),
    [
        ("1xT4", "n1-standard-4", "NVIDIA_TESLA_T4"),
        ("1xL4", "g2-standard-4", "NVIDIA_L4"),
        ("2xa100", "a2-highgpu-2g", "NVIDIA_TESLA_A100"),
        ("4xA100_80GB", "a2-ultragpu-4g", "NVIDIA_A100_80GB"),
        ("4xA100-80GB", "a2-ultragpu-4g", "NVIDIA_A100_80GB"),
        ("8xH100", "a3-highgpu-8g", "NVIDIA_H100_80GB"),
        ("8xH200", "a3-ultragpu-8g", "NVIDIA_H200_141GB"),
        ("2xNVIDIA_TESLA_V100", "n1-standard-4", "NVIDIA_TESLA_V100"),
        ("2xTESLA_V100", "n1-standard-4", "NVIDIA_TESLA_V100"),
        ("1xH100_80GB", "a3-highgpu-1g", "NVIDIA_H100_80GB"),
        ("8xnvidia-h200-141gb", "a3-ultragpu-8g", "NVIDIA_H200_141GB"),
    ],
)
def test_todays_accelerators_come_with_their_machines(spec: str, type_: str, accelerator: str) -> None:
    chosen, warnings = machines.machine("", spec, "", "us-central1", False)
    assert (chosen.type, chosen.accelerator, warnings) == (type_, accelerator, ())


def test_an_accelerator_that_the_machine_does_not_take_is_an_error_that_names_what_would_do() -> None:
    with pytest.raises(UsageError, match="n1-standard-32 takes 4 or 8 V100, not 1") as told:
        machine("n1-standard-32", "1xV100")
    assert "n1-standard-4" in told.value.hint and "--force" in told.value.hint
    with pytest.raises(UsageError, match="a2-highgpu-1g takes no V100"):
        machine("a2-highgpu-1g", "1xV100")
    with pytest.raises(UsageError, match="no machine takes 3 T4") as told:
        machine(gpu="3xT4")
    assert "1, 2, 4" in told.value.hint


def test_force_makes_a_warning_of_what_the_table_contradicts() -> None:
    chosen, warnings = machines.machine("n1-standard-32", "1xV100", "", "us-central1", True)
    assert chosen == machines.Machine(type="n1-standard-32", accelerator="NVIDIA_TESLA_V100", count=1)
    assert len(warnings) == 1


def test_a_name_that_the_table_does_not_know_is_passed_on_with_a_warning() -> None:
    chosen, warnings = machines.machine("x9-huge-1g", "2xNVIDIA_X900", "", "us-central1", False)
    assert (chosen.type, chosen.accelerator, chosen.count) == ("x9-huge-1g", "NVIDIA_X900", 2)
    assert any("NVIDIA_X900" in warning for warning in warnings)
    chosen, warnings = machines.machine("n1-standrad-4", "", "", "us-central1", False)
    assert chosen.type == "n1-standrad-4" and "did you mean 'n1-standard-4'" in warnings[0]


def test_a_region_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="us-centrall1") as told:
        machine(region="us-centrall1")
    assert "us-central1" in told.value.hint


def test_a_region_that_is_not_known_to_have_the_accelerator_is_a_warning() -> None:
    assert "not known to be in europe-west9" in machines.machine("", "1xA100", "", "europe-west9", False)[1][0]


def test_a_machine_that_has_accelerators_wants_them_named() -> None:
    with pytest.raises(UsageError, match="a2-highgpu-2g comes with accelerators") as told:
        machine("a2-highgpu-2g")
    assert "2xA100" in told.value.hint


@pytest.mark.parametrize("spec", ["V100", "2V100", "x", "0xV100", "2 x V100", ""])
def test_a_spec_that_is_none_is_a_usage_error(spec: str) -> None:
    if spec:
        with pytest.raises(UsageError, match="--gpu-spec"):
            machine(gpu=spec)
    else:
        assert machines.machine("", spec, "", "us-central1", False)[0].type == machines.DEFAULT_MACHINE


def test_tpus_are_cores_of_a_cloud_tpu_or_a_topology() -> None:
    assert machines.machine("", "", "8xV3", "us-central1", False)[0] == machines.Machine(
        type="cloud-tpu", accelerator="TPU_V3", count=8
    )
    assert machines.machine("", "", "16xV5E", "us-central1", False)[0] == machines.Machine(
        type="ct5lp-hightpu-4t", topology="4x4"
    )
    with pytest.raises(UsageError, match="no slice of 3 V5E"):
        machine(tpu="3xV5E")
    with pytest.raises(UsageError, match="n1-standard-4 is not that of 4 V5E"):
        machine("n1-standard-4", tpu="4xV5E")
    forced = machines.machine("ct9-new", "", "7xV5E", "us-central1", True)
    assert forced[0] == machines.Machine(type="ct9-new") and len(forced[1]) == 2
    for gpu, tpu in (("8xV3", ""), ("8xV5E", ""), ("", "1xT4")):
        with pytest.raises(UsageError, match="takes no"):
            machine(gpu=gpu, tpu=tpu)
    with pytest.raises(UsageError, match="exclude"):
        machine(gpu="1xT4", tpu="8xV3")


def test_the_table_agrees_with_itself() -> None:
    table = machines.table()
    assert {name for takes in table.machines.values() for name in takes} <= set(table.accelerators)
    assert {region for regions in table.places.values() for region in regions} <= set(table.regions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", table.date) and table.source.startswith("https://")
