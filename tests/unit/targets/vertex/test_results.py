"""Results in Cloud Storage: what a place is called, and when a copy is of the same."""

import os
from pathlib import Path

import pytest
import requests
from attrs import frozen
from google.api_core.exceptions import BadRequest, Forbidden, NotFound, RetryError
from google.auth.exceptions import RefreshError
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError, UsageError
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


# --- fetching, from a bucket in memory ---


@frozen
class Blob:
    """An object of a bucket, as a list has it."""

    name: str
    generation: int
    text: bytes

    @property
    def size(self) -> int:
        return len(self.text)


class Bucket:
    """Objects by their names. `rewritten` are those that change between the list and the download, so many times."""

    def __init__(self) -> None:
        self.objects: dict[str, Blob] = {}
        self.rewritten: dict[str, int] = {}
        self.lists: list[str] = []
        self.sent: list[str] = []
        self.fault: Exception | None = None

    def write(self, name: str, text: bytes) -> None:
        before = self.objects.get(name)
        self.objects[name] = Blob(name, before.generation + 1 if before else 1_000_000, text)

    def list_blobs(self, bucket: str, prefix: str, **_: object) -> list[Blob]:
        self.lists.append(f"{bucket}/{prefix}")
        if self.fault:
            raise self.fault
        return [blob for name, blob in self.objects.items() if name.startswith(prefix)]

    def download_many(self, wanted: list[tuple[Blob, str]], **_: object) -> list[Exception | None]:
        found: list[Exception | None] = []
        for blob, path in wanted:
            if self.rewritten.get(blob.name, 0):
                self.rewritten[blob.name] -= 1
                self.write(blob.name, blob.text + b"!")
                found.append(NotFound("no such generation"))
                continue
            self.sent.append(blob.name)
            Path(path).write_bytes(blob.text)
            found.append(None)
        return found


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    from google.cloud.storage import transfer_manager

    made = Bucket()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(results, "_connected", lambda project, key_file: made)
    monkeypatch.setattr(transfer_manager, "download_many", made.download_many)
    return made


def jobs(*outs: str) -> list[Job]:
    made = Submission(group="g", user="u", host="h", target="vertex", project="p", mode="cloud")
    return [Job(id=number, key=f"k{number}", submission=made, out=out) for number, out in enumerate(outs, start=1)]


def fetched(*outs: str) -> tuple[dict[int, dict[str, bytes]], list[str]]:
    """What is here of each job afterwards, and what was said."""
    said: list[str] = []
    folders = results.fetch(jobs(*outs), Reporter(said.append))
    return {
        number: {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}
        for number, folder in folders.items()
    }, said


def test_neighbours_take_one_list_and_what_is_here_is_not_sent_again(bucket: Bucket) -> None:
    bucket.write("runs/g/k1/metrics.json", b"{}")
    bucket.write("runs/g/k2/metrics.jsonl", b"1\n")
    bucket.write("runs/g/k2/model.bin", b"large")
    outs = ("gs://data/runs/g/k1", "gs://data/runs/g/k2", "gs://data/runs/g/k3", "/tmp/out")
    assert fetched(*outs) == ({1: {"metrics.json": b"{}"}, 2: {"metrics.jsonl": b"1\n"}, 3: {}}, [])
    assert bucket.lists == ["data/runs/g/"] and bucket.sent == ["runs/g/k1/metrics.json", "runs/g/k2/metrics.jsonl"]
    bucket.sent.clear()
    bucket.write("runs/g/k2/metrics.jsonl", b"1\n2\n")
    del bucket.objects["runs/g/k1/metrics.json"]
    assert fetched(*outs) == ({1: {}, 2: {"metrics.jsonl": b"1\n2\n"}, 3: {}}, [])
    assert bucket.sent == ["runs/g/k2/metrics.jsonl"]


def test_a_file_that_is_rewritten_meanwhile_is_fetched_again(bucket: Bucket) -> None:
    bucket.write("g/k1/metrics.json", b"{}")
    bucket.rewritten["g/k1/metrics.json"] = 1
    assert fetched("gs://data/g/k1") == ({1: {"metrics.json": b"{}!"}}, [])
    assert len(bucket.lists) == 2


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Forbidden("no access"), "403 no access (ask the bucket's owner for the role roles/storage.objectViewer)"),
        (RefreshError("expired"), "Google rejects the credentials: expired (gcloud auth"),
        (BadRequest("odd"), "400 odd"),
        (ValueError("not a name"), "not a name"),
        (RetryError("20 s", cause=OSError("reset")), "Cloud Storage does not answer: reset"),
    ],
)
def test_what_cannot_be_fetched_is_told_and_what_came_earlier_stays(
    bucket: Bucket, fault: Exception, told: str
) -> None:
    bucket.write("g/k1/metrics.json", b"{}")
    fetched("gs://data/g/k1")
    bucket.fault = fault
    here, [said] = fetched("gs://data/g/k1")
    assert here == {1: {"metrics.json": b"{}"}}
    assert said.startswith(f"note: no results from gs://data/g/: {told}") and said.endswith(
        "; showing what came earlier"
    )


def test_a_url_without_a_bucket_is_told(bucket: Bucket) -> None:
    assert fetched("gs://") == ({1: {}}, ["note: no results from gs:///: the URL names no bucket"])


def test_all_results_of_a_job_are_copied_into_a_new_folder(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("runs/g/k1/metrics.json", b"{}")
    bucket.write("runs/g/k1/model/weights.bin", b"large")
    bucket.write("runs/g/k1/model/", b"")  # what stands for a folder
    bucket.write("runs/g/k1/../../escape", b"evil")
    bucket.write("runs/g/k10/metrics.json", b"another job's")
    bucket.rewritten["runs/g/k1/metrics.json"] = 1
    [job] = jobs("gs://data/runs/g/k1")
    to = tmp_path / "copies" / "1"
    results.fetch_all(job, to)
    found = {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert found == {"metrics.json": b"{}!", "model/weights.bin": b"large"}
    with pytest.raises(UsageError, match="exists already"):
        results.fetch_all(job, to)


def test_a_copy_that_fails_leaves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.fault = Forbidden("no access")
    [job, none] = jobs("gs://data/runs/g/k1", "")
    with pytest.raises(OcicalibanError, match="403 no access"):
        results.fetch_all(job, tmp_path / "copies" / "1")
    assert not (tmp_path / "copies" / "1").exists()
    with pytest.raises(UsageError, match="has no results in Cloud Storage"):
        results.fetch_all(none, tmp_path / "copies" / "2")
