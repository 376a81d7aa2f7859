from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi
from ocicaliban.gpu.selection import choose, select
from tests.cdi_specs import UUID, device, names, write


@pytest.mark.parametrize("request_", [None, "", "all"])
def test_select_default(request_: str | None) -> None:
    plain = (device("0"), device("1"), device(UUID), device("0", "acme.example/nic"))
    assert select(plain, request_) == plain[:2]
    assert names(select((*plain, device("all")), request_)) == ["all"]
    assert names(select((device("gpu0"), device("gpu1")), request_)) == ["gpu0", "gpu1"]
    assert names(select((device(UUID),), request_)) == [UUID]
    with pytest.raises(UsageError):
        select((device("0", "acme.example/nic"),), request_)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("0", ["0"]),
        ("1, 0,1", ["gpu1", "0"]),
        ("gpu0", ["0"]),
        (UUID, [UUID]),
        (UUID.lower(), [UUID]),
        (UUID.removeprefix("GPU-"), [UUID]),
        ("acme.example/gpu=gpu1", ["gpu1"]),
        ("acme.example/nic=0", ["0"]),
        ("eth", ["eth"]),
    ],
)
def test_select(request_: str, expected: list[str]) -> None:
    offered = (
        device("0"),
        device("gpu1"),
        device(UUID),
        device("0", "acme.example/nic"),
        device("eth", "acme.example/nic"),
    )
    assert names(select(offered, request_)) == expected


@pytest.mark.parametrize("request_", ["2", "0,2", "none", ",", "acme.example/gpu=7", "acme.example/gpu=all"])
def test_select_nothing(request_: str) -> None:
    with pytest.raises(UsageError) as caught:
        select((device("0"), device("1")), request_)
    assert "acme.example/gpu=0, acme.example/gpu=1" in caught.value.hint


def test_select_without_devices() -> None:
    with pytest.raises(UsageError) as caught:
        select((), None)
    assert "nvidia-ctk cdi generate" in caught.value.hint


def test_select_ambiguous() -> None:
    with pytest.raises(UsageError) as caught:
        select((device("0"), device("0", "other.example/gpu")), "0")
    assert "acme.example/gpu=0 or other.example/gpu=0" in caught.value.hint


def chosen(found: cdi.Discovery, want: bool | None = None, request: str | None = None) -> list[str]:
    return names(choose(found, want, request))


CORRUPT = OcicalibanError("the CDI spec /s/a.json is corrupt", "mend it")


def test_choose_uses_a_gpu_where_there_is_one(tmp_path: Path) -> None:
    write(tmp_path, "0", "1")
    found = cdi.discover([tmp_path])
    assert chosen(found) == chosen(found, True) == chosen(found, None, "all") == ["0", "1"]
    assert chosen(found, False) == []
    assert chosen(found, True, "1") == ["1"]
    assert chosen(cdi.Discovery()) == []


def test_other_devices_are_no_gpu_by_default(tmp_path: Path) -> None:
    write(tmp_path, "0", "all", kind="acme.example/nic")
    found = cdi.discover([tmp_path])
    assert chosen(found) == []
    assert chosen(found, None, "acme.example/nic=0") == ["0"]
    with pytest.raises(OcicalibanError, match="this machine has no GPU") as caught:
        chosen(found, True)
    assert "acme.example/nic=0" in caught.value.hint


@pytest.mark.parametrize(("want", "request_"), [(True, None), (True, "0"), (None, "0"), (None, "all")])
def test_no_gpu_where_one_is_asked_for(want: bool | None, request_: str | None) -> None:
    with pytest.raises(OcicalibanError, match="this machine has no GPU") as caught:
        chosen(cdi.Discovery(), want, request_)
    assert "nvidia-ctk cdi generate" in caught.value.hint
    assert "--nogpu" in caught.value.hint


@pytest.mark.parametrize("request_", ["", " "])
def test_an_empty_request_is_never_all(request_: str) -> None:
    with pytest.raises(UsageError, match="--gpus names no GPU"):
        chosen(cdi.Discovery(), None, request_)


def test_nogpu_and_gpus_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="cannot be used with"):
        chosen(cdi.Discovery(), False, "0")


def test_a_corrupt_spec_counts_where_nothing_else_fits(tmp_path: Path) -> None:
    write(tmp_path, "0")
    found = cdi.Discovery(devices=cdi.discover([tmp_path]).devices, faults=(CORRUPT,))
    assert chosen(found) == chosen(found, True) == chosen(found, None, "0") == ["0"]
    with pytest.raises(OcicalibanError, match=r"/s/a\.json is corrupt"):
        chosen(found, None, "1")
    alone = cdi.Discovery(faults=(CORRUPT,))
    assert chosen(alone, False) == []
    for want, request in ((None, None), (True, None), (None, "0")):
        with pytest.raises(OcicalibanError, match=r"/s/a\.json is corrupt") as caught:
            chosen(alone, want, request)
        assert caught.value.hint == "mend it; or use the CPU: --nogpu"


def test_a_stale_spec_is_told_before_podman_fails_on_it(tmp_path: Path) -> None:
    gone = {"mounts": [{"hostPath": "/absent/libcuda.so.1", "containerPath": "/lib/libcuda.so.1"}]}
    spec = write(tmp_path, {"name": "0", "containerEdits": gone}, "1")
    found = cdi.discover([tmp_path])
    with pytest.raises(OcicalibanError, match=r"/absent/libcuda\.so\.1") as caught:
        chosen(found)
    assert str(spec) in caught.value.message
    assert f"nvidia-ctk cdi generate --output={spec}" in caught.value.hint
    assert chosen(found, None, "1") == ["1"]
