from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocicaliban.containers.own_store import Facts, OwnStore
from ocicaliban.doctor import storage
from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import filesystems

GIB = 2**30


def info(driver: str, **options: object) -> str:
    return json.dumps({"store": {"graphDriverName": driver, "graphOptions": options, "graphRoot": "/g"}})


@pytest.mark.parametrize(
    ("said", "level", "word"),
    [
        (info("overlay"), "ok", "native"),
        (info("overlay", **{"overlay.mount_program": {"Executable": "/usr/bin/fuse-overlayfs"}}), "warning", "fuse"),
        (info("vfs"), "warning", "vfs"),
        (info("btrfs"), "warning", "btrfs"),
        ("[]", "warning", "does not say"),
        ("no json", "warning", "does not say"),
        (OcicalibanError("podman is not installed", "install it"), "error", "podman is not installed"),
    ],
)
def test_storage(said: str | OcicalibanError, level: str, word: str) -> None:
    finding = storage.driver(said)
    assert finding.level == level and word in finding.message
    assert bool(finding.remedy) == (level != "ok")


def test_graph_root() -> None:
    gone = OcicalibanError("podman is not installed")
    assert storage.graph_root(info("vfs"), {}, 1000) == Path("/g")
    assert storage.graph_root(gone, {"HOME": "/h"}, 1000) == Path("/h/.local/share/containers/storage")
    assert storage.graph_root(gone, {"HOME": "/h", "XDG_DATA_HOME": "/d"}, 1000) == Path("/d/containers/storage")
    assert storage.graph_root("{}", {}, 0) == Path("/var/lib/containers/storage")


def test_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "magic", lambda _: 0)
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /zz-home rw shared:1 - nfs4 server:/home rw\n"
        "3 2 0:6 / /zz-home/my\\040disk rw - xfs /dev/sdb rw\n"
        "4 1 0:7 / /zz-scratch rw - ext4 /dev/sdc rw\n"
        "5 4 0:8 / /zz-scratch rw - lustre x rw\n"
        "broken line\n"
    )

    def check(path: str) -> Finding:
        return storage.file_system(Path(path), mounts)

    assert check("/zz-local/storage").level == "ok"
    assert check("/zz-homely").message.startswith("ext4")
    assert check("/zz-home/my disk/storage").message.startswith("xfs")
    assert check("/zz-scratch/storage").level == "error"
    nfs = check("/zz-home/ann/storage")
    assert nfs.level == "error" and "nfs4" in nfs.message and "image_store" in nfs.remedy
    assert storage.file_system(Path("/zz"), "").level == "warning"


@pytest.mark.parametrize(
    ("free", "level"),
    [(5 * GIB, "ok"), (5 * GIB - 1, "warning"), (GIB, "warning"), (GIB - 1, "error"), (0, "error"), (None, "warning")],
)
def test_room(free: int | None, level: str) -> None:
    finding = storage.room(Path("/g"), free)
    assert finding.level == level and bool(finding.remedy) == (level != "ok")


@pytest.mark.parametrize(
    ("store", "wanted", "level", "words"),
    [
        (OwnStore(root=Path("/h/one-uid"), folder=Path("/h")), "", "ok", "ignores the owners"),
        (OwnStore(root=Path("/d/s"), folder=Path("/d"), local=True), "/d", "ok", "as you have chosen"),
        (
            OwnStore(root=Path("/tmp/o/s"), folder=Path("/tmp/o"), local=True), "", "warning",
            "/home/ann/.local/share/containers/storage is on nfs4, a network file system, which cannot store images",
        ),
        (OcicalibanError("no folder can hold podman's images", "export"), "", "error", "no folder"),
    ],
)  # fmt: skip
def test_the_place_of_images_is_told(
    store: OwnStore | OcicalibanError, wanted: str, level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    facts = Facts(
        uid=1000, one_uid=True, environ={"HOME": "/home/ann"}, settings=(), named=False, kind=lambda _: "nfs4",
        wanted=wanted,
    )  # fmt: skip
    (found,) = storage.place(store, facts)
    assert found.level == level and words in found.message
    assert bool(found.remedy) == (level != "ok")
    assert storage.place(None, facts) == ()
