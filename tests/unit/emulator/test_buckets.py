"""Buckets of the emulator: names, pages and patterns; nothing outside its folder."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.emulator import buckets as bucket_store
from ocicaliban.emulator.buckets import Bucket, StoredObject


@pytest.fixture
def buckets(tmp_path: Path) -> Path:
    """A bucket `data`, beside which and in which lies what is not to be seen."""
    folder = tmp_path / "gcs"
    for name in ("a", "a.b/x", "a/b/metrics.json", "a/b/c/metrics.json", "z"):
        path = folder / "data" / (name if name != "a" else "a!")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "secret").write_text("secret")
    (folder / "data" / "link").symlink_to(tmp_path / "secret")
    (folder / "data" / "links").symlink_to(tmp_path)
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "data" / "fifo")
    return folder


def names(buckets: Path, prefix: str = "") -> list[str]:
    return [each.name for each in Bucket(buckets, "data").objects(prefix)]


def test_objects_are_the_plain_files_in_the_order_of_their_names(buckets: Path) -> None:
    assert names(buckets) == ["a!", "a.b/x", "a/b/c/metrics.json", "a/b/metrics.json", "z"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("a/", ["a/b/c/metrics.json", "a/b/metrics.json"]),
        ("a/b/m", ["a/b/metrics.json"]),
        ("a", ["a!", "a.b/x", "a/b/c/metrics.json", "a/b/metrics.json"]),
        ("links/", []),
        ("../", []),
        ("a/../", []),
        ("/", []),
        ("none/", []),
    ],
)
def test_a_prefix_is_that_of_the_whole_name(buckets: Path, prefix: str, found: list[str]) -> None:
    assert names(buckets, prefix) == found


@pytest.mark.parametrize(
    "name",
    [
        "../../secret", "a/../../../secret", "/etc/passwd", "link", "links/secret", "links/gcs/data/z", "fifo", "a/b",
        "", ".", "..", "a//b/metrics.json", "a/./b/metrics.json", "z\0", "n" * 5000,
    ],
)  # fmt: skip
def test_nothing_but_plain_files_of_the_bucket_can_be_read(buckets: Path, name: str) -> None:
    with pytest.raises(OSError):
        Bucket(buckets, "data").open(name)


@pytest.mark.parametrize("name", ["..", ".", "linked", "none", "data/a", "../gcs"])
def test_a_bucket_is_a_folder_and_no_link(buckets: Path, name: str) -> None:
    assert not Bucket(buckets, name).exists() and not Bucket(buckets, name).objects("")
    with pytest.raises(OSError):
        Bucket(buckets, name).open("secret")


def test_a_write_changes_the_generation(buckets: Path) -> None:
    one, file = Bucket(buckets, "data").open("a/b/metrics.json")
    assert file.read() == b"a/b/metrics.json" and one.size == 16
    file.close()
    os.utime(buckets / "data/a/b/metrics.json", ns=(0, one.generation * 1000 + 1000))
    again, file = Bucket(buckets, "data").open("a/b/metrics.json")
    file.close()
    assert again.generation == one.generation + 1


@given(st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=12), st.integers(1, 5))
def test_pages_give_each_object_once_and_in_order(some: list[str], size: int) -> None:
    found = sorted((StoredObject(name=name, size=0, generation=1) for name in some if name.isprintable()),
                   key=lambda each: each.name.encode())  # fmt: skip
    given_, token = list[StoredObject](), ""
    for _ in range(20):
        part, token = bucket_store.page(found, size, token)
        assert len(part) <= size
        given_ += part
        if not token:
            break
    assert given_ == found


def test_a_page_token_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError):
        bucket_store.page([], 10, "~")


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("**/m.{json,jsonl}", ["a/m.json", "a/b/m.jsonl", "m.json"], ["a/xm.json", "a/m.js"]),
        ("a/*/c", ["a/b/c"], ["a/b/b/c", "a/c"]),
        ("a/**/c", ["a/b/b/c", "a/c"], ["ab/c"]),
        ("a**c", ["abc", "a/b/c"], ["abcd"]),
        ("a?[b-d][!x]", ["axbz"], ["a/bz", "axbx", "axez"]),
        ("a.b", ["a.b"], ["axb"]),
        (r"\*", ["*"], ["x"]),
        ("[", ["["], ["x"]),
    ],
)  # fmt: skip
def test_a_glob_matches_whole_names(pattern: str, yes: list[str], no: list[str]) -> None:
    regex = bucket_store.compile_glob(pattern)
    assert [name for name in yes + no if regex.fullmatch(name)] == yes
