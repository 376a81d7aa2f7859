"""Results in Cloud Storage: what a place is called, and when a copy is of the same."""

import os
from pathlib import Path

import pytest
import requests
from google.api_core.exceptions import RetryError
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.model.job import Job, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.vertex import results
from ocicaliban.targets.vertex.results import Folder


@pytest.mark.parametrize(
    ("url", "place", "above"),
    [
        ("gs://data/a/b/key", Folder(bucket="data", path="a/b/key"), "a/b/"),
        ("gs://data/group/key/", Folder(bucket="data", path="group/key"), "group/"),
        ("gs://data/key", Folder(bucket="data", path="key"), ""),
        ("gs://data", Folder(bucket="data", path=""), ""),
    ],
)
def test_a_url_names_a_bucket_and_a_folder(url: str, place: Folder, above: str) -> None:
    assert results.parse(url) == place and place.prefix == above


@pytest.mark.parametrize("out", ["", "/home/ada/out/1", "out"])
def test_a_folder_of_a_machine_is_no_place(out: str) -> None:
    assert results.parse(out) is None


def test_whatever_a_url_says_its_copy_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    copies = {results.local_copy(url) for url in ("gs://b/../../x", "gs://b//etc", "gs://b/x", "gs://b/" + "x" * 1000)}
    assert len(copies) == 4
    assert all(copy.parent == tmp_path / "ocicaliban" / "results" and len(copy.name) == 32 for copy in copies)


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_a_generation_fits_into_a_files_time(generation: int) -> None:
    assert 0 <= results.stamp(generation) < 1 << 62


def test_a_copy_is_the_same_by_generation_and_size(tmp_path: Path) -> None:
    copy = tmp_path / "metrics.json"
    generation = 1_795_000_000_123_456
    assert not results.is_same(copy, generation, 2)
    copy.write_text("{}")
    assert not results.is_same(copy, generation, 2)
    os.utime(copy, ns=(results.stamp(generation),) * 2)
    assert results.is_same(copy, generation, 2)
    assert not results.is_same(copy, generation + 1, 2) and not results.is_same(copy, generation, 3)


def test_jobs_of_this_machine_need_no_library() -> None:
    made = Submission(target="local", group="g", user="u", host="h", project="p", mode="run")
    said: list[str] = []
    assert (
        results.fetch([Job(id=1, key="k", submission=made, out="/tmp/out")], Reporter(said.append)) == {} and not said
    )


def test_a_bucket_that_cannot_be_reached_is_told_without_the_address() -> None:
    fault = results._explained(requests.ConnectionError("Max retries exceeded with url: /hush/storage/v1/b/x"))
    assert "cannot be reached" in fault.message and "hush" not in fault.message + fault.hint
    timeout = RetryError("Timeout of 20 s", cause=requests.Timeout("host hush timed out"))
    assert "Timeout" in results._explained(timeout).message and "hush" not in results._explained(timeout).message
