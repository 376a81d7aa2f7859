"""The local target with the real podman: nothing lost, nothing twice, whatever happens to us."""

import contextlib
import hashlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from ocicaliban.containers import cgroups, podman_api
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.jobs import log_file, log_parts
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.model.resources import Resources
from ocicaliban.targets.container_runner import ContainerExit, NameTaken
from ocicaliban.targets.local import exit_watcher, listing, runner
from tests.folders import write
from tests.integration.program import REPOSITORY, environment, ok


@pytest.fixture(scope="module")
def image(base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    config = '[layers.base]\nbootstrap = "debian:bookworm"\n'
    folder = write(tmp_path_factory.mktemp("image"), {"ocicaliban.toml": config, "ocicaliban.lock": base_lock})
    return ok(folder, "build", "--nogpu").stdout.strip()


@frozen(kw_only=True)
class Jobs:
    """A submission of its own, and where its jobs write."""

    folder: Path
    image: str
    tag: str = field(factory=lambda: uuid.uuid4().hex[:8])
    ends: "queue.SimpleQueue[ContainerExit]" = field(factory=queue.SimpleQueue)

    def job(self, script: str, number: int = 0) -> Job:
        submission = Submission(target="local", id=1, group=self.tag, user="u", host="h", project="/p", mode="run")
        return Job(
            id=number, key=f"{self.tag}-{number}", submission=submission, parameters=(("n", number),),
            args=("sh", "-c", script), out=str(self.folder / "out" / str(number)),
        )  # fmt: skip

    def attempt(self, job: Job, number: int = 1) -> Attempt:
        name = f"{job.key}-{number}"
        return Attempt(number=number, handle=f"ocicaliban-test-{name}", log=str(self.folder / f"{name}.log"))

    def target(self, podman: podman_api.PodmanApi, **setup: Any) -> runner.LocalRunner:
        return runner.LocalRunner(
            podman, runner.Setup(image=self.image, **{"launch": Launch(), **setup}), self.ends.put
        )

    def end(self) -> ContainerExit:
        return self.ends.get(timeout=60)


@pytest.fixture
def jobs(image: str, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(folder=tmp_path, image=image)
    yield jobs
    for _ in range(3):  # podman needs two for a container whose conmon was killed
        argv = ["podman", "ps", "-aq", "--filter", f"label=ocicaliban.group={jobs.tag}"]
        left = subprocess.run(argv, capture_output=True, text=True).stdout.split()
        if left:
            subprocess.run(["podman", "rm", "-f", "-t", "0", *left], capture_output=True)
    assert not left


@pytest.fixture(scope="module")
def podman(image: str) -> Iterator[podman_api.PodmanApi]:
    with podman_api.connected(image) as connected:
        yield connected


@pytest.fixture
def target(jobs: Jobs, podman: podman_api.PodmanApi) -> Iterator[runner.LocalRunner]:
    target = jobs.target(podman)
    yield target
    target.close()


def run(jobs: Jobs, target: runner.LocalRunner, script: str) -> tuple[ContainerExit, str]:
    """The end of a job, and its plain log's path."""
    job = jobs.job(script)
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    ended = jobs.end()
    log_file.plain(attempt.log)
    return ended, attempt.log


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


def test_what_a_job_sees(jobs: Jobs, target: runner.LocalRunner) -> None:
    before = time.time()
    script = "env | grep OCICALIBAN_ | sort; echo result > /out/metrics.json; exit 3"
    ended, log = run(jobs, target, script)
    assert (ended.exit_code, ended.oom_killed) == (3, False)
    assert before - 1 < ended.started <= ended.ended < time.time() + 1
    seen = dict(line.split("=", 1) for line in Path(log).read_text().splitlines())
    assert int(seen.pop("OCICALIBAN_PORT")) > 1024 and seen.pop("OCICALIBAN_JOB")
    assert seen.pop("OCICALIBAN_IMAGE") is not None and seen.pop("OCICALIBAN_DIRTY") == "false"
    assert seen == {
        "OCICALIBAN_GROUP": jobs.tag, "OCICALIBAN_PARAMETERS": '{"n": 0}', "OCICALIBAN_COMMIT": "",
    }  # fmt: skip
    results = jobs.folder / "out" / "0" / "metrics.json"
    assert results.read_text() == "result\n" and results.stat().st_uid == os.getuid()


def test_the_log_of_a_fast_writer_is_whole(jobs: Jobs, target: runner.LocalRunner) -> None:
    ended, log = run(jobs, target, "yes '0123456789 a line of a job' | head -c 100000000; printf end")
    assert ended.exit_code == 0
    data = Path(log).read_bytes()
    assert len(data) == 100_000_003 and data.endswith(b"end")
    assert data[:-3] == (b"0123456789 a line of a job\n" * (100_000_000 // 27 + 1))[:100_000_000]


def test_the_log_of_what_is_no_text_is_whole(jobs: Jobs, target: runner.LocalRunner) -> None:
    written = os.urandom(3_000_000) + b"\0\n\r\n"
    (jobs.folder / "out" / "0").mkdir(parents=True)
    (jobs.folder / "out" / "0" / "bytes").write_bytes(written)
    ended, log = run(jobs, target, "cat /out/bytes")
    assert ended.exit_code == 0
    assert hashlib.sha256(Path(log).read_bytes()).digest() == hashlib.sha256(written).digest()


def test_the_last_line_while_it_runs_and_the_log_as_it_grows(jobs: Jobs, target: runner.LocalRunner) -> None:
    job = jobs.job("printf ' 10%%\\r 20%%\\r'; until [ -e /out/go ]; do sleep 0.05; done; echo; echo done")
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    eventually(lambda: log_file.last_line(attempt.log) == "20%")
    followed = log_file.follow(attempt.log, lambda: attempt.handle not in target.find(group=jobs.tag))
    text = next(followed)
    (jobs.folder / "out" / "0" / "go").touch()
    assert jobs.end().exit_code == 0
    log_file.plain(attempt.log)
    target.remove(attempt.handle)
    assert text + b"".join(followed) == b" 10%\r 20%\r\ndone\n"


def test_a_name_that_is_taken_is_never_started_twice(jobs: Jobs, target: runner.LocalRunner) -> None:
    job = jobs.job("echo x >> /out/started; sleep 1000")
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    with pytest.raises(NameTaken):
        target.start(job, attempt)
    assert target.find(group=jobs.tag)[attempt.handle].state == "running"
    target.start(job, jobs.attempt(job, 2))
    found = target.find(group=jobs.tag)
    assert {about.labels["attempt"] for about in found.values()} == {"1", "2"}
    assert {about.labels["job"] for about in found.values()} == {job.key}


@pytest.mark.parametrize(
    ("script", "name", "code"),
    [
        ("sleep 1000", "TERM", 143),
        ("sleep 1000", "KILL", 137),
        ("trap 'exit 7' TERM; touch /out/trapped; while :; do sleep 0.05; done", "TERM", 7),
    ],
)
def test_signals(jobs: Jobs, target: runner.LocalRunner, script: str, name: Any, code: int) -> None:
    job = jobs.job(f"touch /out/up; {script}")
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    eventually(lambda: (jobs.folder / "out" / "0" / ("trapped" if "trap" in script else "up")).exists())
    assert target.signal(attempt.handle, name)
    assert jobs.end().exit_code == code
    assert not target.signal(attempt.handle, name)
    found = target.find(group=jobs.tag)[attempt.handle]
    assert (found.state, found.exit_code) == ("exited", code)
    assert listing.find(group=jobs.tag) == {attempt.handle: found}
    target.remove(attempt.handle)
    target.remove(attempt.handle)
    assert not target.find(group=jobs.tag) and not target.signal(attempt.handle, name)


def test_many_jobs_at_a_time_end_one_by_one(jobs: Jobs, target: runner.LocalRunner) -> None:
    for number in range(12):
        job = jobs.job(f"exit {number}", number)
        target.start(job, jobs.attempt(job))
    ends = {ended.handle: ended.exit_code for ended in (jobs.end() for _ in range(12))}
    assert ends == {jobs.attempt(jobs.job("", number)).handle: number for number in range(12)}
    for handle in ends:
        target.remove(handle)
    assert not target.find(group=jobs.tag)


def test_a_container_that_somebody_removes_has_ended(jobs: Jobs, target: runner.LocalRunner) -> None:
    job = jobs.job("sleep 1000")
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    subprocess.run(["podman", "rm", "-f", "-t", "0", attempt.handle], check=True, capture_output=True)
    assert jobs.end().exit_code in (None, 137)


def test_a_container_whose_conmon_was_killed_is_not_taken_for_succeeded(
    jobs: Jobs, podman: podman_api.PodmanApi, target: runner.LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_watcher, "_PATIENCE", 1.0)
    job = jobs.job("sleep 1000")
    attempt = jobs.attempt(job)
    target.start(job, attempt)
    inspected = podman.call("get", f"/containers/{attempt.handle}/json")
    os.kill(int(Path(inspected["ConmonPidFile"]).read_text()), signal.SIGKILL)
    assert jobs.ends.empty()
    os.kill(inspected["State"]["Pid"], signal.SIGKILL)
    assert jobs.end().exit_code is None
    target.remove(attempt.handle)
    assert not target.find(group=jobs.tag)


def test_what_cannot_be_started_is_told_and_leaves_nothing(jobs: Jobs, podman: podman_api.PodmanApi) -> None:
    def fault(devices: tuple[cdi.Device, ...] = (), image: str = jobs.image, **setup: Any) -> OcicalibanError:
        target = runner.LocalRunner(podman, runner.Setup(image=image, **{"launch": Launch(), **setup}), jobs.ends.put)
        job = jobs.job("true")
        with pytest.raises(OcicalibanError) as raised:
            target.start(job, jobs.attempt(job), devices)
        target.close()
        assert not listing.find(group=jobs.tag)
        return raised.value

    gone = fault(image="0" * 64)
    assert "image not known" in gone.message and "--rebuild" in gone.hint
    gone = fault(image="0" * 64, given=("--cap-drop", "all"))
    assert "--rebuild" in gone.hint
    mount = fault(launch=Launch(mounts=("/is/not/there:/x",)))
    assert "/is/not/there" in mount.message and "mounted" in mount.hint
    wrong = fault(given=("--cap-drop", "nonsense"))
    assert "CAP_NONSENSE" in wrong.message and "Error" not in wrong.message


def test_options_for_podman_and_a_variable_whose_value_is_not_kept(
    jobs: Jobs, podman: podman_api.PodmanApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("-e", "OC_SECRET", "--hostname", "box", "-v", f"{jobs.folder}:/x:ro")
    with pytest.raises(UsageError, match="OC_SECRET"):
        jobs.target(podman, given=given)
    monkeypatch.setenv("OC_SECRET", "s3")
    target = jobs.target(podman, given=given)
    ended, log = run(jobs, target, "echo $OC_SECRET $(hostname); ls -d /x /out; yes | head -n 100000")
    target.close()
    assert ended.exit_code == 0
    assert Path(log).read_text() == "s3 box\n/out\n/x\n" + "y\n" * 100_000
    (found,) = listing.find(job=f"{jobs.tag}-0").values()
    assert found.labels == {"job": f"{jobs.tag}-0", "attempt": "1", "group": jobs.tag, "submission": "1"}


def test_each_job_has_its_gpus_alone(jobs: Jobs, target: runner.LocalRunner) -> None:
    """A made-up vendor, whose spec is where podman does not look, with a hook."""
    hook = jobs.folder / "hook"
    hook.write_text(f"#!/bin/sh\ncat > /dev/null; echo $1 >> {jobs.folder}/hooked\n")
    hook.chmod(0o755)
    devices = [
        {"name": name, "containerEdits": {
            "deviceNodes": [{"path": f"/dev/examplegpu{name}", "hostPath": "/dev/null"}],
            "hooks": [{"hookName": "createRuntime", "path": str(hook), "args": ["hook", f"gpu{name}"]}],
        }}
        for name in ("0", "1")
    ]  # fmt: skip
    specs = write(
        jobs.folder / "cdi",
        {"a.json": json.dumps({"cdiVersion": "0.5.0", "kind": "example.com/gpu", "devices": devices})},
    )
    found = cdi.discover([specs]).devices
    for number, device in enumerate(found):
        job = jobs.job("ls /dev | grep examplegpu", number)
        target.start(job, jobs.attempt(job), (device,))
        assert jobs.end().exit_code == 0
        log_file.plain(jobs.attempt(job).log)
        assert Path(jobs.attempt(job).log).read_text() == f"examplegpu{number}\n"
    assert (jobs.folder / "hooked").read_text() == "gpu0\ngpu1\n"


def test_a_gpu_that_podman_does_not_find_is_told(
    jobs: Jobs, target: runner.LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        podman_options, "container_options", lambda devices, version: ((), ("--device", devices[0].qualified))
    )
    gone = cdi.Device(kind="example.com/gpu", name="9", spec=Path("/gone.json"), version="0.5.0")
    job = jobs.job("true")
    with pytest.raises(OcicalibanError, match=r"unresolvable CDI devices example\.com/gpu=9") as raised:
        target.start(job, jobs.attempt(job), (gone,))
    assert "doctor" in raised.value.hint and not target.find(group=jobs.tag)


def test_a_container_has_the_limits_of_open_files_that_podmans_command_line_gives(
    jobs: Jobs, podman: podman_api.PodmanApi
) -> None:
    said = []
    for number, given in enumerate(((), ("--annotation", "a=b"))):
        target = jobs.target(podman, given=given)
        job = jobs.job(
            "ulimit -Sn; ulimit -Hn; cat /proc/self/limits | grep processes; umask; grep Cap /proc/self/status", number
        )
        target.start(job, jobs.attempt(job))
        assert jobs.end().exit_code == 0
        target.close()
        log_file.plain(jobs.attempt(job).log)
        said.append(Path(jobs.attempt(job).log).read_text())
    assert said[0] == said[1]


def test_a_log_has_a_limit_and_the_job_goes_on(jobs: Jobs, podman: podman_api.PodmanApi) -> None:
    for number, given in enumerate(((), ("--annotation", "a=b"))):
        target = jobs.target(podman, given=given, log_limit=100_000)
        job = jobs.job("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo the end; exit 3", number)
        attempt = jobs.attempt(job)
        target.start(job, attempt)
        assert jobs.end().exit_code == 3
        target.close()
        sizes = [path.stat().st_size for path in Path(attempt.log).parent.glob(f"{Path(attempt.log).name}.*")]
        assert len(sizes) == 2 and sum(sizes) <= 100_000
        log_file.plain(attempt.log)
        first, gap, last = Path(attempt.log).read_bytes().partition(log_parts.GAP)
        assert first.startswith(b"line 0\nline 1\n") and gap
        assert last.endswith(b"\nline 19999\nthe end\n" + log_parts.END)


def test_limits_are_kept_or_refused(jobs: Jobs, podman: podman_api.PodmanApi) -> None:
    limits = Resources(cpus=0.5, memory=64 << 20)
    if {"cpu", "memory"} <= {*podman.controllers()}:
        target = jobs.target(podman, resources=limits)
        ended, _ = run(jobs, target, "python3 -c 'b = bytearray(512 << 20)'")
        target.close()
        assert (ended.exit_code, ended.oom_killed) == (137, True)
    else:
        with pytest.raises(UsageError, match="--cpus has no effect"):
            jobs.target(podman, resources=limits)


DRIVER = """\
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from tests.integration.test_local_target import Jobs
    from ocicaliban.containers import podman_api
    jobs = Jobs(folder=Path({folder!r}), image={image!r}, tag={tag!r})
    with podman_api.connected(jobs.image) as podman:
        print(podman._private.socket, flush=True)
        target = jobs.target(podman)
        for number in range(4):
            script = f"echo x >> /out/started; sleep {{2 * number}}; echo done; exit {{number}}"
            job = jobs.job(script, number)
            target.start(job, jobs.attempt(job))
            print(number, flush=True)
        {then}
"""


def driver(jobs: Jobs, then: str) -> "subprocess.Popen[str]":
    text = textwrap.dedent(DRIVER).format(
        repository=str(REPOSITORY), folder=str(jobs.folder), image=jobs.image, tag=jobs.tag, then=then
    )
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env=environment())


def test_after_a_kill_of_us_the_jobs_go_on_and_are_found_again(jobs: Jobs, podman: podman_api.PodmanApi) -> None:
    child = driver(jobs, "time.sleep(1000)")
    assert child.stdout is not None
    socket = Path(child.stdout.readline().strip())
    assert "3\n" in iter(child.stdout.readline, "")
    child.kill()
    child.wait()
    target = jobs.target(podman)
    found = target.find(group=jobs.tag)
    assert len(found) == 4
    for handle in found:
        target.watch(handle)
    codes = {ended.handle: ended.exit_code for ended in (jobs.end() for _ in range(4))}
    target.close()
    assert codes == {jobs.attempt(jobs.job("", number)).handle: number for number in range(4)}
    for number in range(4):
        job = jobs.job("", number)
        log_file.plain(jobs.attempt(job).log)
        assert Path(jobs.attempt(job).log).read_text() == "done\n"
        assert (Path(job.out) / "started").read_text() == "x\n"
    eventually(lambda: not podman_api._accepts_connections(socket))  # podman ended it, since nobody was connected
    with podman_api.connected(jobs.image):
        assert not socket.parent.exists()


def test_after_a_kill_at_any_moment_each_job_runs_once(jobs: Jobs) -> None:
    child = driver(jobs, "time.sleep(1000)")
    assert child.stdout is not None
    socket = Path(child.stdout.readline().strip())
    time.sleep(random.uniform(0, 0.4))
    child.kill()
    child.wait()
    todo = {number: jobs.job(f"echo x >> /out/started; exit {number}", number) for number in range(4)}
    with podman_api.connected(jobs.image) as podman:
        assert not socket.exists()
        target = jobs.target(podman)
        found = target.find(group=jobs.tag)
        for job in todo.values():
            attempt = jobs.attempt(job)
            if attempt.handle in found and found[attempt.handle].state != "created":
                target.watch(attempt.handle)
                continue
            target.remove(attempt.handle)
            target.start(job, attempt)
        codes = {ended.handle: ended.exit_code for ended in (jobs.end() for _ in todo)}
        target.close()
    assert codes == {jobs.attempt(job).handle: number for number, job in todo.items()}
    assert [(Path(job.out) / "started").read_text() for job in todo.values()] == ["x\n"] * 4


def test_a_service_is_stopped_and_its_folder_removed(jobs: Jobs) -> None:
    child = driver(jobs, "sys.exit(5)")
    assert child.stdout is not None
    socket = Path(child.stdout.readline().strip())
    child.communicate()
    assert child.returncode == 5 and not socket.parent.exists()
    found = listing.find(group=jobs.tag)
    assert len(found) == 4  # what runs goes on


def test_two_services_at_once_and_one_that_dies(jobs: Jobs, podman: podman_api.PodmanApi) -> None:
    with podman_api.connected(jobs.image) as other:
        assert other._private is not None and podman._private is not other._private
        assert other._private.socket.parent.stat().st_mode & 0o777 == 0o700
        target = jobs.target(other)
        job = jobs.job("until [ -e /out/go ]; do sleep 0.05; done")
        attempt = jobs.attempt(job)
        target.start(job, attempt)
        other._private._process.stop()
        assert jobs.target(podman).find(group=jobs.tag)[attempt.handle].state == "running"
        (jobs.folder / "out" / "0" / "go").touch()
        assert jobs.end().exit_code == 0  # by a new service
        target.remove(attempt.handle)
        target.close()


def kill_podman(group: int) -> None:
    """Kill podman's processes of a process group, as `pkill -9 podman` does; its conmons go on."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text() == "podman\n" and os.getpgid(int(entry.name)) == group:
                os.kill(int(entry.name), signal.SIGKILL)


def test_a_service_that_is_killed_again_and_again_loses_no_job_and_runs_none_twice(jobs: Jobs) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    dice = random.Random(seed)
    todo = [
        jobs.job(f"echo x >> /out/started; sleep 0.{2 + number % 4}; exit {number}", number) for number in range(24)
    ]
    with podman_api.connected(jobs.image) as service, ThreadPoolExecutor(4) as starters:
        target = jobs.target(service)
        started = [starters.submit(target.start, job, jobs.attempt(job)) for job in todo]
        for _ in range(8):
            time.sleep(dice.uniform(0.05, 0.6))
            if service._private is not None:
                kill_podman(service._private._process._child.pid)
        for each in started:
            each.result()
        codes = {ended.handle: ended.exit_code for ended in (jobs.end() for _ in todo)}
        target.close()
    assert codes == {jobs.attempt(job).handle: job.id for job in todo}
    assert [(Path(job.out) / "started").read_text() for job in todo] == ["x\n"] * len(todo)


def test_the_users_own_service_is_used_where_it_has_the_image(
    jobs: Jobs,
) -> None:
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    path = runtime / "podman" / "podman.sock"
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    users = subprocess.Popen(["podman", "system", "service", "--time=0", f"unix://{path}"])
    try:
        eventually(lambda: podman_api._accepts_connections(path))
        with podman_api.connected(jobs.image) as connected:
            # A service that another started does not see cgroups as `cgroups.in_cgroup2` gives them.
            assert (connected._private is None) == (not cgroups.hybrid())
            target = jobs.target(connected)
            assert run(jobs, target, "exit 4")[0].exit_code == 4
            target.close()
        with podman_api.connected("0" * 64) as connected:
            assert connected._private is not None
    finally:
        users.terminate()
        users.wait()


def test_after_a_loss_of_power_no_job_is_taken_for_succeeded(jobs: Jobs) -> None:
    """A store and a runtime folder of its own, whose runtime state is removed as a reboot does."""
    top = Path("/tmp") / f"oc-{jobs.tag}"
    storage = Path.home() / ".local" / "share" / "containers" / "storage"
    runtime = top / "run"
    runtime.mkdir(parents=True, mode=0o700)
    write(top, {
        "storage.conf": f'[storage]\ndriver = "overlay"\nrunroot = "{runtime}/containers"\n'
        f'graphroot = "{top}/store"\nrootless_storage_path = "{top}/store"\n'
        f'[storage.options]\nadditionalimagestores = ["{storage}"]\n',
        "containers.conf": '[engine]\nlock_type = "file"\n',  # else it shares the user's locks
    })  # fmt: skip
    own = {"STORAGE_CONF": top / "storage.conf", "CONF": top / "containers.conf"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        for name, value in own.items():
            patch.setenv(f"CONTAINERS_{name}", str(value))
        try:
            with podman_api.connected(jobs.image) as podman:
                target = jobs.target(podman)
                long, short = jobs.job("sleep 1000", 1), jobs.job("exit 3", 2)
                target.start(short, jobs.attempt(short))
                assert jobs.end().exit_code == 3
                target.start(long, jobs.attempt(long))
                handle = jobs.attempt(long).handle
                inspected = podman.call("get", f"/containers/{handle}/json")
                target.close()
            os.kill(int(Path(inspected["ConmonPidFile"]).read_text()), signal.SIGKILL)
            os.kill(inspected["State"]["Pid"], signal.SIGKILL)
            subprocess.run(["podman", "unshare", "rm", "-rf", *map(str, runtime.iterdir())], check=True)
            for found in (listing.find(group=jobs.tag), listing.find()):
                assert (found[handle].state, found[handle].exit_code) == ("exited", None)
                assert found[jobs.attempt(short).handle].exit_code == 3
            with podman_api.connected(jobs.image) as podman:
                target = jobs.target(podman)
                target.watch(handle)
                ended = jobs.end()
                assert (ended.handle, ended.exit_code) == (handle, None)
                target.remove(handle)
                target.close()
        finally:
            subprocess.run(["podman", "rm", "-af", "-t", "0"], capture_output=True)
            subprocess.run(["podman", "unshare", "rm", "-rf", str(top)], capture_output=True)
            shutil.rmtree(top, ignore_errors=True)
