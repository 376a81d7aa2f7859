"""What jobs in the cloud leave behind: reports of their results, against the emulator with Google's real libraries."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ocicaliban.emulator import storage_service
from ocicaliban.emulator.faults import Faults
from ocicaliban.emulator.storage_service import StorageService
from ocicaliban.history import access
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.vertex import results as bucket
from tests.integration.program import Done, call, environment, ok
from tests.integration.test_vertex import SUBMISSION, Make, emulator, ended, image, registry, request, service, submit

__all__ = ["emulator", "image", "registry"]

HANDLE = "projects/rehearsal/locations/us-central1/customJobs/123"


class Sweep:
    """A group of cloud jobs in a history of its own, that have ended, with results in a bucket of the emulator's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gcs = folder / "gcs"
        self.env = {
            "OCICALIBAN_DB_URL": f"sqlite:///{folder}/jobs.db",
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def add(
        self,
        results: Sequence[Mapping[str, str]],
        group: str = "brave-otter",
        url: str = "gs://data/runs",
        **options: str,
    ) -> list[Job]:
        """A group of jobs which have left these files in /out."""
        made = Submission(
            group=group, user=getpass.getuser(), host="here", project=str(self.folder), mode="cloud", target="vertex",
            options={"project_id": "rehearsal", "region": "us-central1", **options},
        )  # fmt: skip
        with access.open(self.env["OCICALIBAN_DB_URL"]) as known:
            added = known.submit(made, [JobSpec(parameters=(("lr", n),)) for n in range(len(results))])
            for job, files in zip(known.jobs(submission=added.id), results, strict=True):
                out = f"{url}/{group}/{job.key}"
                attempt = known.begin(job.id, out=out, started=1000.0, named=HANDLE)
                assert attempt
                known.end(job.id, attempt.number, "succeeded", ended=1060.0)
                for name, text in files.items():
                    path = self.gcs / out.removeprefix("gs://") / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            return list(known.jobs(submission=added.id))

    def out(self, job: Job) -> Path:
        return self.gcs / job.out.removeprefix("gs://")

    def report(self, group: str = "brave-otter", env: Mapping[str, str] | None = None) -> tuple[list[object], str]:
        """The accuracy of each job, and what was said beside it."""
        done: Done = ok(self.folder, "report", group, "--json", "--sort", "id", env={**self.env, **(env or {})})
        return [job["metrics"].get("accuracy") for job in json.loads(done.stdout)["jobs"]], done.stderr


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    made = Sweep(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    return made


def accuracy(value: float) -> dict[str, str]:
    return {"metrics.json": json.dumps({"accuracy": value})}


class Asked:
    """The requests that the emulator's Cloud Storage has had: how many lists, how many downloads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lists = self.downloads = 0
        list_, bytes_ = storage_service._Requests._list, storage_service._Requests._send_content

        def listed(*args: object) -> None:
            self.lists += 1
            list_(*args)  # type: ignore[arg-type]

        def downloaded(*args: object) -> None:
            self.downloads += 1
            bytes_(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(storage_service._Requests, "_list", listed)
        monkeypatch.setattr(storage_service._Requests, "_send_content", downloaded)

    def taken(self) -> tuple[int, int]:
        counts = self.lists, self.downloads
        self.lists = self.downloads = 0
        return counts


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def brought(jobs: Sequence[Job]) -> tuple[list[str], list[str]]:
    """The metrics.json of each job as it is here afterwards, "" for none, and what was said."""
    said: list[str] = []
    folders = bucket.fetch(jobs, Reporter(said.append))
    files = [folders[job.id] / "metrics.json" for job in jobs]
    return [file.read_text() if file.exists() else "" for file in files], said


# --- the report ---


def test_a_report_of_a_cloud_sweep_is_like_that_of_a_local_one(emulator: Make, sweep: Sweep) -> None:
    emulator()
    curve = "".join(f'{{"step": {n}, "loss": {1 / n}}}\n' for n in range(1, 20))
    sweep.add([{**accuracy(0.5 + n / 10), "metrics.jsonl": curve} for n in range(4)])
    done = ok(sweep.folder, "report", "brave-otter", "--sort", "-accuracy", env=sweep.env)
    lines = done.stdout.splitlines()
    assert lines[0] == "brave-otter: 4 jobs, 4 succeeded" and "accuracy" in done.stdout and "loss" in done.stdout
    assert "* highest accuracy: 0.8, job 4 (lr=3)" in done.stdout and not done.stderr


def test_what_a_job_writes_to_out_is_in_the_report(
    emulator: Make,
    image: str,
    sweep: Sweep,
) -> None:
    emulator(parallel=1)
    script = "echo '{\"accuracy\": 0.75}' > /out/metrics.json"
    [job] = sweep.add([{}], group=SUBMISSION.group, url="gs://data/runs")
    submit(
        service(), request(job.key, image, args=(script,), output="gs://data/runs", entrypoint=("sh", "-c"))
    )  # fmt: skip
    assert ended(service())[job.key].status == "succeeded"
    assert sweep.report() == ([0.75], "")


def test_hundreds_take_one_list_of_pages_and_what_is_here_is_not_sent_again(
    emulator: Make, sweep: Sweep, asked: Asked
) -> None:
    emulator()
    jobs = sweep.add([{**accuracy(n), "metrics.jsonl": "{}\n"} for n in range(600)])
    for job in jobs[:3]:
        for n in range(400):  # not looked at: a job may write much beside
            (sweep.out(job) / f"weights-{n}").touch()
    texts, said = brought(jobs)
    assert texts == [accuracy(n)["metrics.json"] for n in range(600)] and not said
    assert asked.taken() == (2, 1200)
    assert brought(jobs)[0] == texts
    assert asked.taken() == (2, 0)
    (sweep.out(jobs[7]) / "metrics.json").write_text("[]")
    assert brought(jobs)[0] == [*texts[:7], "[]", *texts[8:]]
    assert asked.taken() == (2, 1)


def test_what_is_removed_in_the_bucket_is_not_shown_any_more(emulator: Make, sweep: Sweep) -> None:
    emulator()
    jobs = sweep.add([accuracy(1), accuracy(2)])
    assert sweep.report() == ([1, 2], "")
    (sweep.out(jobs[0]) / "metrics.json").unlink()
    assert sweep.report() == ([None, 2], "")


def test_jobs_that_have_written_nothing_yet_are_no_fault(emulator: Make, sweep: Sweep) -> None:
    emulator()
    sweep.add([accuracy(1), {}])
    assert sweep.report() == ([1, None], "")


def test_names_of_any_kind_are_found(emulator: Make, sweep: Sweep) -> None:
    emulator()
    for group, url in (("g1", "gs://data"), ("g2", "gs://data/[a]{b}*?#%41/ü + x"), ("g3", "gs://data/deep/er/still")):
        sweep.add([accuracy(7)], group=group, url=url)
        assert sweep.report(group) == ([7], "")


def test_two_folders_in_one_group_are_both_read(emulator: Make, sweep: Sweep) -> None:
    emulator()
    sweep.add([accuracy(1)])
    sweep.add([accuracy(2)], url="gs://other-bucket/x")
    assert sweep.report() == ([1, 2], "")


def test_an_object_that_is_replaced_meanwhile_is_read_as_it_is_then(
    emulator: Make, sweep: Sweep, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator()
    jobs = sweep.add([accuracy(1), accuracy(2)])
    list_ = storage_service._Requests._list

    def listed(*args: object) -> None:
        list_(*args)  # type: ignore[arg-type]
        if asked.lists == 1:
            (sweep.out(jobs[0]) / "metrics.json").write_text('{"accuracy": 100}')

    monkeypatch.setattr(storage_service._Requests, "_list", listed)
    texts, said = brought(jobs)
    assert texts == ['{"accuracy": 100}', accuracy(2)["metrics.json"]] and not said
    assert asked.taken() == (2, 2)


def test_a_service_that_is_away_now_and_then_gives_all(emulator: Make, sweep: Sweep) -> None:
    emulator(Faults(unavailable_every=5))
    jobs = sweep.add([accuracy(n) for n in range(20)])
    texts, said = brought(jobs)
    assert all(texts) and not said


# --- faults: a note, and the report is made ---


def test_a_bucket_that_is_gone_is_named(emulator: Make, sweep: Sweep) -> None:
    emulator()
    sweep.add([{}], url="gs://gone")
    sweep.add([accuracy(2)])
    values, said = sweep.report()
    assert values == [None, 2]
    assert said == "note: no results from gs://gone/brave-otter/: The specified bucket does not exist.\n"


@pytest.mark.parametrize("url", ["gs://-no-bucket-/x", "gs://", "gs:///x"])
def test_a_name_that_no_bucket_can_have_is_a_note(emulator: Make, sweep: Sweep, url: str) -> None:
    emulator()
    texts, said = brought(sweep.add([{}], url=url))
    assert texts == [""] and len(said) == 1 and said[0].startswith("note: no results from gs://")


def test_bytes_that_are_damaged_on_the_way_are_not_taken(
    emulator: Make, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator()
    chunks = storage_service._chunks
    monkeypatch.setattr(storage_service, "_chunks", lambda *args: [os.urandom(len(each)) for each in chunks(*args)])
    texts, said = brought(sweep.add([accuracy(1)]))
    assert texts == [""] and len(said) == 1 and "hecksum" in said[0]
    assert not list((sweep.folder / "cache").rglob("*.part"))


def test_without_permission_what_came_earlier_is_shown(emulator: Make, sweep: Sweep) -> None:
    by = emulator()
    sweep.add([accuracy(1)])
    sweep.report()
    by.faults.replace(Faults(denied=True))
    values, said = sweep.report()
    assert values == [1] and said.startswith(
        "note: no results from gs://data/runs/brave-otter/: The caller does not have"
    )
    assert "roles/storage.objectViewer" in said and said.endswith("; showing what came earlier\n")


def test_a_missing_library_is_named(sweep: Sweep) -> None:
    sweep.add([accuracy(1)])
    code = (
        "import sys; sys.modules['google.cloud.storage'] = None\n"
        "from ocicaliban.__main__ import main\nsys.exit(main(['report', 'brave-otter']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sweep.folder, env=environment(sweep.env), capture_output=True, text=True
    )
    assert done.returncode == 0 and "brave-otter: 1 job" in done.stdout and "Traceback" not in done.stderr
    assert "Cloud Storage's client library cannot be imported" in done.stderr and "google-cloud-storage" in done.stderr


def test_no_credentials_and_a_key_that_is_none_are_named(sweep: Sweep) -> None:
    sweep.add([accuracy(1)])
    (sweep.folder / "key.json").write_text("{")
    sweep.add([accuracy(1)], group="keyed", cloud_key=str(sweep.folder / "key.json"))
    # What it was submitted with is gone: the user's own credentials count, and there are none.
    sweep.add([accuracy(1)], group="moved", cloud_key=str(sweep.folder / "gone.json"))
    # Without a metadata server to ask, as on Google's own machines.
    env = {**sweep.env, "HOME": str(sweep.folder), "NO_GCE_CHECK": "true", "PATH": "/usr/bin:/bin"}
    none = ("there are no Google credentials", "gcloud auth application-default login")
    broken = (f"{sweep.folder / 'key.json'} holds no usable credentials: it is not JSON", "download the key again")
    for group, told in {"brave-otter": none, "keyed": broken, "moved": none}.items():
        done = call(sweep.folder, "report", group, env=env)
        assert done.returncode == 0 and all(words in done.stderr for words in told), done.stderr
        assert f"{group}: 1 job" in done.stdout and "Traceback" not in done.stderr


def test_a_service_out_of_reach_is_named(emulator: Make, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr(bucket, "_PATIENCE", 0.5)
    _, said = brought(sweep.add([accuracy(1)]))
    assert len(said) == 1 and "Cloud Storage does not answer" in said[0]


def test_a_local_report_imports_no_library(sweep: Sweep) -> None:
    made = Submission(
        target="local", group="near", user=getpass.getuser(), host="here", project=str(sweep.folder), mode="run"
    )
    with access.open(sweep.env["OCICALIBAN_DB_URL"]) as known:
        known.submit(made, [JobSpec()])
    code = (
        "import sys\nfrom ocicaliban.__main__ import main\nmain(['report', 'near'])\n"
        "print({'google.cloud.storage', 'google.auth', 'requests', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sweep.folder, env=environment(sweep.env), capture_output=True, text=True
    )
    assert done.stdout.endswith("set()\n"), done.stderr


# --- the emulator's Cloud Storage, by the library and by hand ---


def test_the_library_sees_nothing_outside_the_folder(emulator: Make, sweep: Sweep) -> None:
    from google.api_core.exceptions import NotFound
    from google.cloud.storage import Client

    emulator()
    (sweep.folder / "secret").write_text("secret")
    (sweep.gcs / "data").mkdir(parents=True)
    (sweep.gcs / "data" / "link").symlink_to(sweep.folder / "secret")
    (sweep.gcs / "data" / "own").write_text("own")
    client = Client()
    assert [blob.name for blob in client.list_blobs("data")] == ["own"]
    assert client.bucket("data").blob("own").download_as_bytes() == b"own"
    for name in ("../../secret", "link", "/etc/passwd", f"..{os.sep}..{os.sep}secret"):
        with pytest.raises(NotFound):
            client.bucket("data").blob(name).download_as_bytes()


def test_what_the_emulator_does_not_know_it_refuses(emulator: Make, sweep: Sweep) -> None:
    from google.api_core.exceptions import BadRequest
    from google.cloud.storage import Client

    emulator()
    (sweep.gcs / "data").mkdir(parents=True)
    with pytest.raises(BadRequest, match="'delimiter'"):
        list(Client().list_blobs("data", delimiter="/"))
    with pytest.raises(BadRequest, match="base64"):
        list(Client().list_blobs("data", page_token="~"))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret", "/storage/v1/b/../o/secret", "/storage/v1/b/%2e%2e/o/secret",
        "/storage/v1/b/data/o/..%2F..%2Fsecret",
        "/storage/v1/b/data/o/%2Fetc%2Fpasswd", "/storage/v1/b/data/o/%FF", "/storage/v1/b/data/o/a%00", "//etc/passwd",
        "/download/storage/v1/b/data/o/..%2f..%2fsecret?alt=media", "/storage/v1/b/data%2F..%2F../o/secret?alt=media",
    ],
)  # fmt: skip
def test_a_request_by_hand_gets_no_file_of_the_machine(emulator: Make, sweep: Sweep, path: str) -> None:
    import http.client

    by = emulator()
    (sweep.folder / "secret").write_text("secret")
    (sweep.gcs / "data").mkdir(parents=True)
    store: StorageService = by.storage
    connection = http.client.HTTPConnection("127.0.0.1", store.server_port, timeout=10)
    connection.request("GET", f"/{store.secret}{path}")
    answer = connection.getresponse()
    assert answer.status in (400, 404) and json.loads(answer.read())["error"]["code"] == answer.status
    connection.close()


@pytest.mark.parametrize("secret", ["", "/", "/x", "/%00", "/\u00fc"])
def test_who_does_not_know_the_address_gets_nothing(emulator: Make, sweep: Sweep, secret: str) -> None:
    import urllib.error
    import urllib.parse
    import urllib.request

    by = emulator()
    (sweep.gcs / "data").mkdir(parents=True)
    url = f"http://127.0.0.1:{by.storage.server_port}{urllib.parse.quote(secret, safe='/%')}/storage/v1/b/data/o"
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(url, timeout=10)
    assert told.value.code == 401
    urllib.request.urlopen(f"{by.storage.url}/storage/v1/b/data/o", timeout=10).close()
