"""The stand-in for Vertex AI by itself: Google's own client talks to it, podman runs its jobs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest
from attrs import frozen
from google.api_core import exceptions
from google.cloud.aiplatform_v1.types import CustomJob, JobState

from ocicaliban.emulator import gpu_pool, identity
from ocicaliban.emulator.faults import Faults
from ocicaliban.emulator.server import Emulator
from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi
from ocicaliban.system import process
from ocicaliban.targets.vertex import client as target
from tests.folders import write
from tests.integration.program import call, command, environment
from tests.integration.test_vertex import NOWHERE, Make, emulator, image, registry, service

__all__ = ["emulator", "image", "registry"]

PARENT = "projects/rehearsal/locations/us-central1"


def pool(image: str = NOWHERE, script: str = "true", **more: object) -> dict[str, object]:
    """A worker pool whose only replica runs a script of the shell."""
    container = {"image_uri": image, "command": ["sh", "-c"], "args": [script]}
    return {"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1, "container_spec": container, **more}


def job(*pools: Mapping[str, object], **more: object) -> dict[str, object]:
    """A CustomJob; what `more` it has goes into its spec."""
    return {"display_name": "a job", "job_spec": {"worker_pool_specs": list(pools), **more}}


def created(*pools: Mapping[str, object], **more: object) -> CustomJob:
    return service().client.create_custom_job(parent=PARENT, custom_job=job(*pools, **more))


def until(holds: Callable[[], object]) -> None:
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to hold")


def state(name: str) -> str:
    """A job's state by the client, without what all of them begin with."""
    return str(service().client.get_custom_job(name=name).state.name).removeprefix("JOB_STATE_")


def kept(by: Emulator, name: str) -> CustomJob:
    """A job as the emulator has it, which may have ended itself."""
    entry = by.jobs.find(name)
    assert entry is not None
    return CustomJob.deserialize(by.jobs.serialize(entry))


def said(by: Emulator) -> list[str]:
    """All lines that replicas have written."""
    return [entry.text for entry in by.log_store.page(lambda _: True, 1000, "")[0]]


@frozen(kw_only=True)
class Command:
    """`ocicaliban dev vertex-emulator` as a user has it, and what it has told to set."""

    child: subprocess.Popen[str]
    settings: Mapping[str, str]

    def submit(self, *jobs: Mapping[str, object]) -> list[str]:
        """Submit jobs; their numbers. gRPC reads what it trusts only once, so that a new process does it."""
        code = (
            "import json, sys\nfrom ocicaliban.targets.vertex import client as vertex\n"
            "to = vertex.connect('', 'us-central1')\n"
            "for job in json.load(sys.stdin):\n"
            "    print(to.client.create_custom_job(parent=to.parent, custom_job=job).name.rpartition('/')[2])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(self.settings), input=json.dumps(jobs), capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return done.stdout.split()

    def ended(self, how: signal.Signals) -> str:
        """End it so; what it has said on stderr."""
        self.child.send_signal(how)
        return self.child.communicate(timeout=60)[1]


Begin = Callable[..., Command]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begin]:
    """Starts the command, and leaves nothing of it."""
    children: list[subprocess.Popen[str]] = []

    def begin(*args: str, folder: str = "emulator", stdout: IO[str] | int = subprocess.PIPE) -> Command:
        argv = command("dev", "vertex-emulator", "--folder", str(tmp_path / folder), *args)
        child = subprocess.Popen(
            argv, env=environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
        children.append(child)
        settings: dict[str, str] = {}
        for line in iter(child.stdout.readline, "") if child.stdout else ():
            name, _, value = line.removeprefix("export ").rstrip().partition("=")
            settings[name] = value
            if name == "no_grpc_proxy":
                break
        return Command(child=child, settings=settings)

    yield begin
    for child in children:
        child.kill()
        child.wait()
    if left := containers():
        process.ok(("podman", "rm", "--force", "--time", "0", *left))


def containers() -> set[str]:
    """The names of the containers of all emulators."""
    listed = process.output(
        ("podman", "ps", "--all", "--filter", "label=ocicaliban.emulator", "--format", "{{.Names}}")
    )
    return set(listed.split())


# --- its folder ---


def test_the_next_one_removes_what_a_killed_one_has_left_and_nothing_else(begun: Begin, image: str) -> None:
    killed, other = begun("--jobs", "2"), begun(folder="other")
    sleeps = job(pool(image, "trap '' TERM; sleep 1000"))
    left = {f"vertex-{number}-workerpool0-0" for number in killed.submit(sleeps, sleeps)}
    stays = {f"vertex-{number}-workerpool0-0" for number in other.submit(sleeps)}
    until(lambda: containers() == left | stays)
    killed.ended(signal.SIGKILL)
    assert containers() == left | stays
    begun()
    assert containers() == stays


def test_of_two_in_one_folder_the_second_is_refused_and_the_first_goes_on(begun: Begin) -> None:
    first = begun("--jobs", "0")
    second = begun("--jobs", "0")
    assert not second.settings and second.child.wait() == 2
    _, told = second.child.communicate()
    assert "an emulator already uses" in told and "--folder DIR takes another" in told and "Traceback" not in told
    assert first.submit(job(pool()))
    first.ended(signal.SIGINT)
    assert begun("--jobs", "0").submit(job(pool()))


def test_what_holds_secrets_is_the_users_alone_in_a_folder_that_all_can_read(begun: Begin, tmp_path: Path) -> None:
    folder = tmp_path / "emulator"
    (folder / "logs").mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    begun("--jobs", "0")
    modes = {name: oct((folder / name).stat().st_mode & 0o777) for name in ("logs", "key.json", "lock")}
    assert modes == {"logs": "0o700", "key.json": "0o600", "lock": "0o600"}


# --- its own project ---


def test_a_job_is_named_by_the_projects_number_and_answers_to_its_id_too(emulator: Make) -> None:
    emulator(parallel=0)
    client = service().client
    made = [created(pool()) for _ in range(2)]
    _, number, *_ = made[0].name.split("/")
    assert number.isdecimal()
    for project in (number, "rehearsal"):
        parent = f"projects/{project}/locations/us-central1"
        assert {each.name for each in client.list_custom_jobs(parent=parent)} == {each.name for each in made}
        name = f"{parent}/customJobs/{made[0].name.rpartition('/')[2]}"
        assert client.get_custom_job(name=name).name == made[0].name
        client.cancel_custom_job(name=name)
        assert state(name) == "CANCELLED"


def test_a_number_stays_the_same_and_is_that_of_one_project() -> None:
    numbers = [identity.CloudProject(id=name).number for name in ("rehearsal", "rehearsal", "rehearsal2")]
    assert numbers[0] == numbers[1] != numbers[2] and {len(number) for number in numbers} == {12}


def test_another_project_is_not_served(emulator: Make) -> None:
    emulator(parallel=0)
    client = service().client
    parent = PARENT.replace("rehearsal", "another-one")
    asks: tuple[Callable[[], object], ...] = (
        lambda: client.create_custom_job(parent=parent, custom_job=job(pool())),
        lambda: client.list_custom_jobs(parent=parent),
        lambda: client.get_custom_job(name=f"{parent}/customJobs/1"),
        lambda: client.cancel_custom_job(name=f"{parent}/customJobs/1"),
    )
    for ask in asks:
        with pytest.raises(exceptions.PermissionDenied, match="denied on resource"):
            ask()
    with pytest.raises(OcicalibanError, match="PERMISSION_DENIED"):
        target.connect("another-one", "us-central1").check()


# --- GPUs ---


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices that tell by a variable that they are there."""
    devices = [{"name": str(number), "containerEdits": {"env": [f"STAND_IN_{number}=there"]}} for number in range(2)]
    spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}
    write(tmp_path / "config" / "cdi", {"gpus.json": json.dumps(spec)})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def on_gpus(count: int, image: str, script: str, **more: object) -> dict[str, object]:
    machine = {"machine_type": "n1-standard-4", "accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": count}
    return pool(image, script, machine_spec=machine, **more)


def meets(replicas: int, name: str) -> str:
    """A script that tells its GPUs, and waits for so many replicas of its job, for which a bucket is used."""
    told = "echo $(env | grep -o ^STAND_IN_. | sort)"
    here = f"mkdir -p /gcs/bucket/{name}; {told} > $(mktemp /gcs/bucket/{name}/XXXXXX)"
    return f"{here}; while [ $(ls /gcs/bucket/{name} | wc -l) -lt {replicas} ]; do sleep 0.1; done; {told}"


def had(by: Emulator) -> list[str]:
    """The GPUs that replicas have told of; podman has words of its own in their logs."""
    return sorted(line for line in said(by) if line.startswith("STAND_IN"))


@pytest.mark.usefixtures("gpus")
def test_a_job_that_waits_for_gpus_is_pending_and_its_timeout_has_not_begun(
    emulator: Make, image: str, tmp_path: Path
) -> None:
    emulator(parallel=2)
    first = created(on_gpus(2, image, "while ! [ -e /gcs/go ]; do sleep 0.1; done"))
    until(lambda: state(first.name) == "RUNNING")
    second = created(on_gpus(1, image, "true"), scheduling={"timeout": {"seconds": 8}})
    until(lambda: state(second.name) == "PENDING")
    time.sleep(9)
    assert state(second.name) == "PENDING"
    (tmp_path / "gcs" / "go").touch()
    until(lambda: [state(each.name) for each in (first, second)] == ["SUCCEEDED", "SUCCEEDED"])


@pytest.mark.usefixtures("gpus")
def test_a_job_that_waits_for_gpus_can_be_cancelled(emulator: Make, image: str) -> None:
    emulator(parallel=2)
    first, second = (created(on_gpus(2, image, "sleep 1000")) for _ in range(2))
    until(lambda: sorted(state(each.name) for each in (first, second)) == ["PENDING", "RUNNING"])
    waits = first if state(first.name) == "PENDING" else second
    service().client.cancel_custom_job(name=waits.name)
    until(lambda: state(waits.name) == "CANCELLED")
    assert not service().client.get_custom_job(name=waits.name).start_time


@pytest.mark.usefixtures("gpus")
def test_jobs_whose_replicas_wait_for_each_other_come_through(emulator: Make, image: str) -> None:
    by = emulator(parallel=2)
    made = [created(*[on_gpus(1, image, meets(2, name)) for _ in range(2)]) for name in ("one", "two")]
    until(lambda: [state(each.name) for each in made] == ["SUCCEEDED", "SUCCEEDED"])
    assert had(by) == ["STAND_IN_0", "STAND_IN_0", "STAND_IN_1", "STAND_IN_1"]


@pytest.mark.usefixtures("gpus")
def test_replicas_that_want_more_gpus_than_there_are_share_all(emulator: Make, image: str) -> None:
    by = emulator(parallel=1)
    made = created(*[on_gpus(4, image, meets(2, "job")) for _ in range(2)])
    until(lambda: state(made.name) == "SUCCEEDED")
    assert had(by) == ["STAND_IN_0 STAND_IN_1"] * 2


def test_each_replica_has_gpus_of_its_own_where_there_are_enough() -> None:
    some = tuple(
        cdi.Device(kind="nvidia.com/gpu", name=name, spec=Path("gpus.json"), version="0.5.0") for name in "abc"
    )
    assert gpu_pool.divide(some, [1, 2]) == [some[:1], some[1:]]
    assert gpu_pool.divide(some, [2, 2, 8]) == [some[:2], (some[2], some[0]), (some[1], some[2], some[0])]
    assert gpu_pool.divide((), [1, 0]) == [(), ()]


# --- what it refuses ---


NO_LISTS: tuple[tuple[Mapping[str, object], str], ...] = (
    ({"filter": 'state="FOO"'}, "'FOO' is not a value of state"),
    ({"filter": 'labels.n:"1*"'}, "labels.n"),
    ({"page_token": "~"}, "page token"),
    ({"page_token": "bm8="}, "page token"),
    ({"read_mask": "nonsense"}, "there is no field 'nonsense'"),
    ({"read_mask": "name,jobSpec.nonsense"}, "there is no field 'job_spec.nonsense'"),
    ({"parent": "projects/rehearsal"}, "Invalid resource name"),
    ({"parent": f"{PARENT}/customJobs/1"}, "Invalid resource name"),
    ({"parent": "projects/rehearsal/locations/europe-west4"}, "does not serve the location"),
)


def test_a_list_that_the_service_would_refuse_is_refused(emulator: Make) -> None:
    emulator(parallel=0)
    client = service().client
    created(pool())
    for asked, told in NO_LISTS:
        with pytest.raises(exceptions.InvalidArgument, match=re.escape(told)):
            client.list_custom_jobs(request={"parent": PARENT, **asked})


N1 = {"machine_type": "n1-standard-4"}


NO_JOBS: tuple[tuple[Mapping[str, object], str], ...] = (
    ({**job(pool()), "display_name": ""}, "display_name"),
    ({**job(pool()), "display_name": "x" * 129}, "display_name"),
    ({**job(pool()), "labels": {"Key": "x"}}, "Invalid label 'Key: x'"),
    ({**job(pool()), "labels": {"key": "X"}}, "Invalid label 'key: X'"),
    ({**job(pool()), "labels": {"key": "x" * 64}}, "Invalid label"),
    ({**job(pool()), "labels": {f"key{number}": "x" for number in range(65)}}, "At most 64 labels"),
    (job(), "worker_pool_specs is required"),
    (job(*[pool()] * 5), "at most 4 worker pools"),
    (job(pool(replica_count=2)), "first worker pool must be 1"),
    (job(pool(), pool(replica_count=0)), "replica_count must be at least 1"),
    (job(pool(), pool(replica_count=-1)), "replica_count must be at least 1"),
    (job(pool(image="")), "image_uri is required"),
    (job(pool(machine_spec={"machine_type": "my-machine"})), '"my-machine" is not supported'),
    (
        job(pool(machine_spec={**N1, "accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 3})),
        '"NVIDIA_TESLA_T4" with this count',
    ),
    (job(pool(machine_spec={"machine_type": "ct5lp-hightpu-4t"})), "tpu_topology is required"),
    (job(pool(disk_spec={"boot_disk_size_gb": 99})), "between 100 and 64000"),
    (job(pool(disk_spec={"boot_disk_size_gb": -5})), "between 100 and 64000"),
    (job(pool(disk_spec={"boot_disk_size_gb": 64001})), "between 100 and 64000"),
    (
        job(pool(container_spec={"image_uri": NOWHERE, "env": [{"name": "A", "value": "1"}] * 101})),
        "At most 100 environment variables",
    ),
    (job(pool(), scheduling={"timeout": {"seconds": -5}}), "timeout must not be negative"),
    (job(pool(), network="x"), "Invalid network 'x'"),
    (job(pool(), service_account="nobody"), "Invalid service account 'nobody'"),
    (job(pool(), base_output_directory={"output_uri_prefix": "/tmp"}), "'/tmp' is not a Cloud Storage URI"),
)


def test_a_job_that_the_service_would_refuse_is_refused(emulator: Make) -> None:
    emulator(parallel=0)
    client = service().client
    for asked, told in NO_JOBS:
        with pytest.raises(exceptions.InvalidArgument, match=re.escape(told)):
            client.create_custom_job(parent=PARENT, custom_job=asked)
    assert not [*client.list_custom_jobs(parent=PARENT)]


def test_a_job_at_the_limits_is_taken(emulator: Make) -> None:
    emulator(parallel=0)
    env = [{"name": f"A{number}", "value": "1"} for number in range(100)]
    tpu = {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "2x2"}
    pools = [
        pool(container_spec={"image_uri": NOWHERE, "env": env}, disk_spec={"boot_disk_size_gb": 64000}),
        {},
        pool(machine_spec=tpu, replica_count=3, disk_spec={"boot_disk_size_gb": 100}),
        pool(),
    ]
    more = {
        "scheduling": {"timeout": {"seconds": 0}},
        "network": "projects/12345/global/networks/mine",
        "service_account": "me@rehearsal.iam.gserviceaccount.com",
        "base_output_directory": {"output_uri_prefix": "gs://bucket/x"},
    }
    labels = {f"key{number}": "x" * 63 for number in range(64)}
    whole = {**job(*pools, **more), "labels": labels, "display_name": "x" * 128}
    made = service().client.create_custom_job(parent=PARENT, custom_job=whole)
    assert state(made.name) == "QUEUED"


def test_a_worker_pool_may_be_left_out(emulator: Make, image: str) -> None:
    by = emulator(parallel=1)
    made = created(pool(image, "echo $CLUSTER_SPEC"), {}, pool(image, "true"))
    until(lambda: state(made.name) == "SUCCEEDED")
    (told,) = said(by)
    assert set(json.loads(told)["cluster"]) == {"workerpool0", "workerpool2"}


def test_a_name_that_no_job_has_is_not_found(emulator: Make) -> None:
    emulator(parallel=0)
    client = service().client
    for ask in (client.get_custom_job, client.cancel_custom_job):
        with pytest.raises(exceptions.NotFound, match="customJobs/1 is not found"):
            ask(name=f"{PARENT}/customJobs/1")
        with pytest.raises(exceptions.InvalidArgument, match="Invalid resource name"):
            ask(name=PARENT)


def test_a_list_has_the_fields_that_are_asked_for(emulator: Make) -> None:
    emulator(parallel=0)
    made = created(pool())
    (one,) = service().client.list_custom_jobs(request={"parent": PARENT, "read_mask": "name,jobSpec.scheduling"})
    assert one.name == made.name and not one.display_name


# --- faults to order ---


def test_a_job_that_waits_is_pending_and_can_be_cancelled(emulator: Make, image: str) -> None:
    by = emulator(Faults(waits=1000), parallel=2)
    made = [created(pool(image)) for _ in range(2)]
    until(lambda: [state(each.name) for each in made] == ["PENDING", "PENDING"])
    service().client.cancel_custom_job(name=made[0].name)
    until(lambda: state(made[0].name) == "CANCELLED")
    assert not service().client.get_custom_job(name=made[0].name).start_time
    by.stop()
    assert kept(by, made[1].name).state == JobState.JOB_STATE_CANCELLED


def test_a_job_that_has_waited_runs(emulator: Make, image: str) -> None:
    emulator(Faults(waits=0.5), parallel=1)
    made = created(pool(image))
    until(lambda: state(made.name) == "SUCCEEDED")


def test_lists_may_be_behind_what_was_created(emulator: Make) -> None:
    by = emulator(Faults(lists_late=1000), parallel=0)
    made = created(pool())
    client = service().client
    assert not [*client.list_custom_jobs(parent=PARENT)] and client.get_custom_job(name=made.name).name == made.name
    by.faults.replace(Faults())
    assert [each.name for each in client.list_custom_jobs(parent=PARENT)] == [made.name]


def test_a_cancel_of_what_has_ended_may_be_refused(emulator: Make) -> None:
    by = emulator(Faults(ended_refuses=True), parallel=0)
    made = created(pool())
    client = service().client
    client.cancel_custom_job(name=made.name)
    with pytest.raises(exceptions.FailedPrecondition, match="JOB_STATE_CANCELLED"):
        client.cancel_custom_job(name=made.name)
    assert service().cancel([made.name]) == {}
    by.faults.replace(Faults())
    client.cancel_custom_job(name=made.name)


# --- the command line, and what is given to it ---


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--port", "99999"), "--port"),
        (("--port", "-1"), "--port"),
        (("--region", "xx/yy"), "--region 'xx/yy'"),
        (("--region", "US-CENTRAL1"), "--region 'US-CENTRAL1'"),
        (("--project-id", "a b;c"), "--project-id 'a b;c'"),
        (("--project-id", ""), "--project-id ''"),
        (("--faults", "/dev/null"), "/dev/null is not a regular file"),
        (("--faults", "/nowhere/faults"), "there is no file /nowhere/faults"),
        (("--gcs", "/dev/null"), "/dev/null is not a folder"),
        (("--folder", "/dev/null"), "/dev/null is not a folder"),
    ],
)
def test_what_cannot_be_is_told_in_clear_words(tmp_path: Path, args: tuple[str, ...], told: str) -> None:
    done = call(tmp_path, "dev", "vertex-emulator", "--folder", str(tmp_path / "emulator"), "--jobs", "0", *args)
    assert done.returncode in (1, 2) and not done.stdout
    assert told in done.stderr and "Traceback" not in done.stderr and "add_port" not in done.stderr


def test_a_port_that_is_taken_is_told_apart_from_one_that_is_forbidden(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = call(tmp_path, "dev", "vertex-emulator", "--folder", str(tmp_path), "--jobs", "0", "--port", port)
        assert f"cannot listen on port {port}: Address already in use" in done.stderr
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        if first > 80:  # else none is forbidden here
            done = call(tmp_path, "dev", "vertex-emulator", "--folder", str(tmp_path), "--jobs", "0", "--port", "80")
            assert "cannot listen on port 80: Permission denied" in done.stderr


def test_what_it_prints_may_go_to_a_file_of_another_user_with_a_warning(begun: Begin, tmp_path: Path) -> None:
    path = tmp_path / "vertex.env"
    with path.open("w") as file:
        path.chmod(0o644)
        assert process.ok(("podman", "unshare", "chown", "1:1", str(path)))
        one = begun("--jobs", "0", stdout=file)
    until(lambda: "no_grpc_proxy" in path.read_text())
    told = one.ended(signal.SIGTERM)
    assert "warning: the addresses contain a secret" in told and "everybody else can read it" in told
    assert one.child.returncode == 0


# --- images ---


def test_an_image_that_was_removed_is_pulled_again(emulator: Make, image: str) -> None:
    emulator(parallel=1)
    first = created(pool(image)).name
    until(lambda: state(first) == "SUCCEEDED")
    assert process.ok(("podman", "rmi", "--force", image))  # `run` forks, which gRPC in this process does not bear
    second = created(pool(image)).name
    until(lambda: state(second) == "SUCCEEDED")


def test_a_container_that_podman_cannot_start_has_not_exited(emulator: Make, image: str, tmp_path: Path) -> None:
    emulator(parallel=1)
    exits = created(pool(container_spec={"image_uri": image, "command": ["/no/such/program"]})).name
    until(lambda: state(exits) == "FAILED")
    (tmp_path / "gcs").rmdir()  # which it would mount
    fails = created(pool(image)).name
    until(lambda: state(fails) == "FAILED")
    words = [service().client.get_custom_job(name=name).error.message for name in (exits, fails)]
    assert "exited with a non-zero status of 127" in words[0] and "could not be started" in words[1]


# --- its end ---


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_its_jobs_and_says_so(begun: Begin, image: str, how: signal.Signals) -> None:
    one = begun("--jobs", "2")
    scripts = ("sleep 1000", "trap 'exit 0' TERM; sleep 1000 & wait")
    numbers = one.submit(*[job(pool(image, script)) for script in scripts])
    until(lambda: len(containers()) == 2)
    told = one.ended(how)
    assert one.child.returncode == 0 and not containers()
    assert all(f"{number}: cancelled" in told for number in numbers)
    assert "succeeded" not in told and "Traceback" not in told


def test_what_its_end_kills_has_not_succeeded(emulator: Make, image: str) -> None:
    by = emulator(parallel=2)
    deaf, gentle = "echo ready; sleep 1000", "trap 'exit 0' TERM; echo ready; while sleep 0.1; do :; done"
    ran = [created(pool(image, script)).name for script in (deaf, gentle)]
    waits = created(pool(image)).name
    until(lambda: said(by) == ["ready", "ready"])
    by.stop()
    for name in ran:
        ended = kept(by, name)
        assert ended.state == JobState.JOB_STATE_CANCELLED
        assert ended.error.code == 1 and "emulator has ended" in ended.error.message
    assert kept(by, waits).state == JobState.JOB_STATE_QUEUED


def test_who_heeds_a_cancel_has_not_succeeded(emulator: Make, image: str) -> None:
    by = emulator(parallel=1)
    made = created(pool(image, "trap 'exit 0' TERM; echo ready; while sleep 0.1; do :; done"))
    until(lambda: said(by) == ["ready"])
    service().client.cancel_custom_job(name=made.name)
    until(lambda: state(made.name) == "CANCELLED")
    assert service().client.get_custom_job(name=made.name).error.code == 1
