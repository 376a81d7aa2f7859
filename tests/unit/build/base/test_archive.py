"""Base images in archives."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ocicaliban.build import base_image
from ocicaliban.build.base import archive
from ocicaliban.errors import DiskFull, UsageError


@pytest.mark.parametrize("reference", ["oci:nowhere", "oci-archive:nowhere.tar"])
def test_an_archive_that_is_not_there_is_told(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nowhere"):
        base_image.declared(reference, "")


def test_an_archive_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").write_text("not a tar")
    with pytest.raises(UsageError, match="not an OCI archive"):
        base_image.declared("oci-archive:x.tar", "")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "index.json").write_text('{"manifests": 3}')
    with pytest.raises(UsageError, match="does not hold an OCI image"):
        base_image.declared("oci:x", "")


INDEX = """{"manifests": [
  {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "one"}},
  {"digest": "sha256:2", "annotations": {"org.opencontainers.image.ref.name": "two"}}]}"""


def test_one_of_several_images_in_an_archive_is_chosen_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Images.d").mkdir()
    (tmp_path / "My Images.d" / "index.json").write_text(INDEX)
    assert base_image.declared("oci:My Images.d:two", "").digest == "sha256:2"
    with pytest.raises(UsageError, match="holds 2 images") as caught:
        base_image.declared("oci:My Images.d", "")
    assert "one, two" in caught.value.hint
    with pytest.raises(UsageError, match="no image 'three'"):
        base_image.declared("oci:My Images.d:three", "")


def test_an_index_that_is_no_index_is_refused_without_reading_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    with open(tmp_path / "x" / "index.json", "wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(UsageError, match="larger than 4"):
        base_image.declared("oci:x", "")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("index.json")
        member.size = 50_000_000
        with open(tmp_path / "x" / "index.json", "rb") as zeros:
            tar.addfile(member, zeros)
    with pytest.raises(UsageError, match="larger than 4"):
        base_image.declared("oci-archive:x.tar.gz", "")
    (tmp_path / "x" / "index.json").unlink()
    os.mkfifo(tmp_path / "x" / "index.json")
    with pytest.raises(UsageError, match="not a regular file"):
        base_image.declared("oci:x", "")


def test_a_part_that_no_disk_has_room_for_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digest = "a" * 64
    index = b'{"manifests": [{"digest": "sha256:%s"}]}' % digest.encode()
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        first, bomb = tarfile.TarInfo("index.json"), tarfile.TarInfo(f"blobs/sha256/{digest}")
        first.size, bomb.size = len(index), 1 << 60
        tar.addfile(first, io.BytesIO(index))
        tar.fileobj.write(bomb.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DiskFull, match=f"x.tar: blobs/sha256/{digest} in it has 1152921504.6 GB"):
        archive.fetch(f"oci-archive:{tmp_path}/x.tar", "")
    assert not [*tmp_path.glob("cache/**/blobs/sha256/*")]
