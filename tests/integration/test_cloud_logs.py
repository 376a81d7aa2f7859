"""The logs of jobs in the cloud, against the emulator with Google's real library and real containers."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.emulator.faults import Faults
from ocicaliban.emulator.server import Emulator
from ocicaliban.errors import OcicalibanError
from ocicaliban.execution import reconcile
from ocicaliban.history import access
from ocicaliban.model.job import UNDER_WAY, Job, JobSpec, Submission
from ocicaliban.reporter import SILENT
from ocicaliban.targets.vertex import job_spec, logs
from ocicaliban.targets.vertex.options import Options
from tests.integration.program import call, environment, ok
from tests.integration.test_vertex import MACHINE, Make, emulator, image, registry, service
from tests.integration.test_vertex import submit as sent

__all__ = ["emulator", "image", "registry"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_EVERY", 0.2)
    monkeypatch.setattr(logs, "_SETTLE", 1.0)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[access.History]:
    monkeypatch.setenv("OCICALIBAN_DB_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with access.open(f"sqlite:///{tmp_path}/jobs.db") as opened:
        yield opened


def submitted(known: access.History, image: str = "", script: str = "", **options: object) -> Job:
    """A job of the history that the emulator has, or says so; without an image it was never sent."""
    from ocicaliban.targets.submit_once import CreateRequest

    chosen = Options(machine=MACHINE, entrypoint=("sh", "-c"), **options)  # type: ignore[arg-type]
    made = known.submit(
        Submission(
            group="brave-otter", user=getpass.getuser(), host="here", project="p", mode="cloud", target="vertex",
            options={"project_id": "rehearsal", "region": "us-central1", "vertex": dict(options)},
        ),
        [JobSpec(args=(script,))],
    )  # fmt: skip
    [job] = known.jobs(submission=made.id)
    name = "projects/rehearsal/locations/us-central1/customJobs/123"
    if image:
        [name] = sent(service(), CreateRequest(key=job.key, body=job_spec.custom_job(job, image, chosen)[0])).values()
    assert known.begin(job.id, started=time.time(), named=name)
    return found(known, job)


def found(known: access.History, job: Job) -> Job:
    [now] = known.jobs(ids=[job.id])
    return now


def followed(known: access.History, job: Job) -> str:
    """The whole log, from the job's first moment to its end, as `logs -f` gives it."""

    def goes_on() -> bool:
        reconcile.catch_up(known)
        return found(known, job).status in UNDER_WAY

    assert job.last
    return b"".join(reconcile.log(job, job.last, goes_on)).decode()


def at_once(job: Job) -> str:
    assert job.last
    return b"".join(reconcile.log(job, job.last)).decode()


def written(by: Emulator, job: Job, *texts: str, task: str = "workerpool0-0") -> None:
    assert job.last
    for text in texts:
        by.log_store.write(job.last.handle.rpartition("/")[2], task, text)


def test_what_a_job_wrote_is_followed_to_its_end_and_read_afterwards(
    emulator: Make, image: str, known: access.History
) -> None:
    emulator(Faults(logs_late=0.5), parallel=1)
    job = submitted(known, image, "for n in 1 2 3; do echo line $n; sleep 0.4; done; echo ü >&2; exit 3")
    lines = followed(known, job).splitlines()
    assert lines[:4] == ["line 1", "line 2", "line 3", "ü"]
    assert len(lines) == 5 and lines[4].startswith("service: The replica workerpool0-0 exited with a non-zero status")
    assert at_once(job).splitlines() == lines
    done = ok(Path.cwd(), "logs", str(job.id))
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")


def test_several_replicas_are_told_by_the_names_of_their_tasks(
    emulator: Make, image: str, known: access.History
) -> None:
    emulator(parallel=1)
    job = submitted(known, image, "echo hello", replicas=2)
    lines = followed(known, job).splitlines()
    assert sorted(lines) == ["workerpool0-0: hello", "workerpool1-0: hello"]


def test_many_entries_come_in_pages_and_those_of_other_jobs_do_not(
    emulator: Make, known: access.History, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator()
    monkeypatch.setattr(logs, "_PAGE", 100)
    job = submitted(known)
    by.log_store.write("124", "workerpool0-0", "of another")
    written(by, job, *map(str, range(1050)))
    assert at_once(job).split() == [*map(str, range(1050))]


def test_a_service_that_is_away_now_and_then_gives_all(emulator: Make, known: access.History) -> None:
    by = emulator(Faults(unavailable_every=2))
    job = submitted(known)
    written(by, job, "one")
    assert at_once(job) == at_once(job) == "one\n"


def test_no_entry_is_lost_or_told_twice_while_it_is_asked_again(emulator: Make, known: access.History) -> None:
    by = emulator(Faults(logs_late=0.3))
    job = submitted(known)
    rounds = iter(range(6))

    def goes_on() -> bool:
        if (number := next(rounds, None)) is None:
            return False
        written(by, job, f"{number}a", f"{number}b")
        return True

    assert job.last
    text = b"".join(logs.read(job, job.last, goes_on, SILENT)).decode()
    assert text.split() == [f"{number}{each}" for number in range(6) for each in "ab"]


# --- faults ---


def test_without_permission_the_role_is_named(emulator: Make, known: access.History) -> None:
    by = emulator()
    job = submitted(known)
    by.faults.replace(Faults(denied=True))
    done = call(Path.cwd(), "logs", str(job.id))
    assert done.returncode == 1 and "Permission 'logging.logEntries.list' denied" in done.stderr
    assert "roles/logging.viewer" in done.stderr and "Traceback" not in done.stderr


def test_a_service_out_of_reach_is_named_with_where_else_to_look(
    emulator: Make, known: access.History, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator()
    job = submitted(known)
    monkeypatch.setattr(logs, "_PATIENCE", 0.5)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "https://localhost:9/")
    with pytest.raises(OcicalibanError, match="Cloud Logging does not answer") as told:
        at_once(job)
    assert "stream-logs 123" in told.value.hint and "console.cloud.google.com" in told.value.hint


def test_no_credentials_are_named(
    emulator: Make, known: access.History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    emulator()
    job = submitted(known)
    (tmp_path / "key.json").write_text("{")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(OcicalibanError, match="holds no usable credentials"):
        at_once(job)


def test_without_the_library_it_is_told_where_to_look(emulator: Make, known: access.History) -> None:
    emulator()
    job = submitted(known)
    code = (
        "import sys\nsys.modules['google.cloud.logging_v2.services.logging_service_v2'] = None\n"
        f"from ocicaliban.__main__ import main\nsys.exit(main(['logs', '{job.id}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.returncode and done.stdout == "" and "Traceback" not in done.stderr
    assert "google-cloud-logging" in done.stderr and "gcloud ai custom-jobs stream-logs 123" in done.stderr
    assert "https://console.cloud.google.com/" in done.stderr


# --- the emulator's door ---


def test_a_stranger_gets_no_token_and_no_answer(
    emulator: Make, known: access.History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ocicaliban.emulator.identity import ServiceAccount

    by = emulator()
    job = submitted(known)
    key = json.loads(by.key_file.read_text())
    for body in (b"", b"assertion=x", urllib.parse.urlencode({"assertion": "a.b.c"}).encode()):
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(key["token_uri"], body, timeout=10)
        assert told.value.code == 400 and json.loads(told.value.read())["error"] == "invalid_grant"
    # A key like the emulator's, of its own account even, but not the one that it made.
    monkeypatch.setenv(
        "GOOGLE_APPLICATION_CREDENTIALS", str(ServiceAccount("rehearsal").write_key_file(tmp_path, key["token_uri"]))
    )
    with pytest.raises(OcicalibanError, match="UNAUTHENTICATED"):
        at_once(job)
    with pytest.raises(OcicalibanError, match="UNAUTHENTICATED"):
        service().check()


def test_the_account_gets_a_token_by_its_key(emulator: Make) -> None:
    import grpc
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    by = emulator()
    credentials = Credentials.from_service_account_file(by.key_file, scopes=["x"])
    credentials.refresh(Request())
    tls = grpc.ssl_channel_credentials(by.certificate.trusted.read_bytes())
    with grpc.secure_channel(f"localhost:{by._port}", tls) as channel:
        call = channel.unary_unary("/google.logging.v2.LoggingServiceV2/ListLogEntries")
        asked = b"\x42\x12projects/rehearsal"  # resource_names, which is field 8
        assert call(asked, metadata=[("authorization", f"Bearer {credentials.token}")], timeout=10) == b""
        for wrong in ("Bearer rehearsal", f"Basic {credentials.token}", "Bearer ", credentials.token):
            with pytest.raises(grpc.RpcError) as told:
                call(asked, metadata=[("authorization", wrong)], timeout=10)
            assert told.value.code() == grpc.StatusCode.UNAUTHENTICATED
