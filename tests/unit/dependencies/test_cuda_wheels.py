from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import cuda_wheels
from ocicaliban.errors import UsageError
from ocicaliban.recipes.catalog import builtin_layers

TABLE = cuda_wheels.load_table(builtin_layers() / "cuda" / "versions.toml")
TORCH = """\
nvidia-cublas-cu12==12.8.4.1 ; platform_machine == 'x86_64' \\
    --hash=sha256:00
nvidia-cuda-runtime-cu12==12.8.90 \\
    --hash=sha256:01
nvidia-cudnn-cu12==9.10.2.21
torch==2.8.0
"""
NVIDIA = "/opt/venv/lib/python3.11/site-packages/nvidia"


def wheels(version: str, *components: str, locked: str = "") -> tuple[str, ...]:
    request = cuda_wheels.CudaRequest(recipe="cuda", version=version, components=components, table=TABLE)
    return cuda_wheels.missing_wheels(request, locked)


def library_path(version: str, locked: str) -> list[str]:
    return cuda_wheels.library_path(
        cuda_wheels.CudaRequest(recipe="cuda", version=version, components=(), table=TABLE),
        locked,
        "3.11.2",
        "/opt/venv",
    ).split(":")


def test_the_toolkits_wheels_are_asked_for_in_one_release() -> None:
    assert wheels("12.4", "cudart", "cublas", "cudart") == ("cuda-toolkit[cublas,cudart]==12.4.*",)
    assert wheels("12.4.1", "cudart") == ("cuda-toolkit[cudart]==12.4.1.*",)


def test_libraries_with_versions_of_their_own_are_those_for_the_same_cuda() -> None:
    assert wheels("11.8", "nccl", "cudnn") == ("nvidia-cudnn-cu11", "nvidia-nccl-cu11")
    assert wheels("13.0", "cudnn", "cudart") == ("cuda-toolkit[cudart]==13.0.*", "nvidia-cudnn-cu13")


def test_what_torch_brings_is_left_to_torch() -> None:
    assert wheels("12.8", "cudart", "cublas", "cudnn", locked=TORCH) == ()
    assert wheels("12.8", "cudart", "npp", "nccl", locked=TORCH) == ("cuda-toolkit[npp]==12.8.*", "nvidia-nccl-cu12")
    assert wheels("13.2", "cudart", locked="nvidia-cuda-runtime==13.2.86\n") == ()


@pytest.mark.parametrize(("version", "locked"), [("12.4", TORCH), ("12.8", "nvidia-cuda-runtime==13.2.86\n")])
def test_another_cuda_in_the_lock_is_an_error(version: str, locked: str) -> None:
    with pytest.raises(UsageError, match=f"asks for CUDA {version}, but .* bring nvidia-cuda-runtime") as caught:
        wheels(version, "cudart", locked=locked)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("version", "component", "hint"),
    [
        ("12.7", "cudart", "12.6, 12.8"),
        ("12", "cudart", "known: 11.8"),
        ("12.8rc1", "cudart", "known: 11.8"),
        ("12.8", "cublass", "'cublas'"),
        ("12.8", "zzz", "there are: cudart"),
        ("11.8", "nvjitlink", "newer"),
        ("12.5", "cufile", "newer"),
    ],
)
def test_what_is_not_known_is_told(version: str, component: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r"layers\.cuda\.(version|components)") as caught:
        wheels(version, component)
    assert hint in caught.value.hint


def test_library_path_names_the_folders_of_what_is_locked() -> None:
    assert library_path("12.8", TORCH) == [f"{NVIDIA}/{name}/lib" for name in ("cuda_runtime", "cublas", "cudnn")]
    thirteen = "nvidia-cublas==13.1.1.3\nnvidia-cuda-runtime==13.0.96\nnvidia-cudnn-cu13==9.28.0.42\n"
    assert library_path("13.0", thirteen) == [f"{NVIDIA}/cu13/lib", f"{NVIDIA}/cudnn/lib"]
    assert library_path("12.8", "six==1.16.0\n") == [""]


def test_a_table_of_ones_own_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "versions.toml"
    file.write_text('source = "x"\ndate = "y"\nversions = ["13.6"]\n[components]\ncudart = { wheel = "w" }\n')
    with pytest.raises(UsageError, match=r"versions\.toml:5.*folder"):
        cuda_wheels.load_table(file)
