"""An emulator as its clients reach it: over gRPC and HTTP on loopback."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud.aiplatform_v1 import types

from ocicaliban.emulator import server
from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.server import Emulator
from ocicaliban.emulator.settings import EmulatorSettings
from ocicaliban.errors import OcicalibanError, UsageError
from tests.unit.emulator.samples import PARENT, custom_job


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    with Emulator(EmulatorSettings(folder=folder / "own", gcs=folder / "gcs", parallel=0)) as made:
        for name in ("a/m.json", "a/b/m.json", "secret"):
            path = folder / ("gcs/data" if name != "secret" else ".") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'"{name}"')
        yield made


def call(emulator: Emulator, method: str, raw: bytes, token: str = "") -> bytes:
    """Call a method as a client does, which trusts the emulator's certificate."""
    address = emulator.environment()["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"].removeprefix("https://").rstrip("/")
    trusted = grpc.ssl_channel_credentials(emulator.certificate.trusted.read_bytes())
    metadata = [("authorization", f"Bearer {token or emulator._account._token}")]
    with grpc.secure_channel(address, trusted, options=[("grpc.enable_http_proxy", 0)]) as channel:
        return bytes(channel.unary_unary(method)(raw, metadata=metadata, timeout=20))


def test_a_client_is_led_to_the_emulator_and_submits_a_job(emulator: Emulator) -> None:
    env = emulator.environment()
    assert env["GOOGLE_CLOUD_PROJECT"] == "rehearsal" and env["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"].endswith("ca.pem")
    key = Path(env["GOOGLE_APPLICATION_CREDENTIALS"])
    assert key.stat().st_mode & 0o777 == 0o600 and json.loads(key.read_text())["project_id"] == "rehearsal"
    request = types.CreateCustomJobRequest(parent=PARENT, custom_job=custom_job())
    raw = types.CreateCustomJobRequest.serialize(request)
    job = types.CustomJob.deserialize(call(emulator, "/google.cloud.aiplatform.v1.JobService/CreateCustomJob", raw))
    assert emulator.jobs.find(job.name)
    for token, method, status in (
        ("wrong", "ListCustomJobs", grpc.StatusCode.UNAUTHENTICATED),
        ("", "DeleteCustomJob", grpc.StatusCode.UNIMPLEMENTED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(emulator, f"/google.cloud.aiplatform.v1.JobService/{method}", b"", token)
        assert caught.value.code() == status


def test_the_lines_of_a_job_are_listed(emulator: Emulator) -> None:
    logging = pytest.importorskip("google.cloud.logging_v2.types").logging
    method = "/google.logging.v2.LoggingServiceV2/ListLogEntries"
    emulator.log_store.write("7", "workerpool0-0", "a line")

    def ask(**request: object) -> Any:
        asked = logging.ListLogEntriesRequest(**{"resource_names": ["projects/rehearsal"], **request})
        return logging.ListLogEntriesResponse.deserialize(
            call(emulator, method, logging.ListLogEntriesRequest.serialize(asked))
        )

    [entry] = ask(filter='resource.type="ml_job" resource.labels.job_id="7"').entries
    assert entry.json_payload["message"] == "a line" and entry.resource.labels["task_name"] == "workerpool0-0"
    for request, status in (
        ({"filter": "nonsense=1"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"order_by": "timestamp desc"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"resource_names": ["folders/1"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"resource_names": ["projects/other"]}, grpc.StatusCode.PERMISSION_DENIED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask(**request)
        assert caught.value.code() == status


def get(url: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read()


def test_a_token_is_given_to_none_but_the_key(emulator: Emulator) -> None:
    uri = json.loads(emulator.key_file.read_text())["token_uri"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for body in (b"", b"assertion=x", urllib.parse.urlencode({"assertion": "a.b.c"}).encode()):
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(uri, body, timeout=20)
        assert caught.value.code == 400 and json.loads(caught.value.read())["error"] == "invalid_grant"


def test_objects_are_listed_and_read(emulator: Emulator) -> None:
    base = f"{emulator.storage.url}/storage/v1/b/data/o"
    status, raw = get(f"{base}?prefix=a/&matchGlob=**/m.json&maxResults=1")
    page = json.loads(raw)
    assert status == 200 and [each["name"] for each in page["items"]] == ["a/b/m.json"]
    rest = json.loads(get(f"{base}?pageToken={page['nextPageToken']}")[1])
    assert [each["name"] for each in rest["items"]] == ["a/m.json"] and "nextPageToken" not in rest
    status, raw = get(f"{base}/a%2Fm.json")
    assert json.loads(raw)["size"] == "10"
    assert get(f"{base}/a%2Fm.json?alt=media") == (200, b'"a/m.json"')
    generation = json.loads(raw)["generation"]
    assert get(f"{base}/a%2Fm.json?alt=media&generation={generation}")[0] == 200
    assert get(f"{base}/a%2Fm.json?alt=media&generation=1")[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/storage/v1/b/none/o", 404), ("/storage/v1/b/../o", 404), ("/storage/v1/b/data/o/..%2F..%2Fsecret", 404),
        ("/storage/v1/b/data/o/a%2Fnone", 404), ("/storage/v1/b/data", 404), ("/storage/v1/b/data/o?delimiter=/", 400),
        ("/storage/v1/b/data/o?maxResults=x", 400), ("/storage/v1/b/data/o?pageToken=~", 400),
        ("/storage/v1/b/data/o/%FF", 400),
    ],
)  # fmt: skip
def test_what_storage_does_not_have_is_refused(path: str, status: int, emulator: Emulator) -> None:
    got, raw = get(f"{emulator.storage.url}{path}")
    assert got == status == json.loads(raw)["error"]["code"]


def test_storage_needs_its_secret_and_shows_injected_faults(emulator: Emulator) -> None:
    path = "/storage/v1/b/data/o"
    assert get(f"http://127.0.0.1:{emulator.storage.server_port}/x{path}")[0] == 401
    for faults, status in ((Faults(denied=True), 403), (Faults(unavailable_every=1), 503)):
        emulator.faults.replace(faults)
        assert get(f"{emulator.storage.url}{path}")[0] == status
    emulator.faults.replace(Faults())


def test_an_emulator_that_cannot_start_leaves_its_folder_to_another(emulator: Emulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = EmulatorSettings(folder=tmp_path, gcs=tmp_path / "gcs", parallel=0, port=taken.getsockname()[1])
        with pytest.raises(OcicalibanError, match=r"cannot listen on port .*: Address already in use"):
            Emulator(settings, certificate=emulator.certificate)
    assert not (tmp_path / "key.json").exists()
    own = EmulatorSettings(folder=emulator.key_file.parent, gcs=tmp_path, parallel=0)
    with pytest.raises(UsageError, match="already uses"):
        Emulator(own, faults=FaultInjector(), certificate=emulator.certificate)


def test_a_request_that_hangs_does_not_keep_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 0.1)
    made = Emulator(EmulatorSettings(folder=tmp_path / "own", gcs=tmp_path / "gcs", parallel=0))
    made.start()
    begun, over = threading.Event(), threading.Event()

    def hang(_: object) -> tuple[list[bytes], str]:
        begun.set()
        over.wait()
        return [], ""

    monkeypatch.setattr(made.jobs, "page", hang)
    request = types.ListCustomJobsRequest.serialize(types.ListCustomJobsRequest(parent=PARENT))
    asked = threading.Thread(target=_refused, args=(made, request))
    asked.start()
    begun.wait()
    made.stop()
    over.set()
    asked.join()


def _refused(made: Emulator, request: bytes) -> None:
    with pytest.raises(grpc.RpcError):
        call(made, "/google.cloud.aiplatform.v1.JobService/ListCustomJobs", request)
