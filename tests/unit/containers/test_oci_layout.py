"""Layers and layouts: the same bytes everywhere, digests that verify."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.containers import oci_layout
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Configure
from ocicaliban.project.source_tree import read_tree

NAMES = st.text("ab é", min_size=1, max_size=3).map(lambda name: f"f{name}")
FILES = st.dictionaries(
    st.tuples(st.sampled_from(["", "d/", "d/e/"]), NAMES).map("".join),
    st.tuples(st.binary(max_size=600), st.booleans()),
    max_size=5,
)


def fill(root: Path, files: dict[str, tuple[bytes, bool]], umask: int, mtime: int) -> Path:
    before = os.umask(umask)
    try:
        root.mkdir(parents=True)
        for name, (data, executable) in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if executable:
                path.chmod(path.stat().st_mode | 0o100)
            os.utime(path, (mtime, mtime))
    finally:
        os.umask(before)
    return root


@given(FILES)
def test_the_same_tree_gives_the_same_bytes(files: dict[str, tuple[bytes, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        one = fill(top / "one", files, 0o077, 1)
        two = fill(top / "x" / "two", dict(reversed(files.items())), 0o002, 1_700_000_000)
        blobs = [oci_layout.write_layer(read_tree(p, ignore=False), "/usr/app", top / p.name[0]) for p in (one, two)]
        data = (top / "o").read_bytes()
        assert data == (top / "t").read_bytes() and blobs[0] == blobs[1]
        assert blobs[0] == oci_layout.Blob(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))


def test_the_entries_of_a_layer(tmp_path: Path) -> None:
    root = fill(tmp_path / "p", {"d/run": (b"x", True), "plain": (b"yy", False)}, 0o077, 5)
    (root / "link").symlink_to("plain")
    oci_layout.write_layer(read_tree(root), "/usr/app", tmp_path / "layer")
    with tarfile.open(tmp_path / "layer") as tar:
        members = {member.name: member for member in tar}
        assert tar.extractfile("usr/app/plain").read() == b"yy"  # type: ignore[union-attr]
    assert list(members) == ["usr", "usr/app", *(f"usr/app/{name}" for name in ("d", "d/run", "link", "plain"))]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {(0, 0, "", "", oci_layout.EPOCH)}
    assert [m.mode for m in members.values()] == [0o755, 0o755, 0o755, 0o755, 0o777, 0o644]
    assert members["usr/app/link"].issym() and members["usr/app/link"].linkname == "plain"


def test_a_tree_at_the_root(tmp_path: Path) -> None:
    root = fill(tmp_path / "p", {"a": (b"", False)}, 0o022, 5)
    oci_layout.write_layer(read_tree(root), "/", tmp_path / "layer")
    with tarfile.open(tmp_path / "layer") as tar:
        assert tar.getnames() == ["a"]


@pytest.mark.parametrize("data", [b"other", b"s", b"", None])
def test_a_file_that_changed_since_it_was_read(tmp_path: Path, data: bytes | None) -> None:
    root = fill(tmp_path / "p", {"a": (b"first", False)}, 0o022, 5)
    tree = read_tree(root)
    (root / "a").unlink()
    if data is not None:
        (root / "a").write_bytes(data)
    with pytest.raises(OcicalibanError, match="a changed while it was being copied"):
        oci_layout.write_layer(tree, "/usr/app", tmp_path / "layer")


@pytest.mark.parametrize(
    ("to", "modes"), [("/tmp/a", [0o1777, 0o755]), ("/root", [0o700]), ("/var/tmp", [0o755, 0o1777])]
)
def test_the_folders_above_keep_the_modes_that_they_have_everywhere(tmp_path: Path, to: str, modes: list[int]) -> None:
    oci_layout.write_layer(read_tree(fill(tmp_path / "p", {}, 0o022, 5)), to, tmp_path / "layer")
    with tarfile.open(tmp_path / "layer") as tar:
        assert [member.mode for member in tar] == modes


@pytest.mark.parametrize(("to", "hint"), [("/bin", "/usr/bin"), ("/var/run/x", "/run"), ("/a/../b", "without")])
def test_a_place_that_would_hide_a_link_of_the_base_is_refused(tmp_path: Path, to: str, hint: str) -> None:
    tree = read_tree(fill(tmp_path / "p", {}, 0o022, 5))
    with pytest.raises(UsageError, match="to = '/") as caught:
        oci_layout.write_layer(tree, to, tmp_path / "layer")
    assert hint in caught.value.hint


def test_a_full_disk_is_not_told_as_a_fault_of_the_source(tmp_path: Path) -> None:
    tree = read_tree(fill(tmp_path / "p", {"a": (b"x" * 100_000, False)}, 0o022, 5))
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        oci_layout.write_layer(tree, "/usr/app", Path("/dev/full"))


def test_configured() -> None:
    config: dict[str, Any] = {
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=b=c", "BARE"], "Cmd": ["sh"], "ExposedPorts": {"1/tcp": {}}},
    }
    before = json.dumps(config)
    change = Configure(
        env=(("A", "2"), ("N", "1")), path=("/v/bin", "/w"), workdir="/x", entrypoint=("p", "q"), ports=("2/tcp",)
    )
    assert oci_layout.with_changes(config, change) == {
        "os": "linux",
        "config": {
            "Env": ["PATH=/v/bin:/w:/bin", "A=2", "BARE=", "N=1"],
            "WorkingDir": "/x",
            "Entrypoint": ["p", "q"],
            "ExposedPorts": {"1/tcp": {}, "2/tcp": {}},
        },
    }
    assert json.dumps(config) == before
    assert oci_layout.with_changes(config, Configure())["config"]["Cmd"] == ["sh"]
    assert oci_layout.with_changes({}, Configure(path=("/v",)))["config"]["Env"] == [
        "PATH=/v:/usr/local/bin:/usr/bin:/bin"
    ]


def test_appended() -> None:
    one = oci_layout.with_layer({}, "sha256:aa", "one")
    two = oci_layout.with_layer(one, None, "two")
    assert one["rootfs"] == two["rootfs"] == {"type": "layers", "diff_ids": ["sha256:aa"]}
    assert two["history"] == [
        {"created": oci_layout.CREATED, "created_by": "one"},
        {"created": oci_layout.CREATED, "created_by": "two", "empty_layer": True},
    ]
    assert len(one["history"]) == 1


def test_the_digests_of_a_layout_verify(tmp_path: Path) -> None:
    root = fill(tmp_path / "p", {"a": (b"x", False)}, 0o022, 5)
    blob = oci_layout.write_layer(read_tree(root), "/usr/app", tmp_path / "layer")
    layout = tmp_path / "layout"
    oci_layout.adopt_layer(layout, tmp_path / "layer", blob)
    top = oci_layout.write_layout(layout, oci_layout.with_layer({}, blob.digest, "copy"), [blob])
    blobs = {path.name: path.read_bytes() for path in (layout / "blobs" / "sha256").iterdir()}
    assert len(blobs) == 3
    assert all(name == hashlib.sha256(data).hexdigest() for name, data in blobs.items())
    manifest = json.loads(blobs[top.removeprefix("sha256:")])
    for described in (manifest["config"], *manifest["layers"]):
        assert described["size"] == len(blobs[described["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert json.loads((layout / "index.json").read_text())["manifests"][0]["digest"] == top
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
