from __future__ import annotations

import pytest

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi
from ocicaliban.gpu.selection import choose_allowed
from tests.cdi_specs import write

UUIDS = ("GPU-11111111-89ab-cdef-0123-456789abcdef", "GPU-22222222-89ab-cdef-0123-456789abcdef")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> cdi.Discovery:
    """Four GPUs by number, two of them also by UUID, and one of another vendor."""
    folder = tmp_path_factory.mktemp("cdi")

    def node(name: str, *paths: str) -> dict[str, object]:
        return {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/null/{path}"} for path in paths]}}

    numbers = [node(str(number), f"nvidia{number}") for number in range(4)]
    uuids = [node(uuid, f"nvidia{number}") for number, uuid in enumerate(UUIDS)]
    whole = node("all", *(f"nvidia{number}" for number in range(4)))
    write(folder, *numbers, *uuids, whole, kind="nvidia.com/gpu")
    write(folder, {"name": "0", "containerEdits": {}}, kind="acme.example/gpu", file="other.json")
    return cdi.discover([folder])


def chosen(machine: cdi.Discovery, environ: dict[str, str], request: str | None = None) -> tuple[list[str], str]:
    from unittest import mock

    with mock.patch("os.path.exists", return_value=True):
        devices, note = choose_allowed(machine, None, request, environ)
    return [device.name for device in devices if device.kind == "nvidia.com/gpu"], note


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ["all"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ["1", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-2222"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,2"}, ["0"]),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, ["all"]),
        ({"SLURM_JOB_GPUS": "2,3"}, ["2", "3"]),
        ({"SLURM_JOB_GPUS": "0-2"}, ["0", "1", "2"]),
        ({"SLURM_JOB_GPUS": "0-2", "SLURM_STEP_GPUS": "1"}, ["1"]),
        # Slurm confines a job to its GPUs, and CUDA counts within them.
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0,1"}, ["2", "3"]),
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "1"}, ["3"]),
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "2"}, ["2"]),
        ({"ROCR_VISIBLE_DEVICES": ""}, ["all"]),
    ],
)
def test_the_variables_leave(machine: cdi.Discovery, environ: dict[str, str], names: list[str]) -> None:
    found, note = chosen(machine, environ)
    assert found == names
    assert bool(note) == (names != ["all"])
    if note:
        assert all(f"nvidia.com/gpu={name}" in note for name in names)


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles", "none", ","])
def test_an_empty_variable_leaves_no_gpu(machine: cdi.Discovery, value: str) -> None:
    nvidia = cdi.Discovery(devices=tuple(device for device in machine.devices if device.kind == "nvidia.com/gpu"))
    environ = {"CUDA_VISIBLE_DEVICES": value}
    assert choose_allowed(nvidia, None, None, environ) == ((), f"CUDA_VISIBLE_DEVICES={value}: no GPU can be used")
    for want, request in ((True, None), (None, "0")):
        with pytest.raises(OcicalibanError) as caught:
            choose_allowed(nvidia, want, request, environ)
        assert "--nogpu" in caught.value.hint
    assert choose_allowed(nvidia, False, None, environ)[0] == ()


def test_what_is_taken_away_cannot_be_asked_for(machine: cdi.Discovery) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(machine, {"CUDA_VISIBLE_DEVICES": "1"}, "nvidia.com/gpu=0")
    assert caught.value.message == "--gpus nvidia.com/gpu=0: CUDA_VISIBLE_DEVICES=1 takes it away"
    assert chosen(machine, {"CUDA_VISIBLE_DEVICES": "1"}, UUIDS[1])[0] == [UUIDS[1]]


def test_a_gpu_that_is_not_there_is_an_error(machine: cdi.Discovery) -> None:
    with pytest.raises(OcicalibanError) as caught:
        chosen(machine, {"CUDA_VISIBLE_DEVICES": "7"})
    assert caught.value.message == "CUDA_VISIBLE_DEVICES=7: no CDI spec offers the GPU '7'"
