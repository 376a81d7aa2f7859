"""Submissions to Vertex AI, against the emulator: Google's real client library, a real registry, real containers."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
import pytest

from ocicaliban.emulator import identity
from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.server import Emulator
from ocicaliban.emulator.settings import EmulatorSettings
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.history import access
from ocicaliban.model.job import Job, JobSpec, Parameters, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.system import process
from ocicaliban.targets import rate_limit, submit_once
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.submit_once import CreateRequest, Limits, ObservedJob, Record
from ocicaliban.targets.vertex import backend, job_spec, labels, machines
from ocicaliban.targets.vertex import client as target
from ocicaliban.targets.vertex.client import VertexClient
from ocicaliban.targets.vertex.options import Options
from tests.integration.program import until
from tests.integration.registries import Registry

REPOSITORY = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9/digits@sha256:" + "0" * 64
MACHINE = machines.Machine(type="n1-standard-4")
SUBMISSION = Submission(target="local", group="brave-otter", user="ada", host="h", project="p", mode="cloud")


def request(
    key: str, image: str = NOWHERE, args: tuple[str, ...] = (), parameters: Parameters = (), **options: object
) -> CreateRequest:
    job = Job(id=1, key=key, submission=SUBMISSION, parameters=parameters, args=args)
    chosen = Options(machine=MACHINE, **{"entrypoint": ("sh", "-c"), **options})  # type: ignore[arg-type]
    return CreateRequest(key=key, body=job_spec.custom_job(job, image, chosen)[0])


def requests(count: int) -> list[CreateRequest]:
    return [request(f"job-{number}") for number in range(count)]


# --- what the tests stand on ---


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """docker-registry on loopback, without TLS: its host and port."""
    started = Registry(tmp_path_factory.mktemp("registry"))
    host = started.host
    yield host
    started.stop()
    used = process.output(("podman", "images", "--format", "{{.ID}} {{.Repository}}"))
    for line in used.splitlines():
        if host in line:
            process.ok(("podman", "rmi", "-f", line.split()[0]))


@pytest.fixture(scope="module")
def image(registry: str, base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image in the registry, named by its digest; what it starts is a shell."""
    base = tomllib.loads(base_lock)["base"]["cpu"]["digest"].removeprefix("sha256:")
    container = process.run(("buildah", "from", "--quiet", "--pull-never", base))
    process.run(("buildah", "config", "--entrypoint", '["sh", "-c"]', container))
    name = "localhost/test-vertex"
    process.run(("buildah", "commit", "--quiet", container, name))
    process.run(("buildah", "rm", container))
    told = tmp_path_factory.mktemp("push") / "digest"
    push = ("buildah", "push", "--quiet", "--tls-verify=false", "--digestfile", str(told))
    process.run((*push, name, f"docker://{registry}/digits"))
    process.run(("podman", "rmi", "-f", name))
    return f"{registry}/digits@{told.read_text().strip()}"


Make = Callable[..., Emulator]


@pytest.fixture
def emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: identity.ServerCertificate
) -> Iterator[Make]:
    """Starts an emulator, and points Google's library to it by the library's own settings."""
    running: list[Emulator] = []

    def make(faults: Faults | None = None, parallel: int = 0) -> Emulator:
        settings = EmulatorSettings(folder=tmp_path / "emulator", gcs=tmp_path / "gcs", parallel=parallel)
        started = Emulator(settings, faults=FaultInjector(faults or Faults()), certificate=certificate)
        started.start()
        running.append(started)
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        return started

    yield make
    for each in running:
        each.stop()


def service() -> VertexClient:
    return target.connect("", "us-central1")


def submit(to: VertexClient, *asked: CreateRequest, **options: object) -> dict[str, str]:
    """Submit, and what was told of each: its resource name by its key."""
    told: dict[str, str] = {}

    def accepted(one: CreateRequest, name: str) -> None:
        assert one.key not in told
        told[one.key] = name

    send(to, asked, accepted, **options)  # type: ignore[arg-type]
    return told


def send(
    to: VertexClient,
    asked: Iterable[CreateRequest],
    accepted: Callable[[CreateRequest, str], None],
    reporter: Reporter = SILENT,
    **limits: object,
) -> None:
    chosen = Limits(**{"per_minute": 100_000, **limits})  # type: ignore[arg-type]
    submit_once.submit(
        attrs.evolve(to, limits=chosen), asked, SUBMISSION.group, Record(accepted=accepted), reporter=reporter
    )


def made(by: Emulator) -> collections.Counter[str]:
    """How often the emulator has each key."""
    jobs = [entry.job for entry in by.jobs.records()]
    return collections.Counter(job.labels[labels.JOB_LABEL] for job in jobs)


def ended(to: VertexClient, count: int = 1) -> dict[str, ObservedJob]:
    """Wait until so many jobs have ended; what the service tells of each, by key."""
    for _ in range(1200):
        seen = {each.key: each for each in to.look(SUBMISSION.group)}
        if len([each for each in seen.values() if each.ended]) == count:
            return seen
        time.sleep(0.1)
    raise AssertionError(f"they do not end: {seen}")


# --- jobs that run ---


def test_a_job_sees_what_vertex_gives_it_and_nothing_of_this_machine(
    emulator: Make, image: str, tmp_path: Path
) -> None:
    emulator(parallel=1)
    script = 'env -0 > /out/env; cp /proc/mounts /out/mounts; echo "$0 $*" > /out/args; ls /home > /out/home'
    one = request("k1", image, args=(script, "--lr", "0.1"), parameters=(("lr", 0.1),), output="gs://bucket/results")
    name = submit(service(), one)["k1"]
    assert ended(service())["k1"].status == "succeeded"
    out = tmp_path / "gcs" / "bucket" / "results" / "brave-otter" / "k1"
    assert (out / "args").read_text() == "--lr 0.1\n"
    env = dict(pair.split("=", 1) for pair in (out / "env").read_text().rstrip("\0").split("\0"))
    assert env["OCICALIBAN_JOB"] == "1" and json.loads(env["OCICALIBAN_PARAMETERS"]) == {"lr": 0.1}
    assert env["AIP_MODEL_DIR"] == "gs://bucket/results/brave-otter/k1/model/"
    assert name.endswith(f"/{env['CLOUD_ML_JOB_ID']}") and name.split("/")[1] == env["CLOUD_ML_PROJECT_ID"]
    assert env["CLOUD_ML_PROJECT_ID"].isdecimal()
    cluster = json.loads(env["CLUSTER_SPEC"])
    assert cluster["task"] == {"type": "workerpool0", "index": 0} and cluster["environment"] == "cloud"
    assert len(cluster["cluster"]["workerpool0"]) == 1
    assert cluster["job"]["worker_pool_specs"][0]["container_spec"]["image_uri"] == image
    assert not {"TF_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "https_proxy"} & set(env)
    assert (out / "home").read_text() == ""
    mounts = [line.split()[1] for line in (out / "mounts").read_text().splitlines()]
    shared = {at for at in mounts if not at.startswith(("/proc", "/sys", "/dev", "/run", "/etc")) and at != "/"}
    assert shared == {"/gcs"}


def test_a_job_that_fails_says_why(emulator: Make, image: str) -> None:
    emulator(parallel=1)
    submit(service(), request("k1", image, args=("echo no luck >&2; exit 3",)))
    seen = ended(service())["k1"]
    assert seen.status == "failed" and "workerpool0-0 exited with a non-zero status of 3" in seen.reason
    log = Path(seen.reason.rpartition(": ")[2])
    assert log.read_text() == "no luck\n"
    assert seen.created and seen.started and seen.ended and seen.created <= seen.started <= seen.ended


def test_an_image_that_is_gone_from_the_registry_fails_the_job(emulator: Make, registry: str) -> None:
    emulator(parallel=1)
    submit(service(), request("k1", f"{registry}/digits@sha256:{'0' * 64}"))
    seen = ended(service())["k1"]
    assert seen.status == "failed" and "Failed to pull the image" in seen.reason


def test_a_timeout_and_a_cancel_end_the_container(emulator: Make, image: str) -> None:
    emulator(parallel=2)
    forever = ("trap '' TERM; sleep 1000 & wait; sleep 1000",)
    names = submit(
        service(), request("long", image, args=forever), request("short", image, args=("sleep 1000",), timeout=2)
    )
    until(lambda: {each.key: each for each in service().look(SUBMISSION.group)}["long"].state == "running")
    assert service().cancel([names["long"]]) == {}
    seen = ended(service(), 2)
    assert seen["long"].status == "stopped"
    assert seen["short"].status == "failed" and "timeout of 2 seconds" in seen["short"].reason
    assert "vertex-" not in process.output(("podman", "ps", "--format", "{{.Names}}"))


def test_the_emulators_end_is_that_of_its_containers(emulator: Make, image: str) -> None:
    by = emulator(parallel=1)
    submit(service(), request("k1", image, args=("sleep 1000",)))
    until(lambda: "vertex-" in process.output(("podman", "ps", "--format", "{{.Names}}")))
    by.stop()
    assert "vertex-" not in process.output(("podman", "ps", "--all", "--format", "{{.Names}}"))


def test_what_waits_is_cancelled_at_once_and_what_ended_is_no_fault(emulator: Make) -> None:
    emulator(parallel=0)
    names = submit(service(), *requests(20))
    assert service().cancel(list(names.values())) == {}
    assert {each.status for each in service().look(SUBMISSION.group)} == {"stopped"}
    gone = f"{service().parent}/customJobs/1"
    assert service().cancel([*names.values(), gone]) == {gone: "Vertex AI does not know it"}


def test_what_can_pass_keeps_no_job_from_being_cancelled(emulator: Make) -> None:
    by = emulator()
    to = service()
    names = submit(to, *requests(20))
    by.faults.replace(Faults(unavailable_every=3))
    assert not to.cancel((*names.values(),))
    assert {entry.job.state.name for entry in by.jobs.records()} == {"JOB_STATE_CANCELLED"}


def test_replicas_find_each_other(emulator: Make, image: str, tmp_path: Path) -> None:
    emulator(parallel=1)
    script = 'printf %s "$TF_CONFIG" > "$OCICALIBAN_OUT/$(printf %s "$CLUSTER_SPEC" | md5sum | cut -c1-8)"'
    submit(
        service(), request("k1", image, args=(f"mkdir -p $OCICALIBAN_OUT; {script}",), replicas=3, output="gs://bucket")
    )
    assert ended(service())["k1"].status == "succeeded"
    told = [json.loads(path.read_text()) for path in (tmp_path / "gcs/bucket/brave-otter/k1").iterdir()]
    tasks = sorted((each["task"]["type"], each["task"]["index"]) for each in told)
    assert tasks == [("chief", 0), ("worker", 0), ("worker", 1)]
    (cluster,) = {json.dumps(each["cluster"]) for each in told}
    addresses = [address for pool in json.loads(cluster).values() for address in pool]
    assert len(set(addresses)) == 3


@pytest.mark.parametrize(("restarts", "runs"), [(None, 3), (1, 4)])
def test_a_replica_that_is_taken_away_is_started_again(
    emulator: Make, image: str, tmp_path: Path, restarts: int | None, runs: int
) -> None:
    emulator(Faults(preempted=1, preempted_after=3.0), parallel=1)
    # With `restarts` all replicas run again, else the one alone that was taken away.
    script = "mkdir -p $OCICALIBAN_OUT; echo >> $OCICALIBAN_OUT/runs; sleep 5"
    submit(service(), request("k1", image, args=(script,), replicas=2, restarts=restarts, output="gs://bucket"))
    assert ended(service())["k1"].status == "succeeded"
    starts = (tmp_path / "gcs/bucket/brave-otter/k1/runs").read_text().count("\n")
    assert starts == runs


def test_a_job_has_the_gpus_that_it_asks_for(
    emulator: Make, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = tmp_path / "config" / "cdi"
    specs.mkdir(parents=True)
    devices = [{"name": str(number), "containerEdits": {"env": [f"STAND_IN_{number}=there"]}} for number in range(2)]
    (specs / "gpus.json").write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    emulator(parallel=1)
    machine, _ = machines.machine("", "1xT4", "", "us-central1", False)
    script = "mkdir -p $OCICALIBAN_OUT; env | grep -c ^STAND_IN > $OCICALIBAN_OUT/gpus"
    job = Job(id=1, key="k1", submission=SUBMISSION, args=(script,))
    options = Options(machine=machine, output="gs://bucket", entrypoint=("sh", "-c"))
    body, _ = job_spec.custom_job(job, image, options)
    submit(service(), CreateRequest(key="k1", body=body))
    assert ended(service())["k1"].status == "succeeded"
    assert (tmp_path / "gcs/bucket/brave-otter/k1/gpus").read_text() == "1\n"


# --- submissions ---


def test_hundreds_go_out_side_by_side(emulator: Make) -> None:
    by = emulator(Faults(latency=0.1))
    to = service()
    under_way, most, lock = 0, 0, threading.Lock()
    create = to.client.create_custom_job

    def counted(**asked: object) -> object:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            return create(**asked)
        finally:
            with lock:
                under_way -= 1

    to.client.create_custom_job = counted
    told = submit(to, *requests(500))
    assert len(told) == 500 and set(made(by).values()) == {1} and most > 20


def test_what_waits_for_leave_goes_out_when_the_service_takes_more_than_its_quota(
    emulator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_MINUTE", 3600.0)  # for which it would wait otherwise
    by = emulator()
    send(service(), requests(200), lambda request, name: None, per_minute=10, ask_every=3600.0)
    assert len(made(by)) == 200


@pytest.mark.parametrize("lost_as", ["unavailable", "deadline"])
def test_a_job_whose_answer_is_lost_is_there_once(emulator: Make, lost_as: str) -> None:
    by = emulator(Faults(lost_every=5, lost_as=lost_as, latency=0.02))  # type: ignore[arg-type]
    to = attrs.evolve(service(), timeout=2.0)
    told = submit(to, *requests(100))
    assert len(told) == 100 and set(made(by).values()) == {1} and len(made(by)) == 100
    assert set(told.values()) == {each.name for each in to.look(SUBMISSION.group)}


def test_a_job_that_is_made_after_its_answer_was_lost_is_there_once(emulator: Make) -> None:
    by = emulator(Faults(lost_every=4, lost_late=1.5))
    told = submit(service(), *requests(20))
    assert len(told) == 20 and set(made(by).values()) == {1}


def test_nothing_is_sent_again_before_a_look_was_answered(emulator: Make) -> None:
    by = emulator(Faults(lost_every=1, latency=0.5))
    to = service()
    to.check()  # so that the connection is there
    # After the first look, and before the second.
    threading.Timer(0.7, by.faults.replace, (Faults(lists_denied=True),)).start()
    with pytest.raises(OcicalibanError, match="it may be there") as fault:
        submit(to, request("k1"))
    assert not isinstance(fault.value, Refused) and made(by).total() == 1


def test_a_service_that_is_away_for_a_moment_is_checked_again(emulator: Make) -> None:
    by = emulator(Faults(unavailable_every=1))
    threading.Timer(1.0, by.faults.replace, [Faults()]).start()
    service().check()


def test_a_service_that_is_away_now_and_then_gets_them_all(emulator: Make) -> None:
    by = emulator(Faults(unavailable_every=9))
    told = submit(service(), *requests(100))
    assert len(told) == 100 and set(made(by).values()) == {1} and len(made(by)) == 100


def test_what_is_there_already_is_told_and_not_sent_again(emulator: Make) -> None:
    by = emulator()
    first = submit(service(), *requests(30))
    again = submit(service(), *requests(40))
    assert {key: again[key] for key in first} == first and len(again) == 40
    assert set(made(by).values()) == {1}


_KILLED = """
import sys
from tests.integration.test_vertex import requests, send, service
with open(sys.argv[1], "a") as told:
    def accepted(one, name):
        print(one.key, name, file=told, flush=True)
    send(service(), requests(500), accepted, at_once=16)
"""


def test_killed_again_and_again_each_of_500_is_submitted_once(emulator: Make, tmp_path: Path) -> None:
    by = emulator(Faults(latency=0.1, lost_every=50))
    told = tmp_path / "told"
    argv = [sys.executable, "-c", _KILLED, str(told)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    chance = random.Random(7)
    kills = 0
    while True:
        child = subprocess.Popen(argv, env=env, cwd=REPOSITORY)
        before = len(made(by))
        goal = min(before + chance.randrange(20, 200), 500)
        while child.poll() is None and (kills >= 4 or len(made(by)) < goal):
            time.sleep(0.01)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
    assert child.returncode == 0 and kills >= 2
    assert len(made(by)) == 500 and set(made(by).values()) == {1}
    names = dict(line.split() for line in told.read_text().splitlines())
    assert names == {each.key: each.name for each in service().look(SUBMISSION.group)}


def test_more_than_the_quota_goes_out_later(emulator: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MINUTE", 2.0)  # otherwise the test takes a minute
    by = emulator(Faults(per_minute=10))
    notes: list[str] = []

    def say(line: str) -> None:
        notes.append(line)
        by.faults.replace(Faults())  # the minute is over

    told = submit(service(), *requests(30), reporter=Reporter(say))
    assert len(told) == 30 and set(made(by).values()) == {1}
    [note] = notes
    assert note.startswith("note: the rest goes out more slowly: Quota exceeded for quota metric 'Job or LRO")


@pytest.mark.parametrize(
    ("faults", "words", "remedy"),
    [
        (Faults(denied=True), "PERMISSION_DENIED", "roles/aiplatform.user"),
        (
            Faults(no_quota=("CPU",)),
            "exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus",
            "quotas",
        ),
        (
            Faults(refused_machines=("n1-standard-4",)),
            'Machine type "n1-standard-4" is not supported',
            "--machine-type",
        ),
    ],
)
def test_a_permanent_refusal_stops_early_in_the_services_own_words(
    emulator: Make, faults: Faults, words: str, remedy: str
) -> None:
    by = emulator(faults)
    with pytest.raises(OcicalibanError) as fault:
        submit(service(), *requests(500))
    assert words in fault.value.message and remedy in fault.value.hint
    assert made(by).total() == 0


def test_what_was_accepted_before_a_refusal_is_told(emulator: Make) -> None:
    by = emulator(Faults(latency=0.05))
    told: list[str] = []

    def accepted(one: CreateRequest, _: str) -> None:
        told.append(one.key)
        if len(told) == 20:
            by.faults.replace(Faults(refused_machines=("n1-standard-4",)))

    with pytest.raises(OcicalibanError, match="of 200 were accepted"):
        send(service(), requests(200), accepted, at_once=8)
    assert collections.Counter(told) == made(by)


def test_a_fault_of_the_caller_ends_it_with_all_that_was_accepted_told(emulator: Make) -> None:
    by = emulator(Faults(latency=0.05))
    told: list[str] = []

    def accepted(one: CreateRequest, _: str) -> None:
        told.append(one.key)
        if len(told) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(service(), requests(200), accepted, at_once=8)
    assert collections.Counter(told) == made(by) and len(told) < 200


def test_what_nobody_expects_in_a_thread_ends_it_with_all_that_was_accepted_told(emulator: Make) -> None:
    by = emulator(Faults(latency=0.05))
    to = service()

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(to.client, name)

        def create_custom_job(self, **asked: object) -> object:
            if len(made(by)) >= 3:
                raise ValueError("Cannot invoke RPC on closed channel!")
            return to.client.create_custom_job(**asked)

    told: list[str] = []
    with pytest.raises(OcicalibanError, match="ValueError: Cannot invoke RPC"):
        send(attrs.evolve(to, client=Broken()), requests(50), lambda one, name: told.append(one.key), at_once=2)
    assert sorted(told) == sorted(made(by))


def test_a_thousand_states_come_in_a_few_lists(emulator: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    by = emulator()
    submit(service(), *requests(1000))
    pages: list[object] = []
    page = by.jobs.page
    monkeypatch.setattr(by.jobs, "page", lambda *args: (pages.append(args), page(*args))[1])
    seen = service().look(SUBMISSION.group)
    assert len({each.key for each in seen}) == 1000 and {each.status for each in seen} == {"pending"}
    assert len(pages) == 10


# --- connections ---


def test_of_many_groups_with_a_job_each_the_states_come_in_a_few_lists(
    emulator: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator()
    made = attrs.evolve(SUBMISSION, target="vertex", options={"project_id": "rehearsal", "region": "us-central1"})
    options = Options(machine=MACHINE)
    with access.open(f"sqlite:///{tmp_path}/history.db") as known:
        for number in range(50):
            known.submit(attrs.evolve(made, group=f"otter-{number}"), [JobSpec()] * (20 if number == 7 else 1))
        jobs = known.jobs()
        asked = [CreateRequest(key=job.key, body=job_spec.custom_job(job, NOWHERE, options)[0]) for job in jobs]
        submit(service(), *asked)
        lists: list[object] = []
        page = by.jobs.page
        monkeypatch.setattr(by.jobs, "page", lambda *args: (lists.append(args), page(*args))[1])
        backend.BACKEND.observe(known, jobs, SILENT)
        assert len(jobs) == 69 and {job.status for job in known.jobs()} == {"pending"}
        assert len(lists) == 4  # 49 jobs by themselves, twenty in a list, and a group
        lists.clear()
        backend.BACKEND.observe(known, [next(job for job in known.jobs() if job.submission.group == "otter-7")], SILENT)
        assert len(lists) == 1


def test_a_check_shows_what_is_wrong_before_anything_slow(emulator: Make, tmp_path: Path) -> None:
    by = emulator()
    service().check()
    with pytest.raises(OcicalibanError, match="does not serve the location 'europe-west4'"):
        target.connect("", "europe-west4").check()
    by.faults.replace(Faults(denied=True))
    with pytest.raises(OcicalibanError, match="PERMISSION_DENIED"):
        service().check()


@pytest.mark.parametrize("text", ["{", "{}", '{"type": "service_account", "client_email": "a", "token_uri": "b"}'])
def test_a_key_file_that_is_none_is_told(emulator: Make, tmp_path: Path, text: str) -> None:
    emulator()
    key = tmp_path / "broken.json"
    key.write_text(text)
    with pytest.raises(OcicalibanError) as fault:
        target.connect("", "us-central1", key_file=str(key))
    assert "broken.json" in fault.value.message and "--cloud-key" in fault.value.hint


def test_a_private_key_that_is_none_is_told(emulator: Make, tmp_path: Path) -> None:
    emulator()
    data = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    key = tmp_path / "broken.json"
    key.write_text(
        json.dumps({**data, "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"})
    )
    with pytest.raises(OcicalibanError, match="holds no usable credentials"):
        target.connect("", "us-central1", key_file=str(key))


def test_no_project_and_no_tls_are_usage_errors(emulator: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator()
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "http://localhost:1/")
    with pytest.raises(UsageError, match="without TLS"):
        service()
    assert target.endpoint("europe-west4", environ={}) == "europe-west4-aiplatform.googleapis.com"


def test_an_accelerator_that_the_library_does_not_know_is_told_before_anything_is_sent(emulator: Make) -> None:
    by = emulator()
    machine, _ = machines.machine("", "1xNVIDIA_X900", "", "us-central1", False)
    body, _ = job_spec.custom_job(Job(id=1, key="k", submission=SUBMISSION), NOWHERE, Options(machine=machine))
    with pytest.raises(OcicalibanError, match="does not know 'NVIDIA_X900'"):
        service().check(body)
    with pytest.raises(OcicalibanError, match="does not know 'NVIDIA_X900'"):
        submit(service(), *requests(5), CreateRequest(key="k", body=body))
    assert made(by).total() == 0


def test_credentials_that_have_expired_are_told_at_once(emulator: Make) -> None:
    emulator()
    from google.auth import exceptions
    from google.oauth2 import credentials

    class Expired(credentials.Credentials):  # type: ignore[misc]  # as google-auth answers when Google's token endpoint refuses
        def refresh(self, request: object) -> None:
            raise exceptions.RefreshError("invalid_grant: Token has been expired or revoked.")

    to = service()
    expired = Expired(None, refresh_token="r", token_uri="t", client_id="c", client_secret="s")
    client = to.library.JobServiceClient(credentials=expired, client_options={"api_endpoint": to.host})
    for ask in (VertexClient.check, lambda to: submit(to, request("k1"))):
        with pytest.raises(OcicalibanError, match="expired or revoked") as fault:
            ask(attrs.evolve(to, client=client))
        assert "gcloud auth application-default login" in fault.value.hint


def test_a_service_out_of_reach_is_told_at_once(emulator: Make) -> None:
    emulator()
    with pytest.raises(OcicalibanError, match="does not answer") as fault:
        target.connect("", "us-central1", address="https://localhost:9/").check()
    assert "localhost:9" in fault.value.hint


def test_a_port_that_is_taken_is_told(tmp_path: Path, certificate: identity.ServerCertificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OcicalibanError, match="listen on port"):
        port = int(taken.getsockname()[1])
        Emulator(EmulatorSettings(folder=tmp_path, gcs=tmp_path, parallel=0, port=port), certificate=certificate)


def test_a_missing_library_is_told_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['google.cloud.aiplatform_v1'] = None\n"
        "from ocicaliban.targets.vertex import client as vertex\nfrom ocicaliban.targets.vertex import library\n"
        "library.preload()\n"
        "try: vertex.connect('p', 'us-central1')\n"
        "except Exception as exc: print(type(exc).__name__, exc.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    assert done.stdout.startswith("OcicalibanError ") and "google-cloud-aiplatform" in done.stdout, done.stderr


def test_a_library_that_does_not_fit_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "google/cloud/aiplatform_v1"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise TypeError('Descriptors cannot be created directly.\\nMore')\n")
    code = (
        "import google.cloud; google.cloud.__path__ = [sys.argv[1] + '/google/cloud']\n"
        "from ocicaliban.targets.vertex import client as vertex\nfrom ocicaliban.targets.vertex import library\n"
        "library.preload()\n"
        "try: vertex.connect('p', 'us-central1')\n"
        "except Exception as exc: print(exc.message, exc.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    words = "Vertex AI's client library cannot be imported: TypeError: Descriptors cannot be created directly."
    assert done.stdout.startswith(words) and "--upgrade 'google-cloud-aiplatform" in done.stdout and not done.stderr


def test_tools_run_while_the_library_is_imported() -> None:
    code = (
        "from ocicaliban.system import process\nfrom ocicaliban.targets.vertex import library\nimport sys\n"
        "assert 'grpc' not in sys.modules\nlibrary.preload()\n"
        "for _ in range(40): process.run(('true',))\n"
        "print(library.library().JobServiceClient.__name__)"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "JobServiceClient\n", done.stderr


def test_of_the_library_no_more_is_imported_than_is_used_and_all_of_it_can_be_afterwards() -> None:
    code = (
        "from ocicaliban.targets.vertex.library import library as load\nimport sys\n"
        "library = load()\n"
        "others = [name for name in sys.modules if 'aiplatform_v1.services.' in name and 'job_service' not in name]\n"
        "from google.cloud import aiplatform_v1 as whole\n"
        "print(others, whole.CustomJob is library.CustomJob, whole.JobServiceClient is library.JobServiceClient)\n"
        "print(whole.DatasetServiceClient.__name__, whole.types.CustomJob is library.CustomJob)"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[] True True\nDatasetServiceClient True\n", done.stderr


# --- the command ---


@pytest.mark.parametrize("faults", ["latency = 600", 'lost_every = 1\nlost_as = "deadline"\nlost_late = 600'])
def test_the_command_ends_by_ctrl_c_though_requests_wait(tmp_path: Path, faults: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    (tmp_path / "faults.toml").write_text(faults)
    argv = [sys.executable, "-m", "ocicaliban", "dev", "vertex-emulator", "--folder", str(tmp_path / "emulator")]
    argv += ["--jobs", "0", "--faults", str(tmp_path / "faults.toml")]
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline().removeprefix("export ").rstrip("\n") for _ in range(6)]
    code = (
        "import threading, time\nfrom ocicaliban.targets.vertex import client as vertex\n"
        "s = vertex.connect('', 'us-central1')\n"
        "job = s.message({'display_name': 'x', 'job_spec': {'worker_pool_specs': [{'replica_count': 1, 'machine_spec':"
        " {'machine_type': 'n1-standard-4'}, 'container_spec': {'image_uri': '127.0.0.1:9/x'}}]}})\n"
        "ask = lambda: s.client.create_custom_job(parent=s.parent, custom_job=job, timeout=500)\n"
        "threading.Thread(target=ask, daemon=True).start()\ntime.sleep(2)\nprint('asked', flush=True)\ntime.sleep(60)"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**env, **dict(line.split("=", 1) for line in lines)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert asking.stdout is not None and asking.stdout.readline() == "asked\n"
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=20)
    asking.kill()
    asking.communicate()
    assert child.returncode == 0 and "Traceback" not in stderr, stderr


def test_the_command_prints_the_variables_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "ocicaliban", "dev", "vertex-emulator", "--folder", str(tmp_path), "--jobs", "0"]
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline().removeprefix("export ").rstrip("\n") for _ in range(6)]
    settings = dict(line.split("=", 1) for line in lines)
    assert oct((tmp_path / "key.json").stat().st_mode) == "0o100600"
    code = (
        "from ocicaliban.targets.vertex import client as vertex\n"
        "s = vertex.connect('', 'us-central1'); s.check(); print(s.project)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**env, **settings}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("rehearsal\n", "")
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=20)
    assert child.returncode == 0 and "Traceback" not in stderr
    assert not (tmp_path / "key.json").exists()
