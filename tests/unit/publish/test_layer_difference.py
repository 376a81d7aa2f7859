"""In which layer and in which files two images differ."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ocicaliban.publish import layer_difference


@pytest.mark.parametrize(
    ("published", "rebuilt", "number"),
    [("", "", None), ("ab", "ab", None), ("abc", "axc", 1), ("ab", "abc", 2), ("abc", "ab", 2), ("a", "b", 0)],
)
def test_the_first_layer_that_differs(published: str, rebuilt: str, number: int | None) -> None:
    assert layer_difference.first_different(published, rebuilt) == number


def layer(path: Path, files: dict[str, bytes], **changes: object) -> dict[str, layer_difference.Member]:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return layer_difference.members(path)


def test_files_that_differ_are_named_with_what_differs(tmp_path: Path) -> None:
    before = layer(tmp_path / "a", {"./etc/a": b"1", "b": b"2", "c": b"3"})
    now = layer(tmp_path / "b", {"etc/a": b"x", "c": b"3", "d": b"4"})
    assert [*layer_difference.lines(before, now)] == [
        "/b: only in the published image", "/d: only in the new image", "/etc/a: another contents",
    ]  # fmt: skip
    other = layer(tmp_path / "c", {"c": b"3"}, mode=0o755, mtime=7)
    assert [*layer_difference.lines({"c": before["c"]}, other)] == ["/c: another mode, time"]
    assert [*layer_difference.lines(before, before)] == ["its files are the same, in another order"]
    many = layer(tmp_path / "d", {f"f{number:02}": b"" for number in range(25)})
    assert [*layer_difference.lines({}, many)][-1] == "and 5 more files"
