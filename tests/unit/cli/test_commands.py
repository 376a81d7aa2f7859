"""What the commands print, and how they exit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from attrs import evolve

from ocicaliban.__main__ import main
from ocicaliban.app import cloud_jobs, push
from ocicaliban.app import notebook as notebooks
from ocicaliban.app.notebook import ListedServer, StartedServer
from ocicaliban.app.requests import CloudRequest, PushRequest
from ocicaliban.doctor import checks
from ocicaliban.doctor.finding import Finding
from ocicaliban.interactive import notebook_server
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.registry.push import Pushed
from ocicaliban.registry.reference import parse_repository
from ocicaliban.reports import html

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(world: World, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command line, and returns its exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


# --- images ---


def test_build_prints_the_image(world: World, call: Call) -> None:
    code, out, err = call("build", "train.py", "--nogpu", "--cloud-key", "k")
    assert (code, out) == (0, f"{world.images[-1].id}\n")
    assert "an image never contains a credential" in err
    _, out, _ = call("build", "--nogpu", "--json")
    assert sorted(json.loads(out)) == ["digest", "environment", "id", "key"]


def test_plan_prints_one_of_its_forms(call: Call) -> None:
    plan = ("plan", "build", "train.py", "--nogpu")
    assert "source-copy" in call(*plan)[1]
    assert json.loads(call(*plan, "--json")[1])["mode"] == "build"
    assert call(*plan, "--containerfile")[1].count("FROM") == 1
    assert call(*plan, "--diff", "run")[0] == 0
    code, _, err = call(*plan, "--json", "--diff", "run")
    assert code == 2 and "exclude each other" in err


def test_push_prints_the_reference(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PushRequest] = []

    def pushed(request: object, target: PushRequest, image_id: str) -> Pushed:
        asked.append(target)
        return Pushed(repository=parse_repository("ghcr.io/ada/x"), digest=f"sha256:{'d' * 64}", sent=1, saved=2)

    monkeypatch.setattr(push, "push", pushed)
    assert call("push", "--to", "ghcr.io/ada/x", "--tls-verify=false")[1] == f"ghcr.io/ada/x@sha256:{'d' * 64}\n"
    assert asked == [PushRequest(repository="ghcr.io/ada/x", tls_verify=False)]
    assert json.loads(call("push", "--json")[1])["saved"] == 2
    assert call("push", "--tls-verify=maybe")[0] == 2


def test_layers_are_listed_shown_and_copied(world: World, call: Call) -> None:
    assert "apt" in call("layers", "list")[1] and "apt" in call("layers", "show", "apt")[1]
    assert call("layers", "eject", "apt")[1] == f"{world.project}/layers/apt\n"
    assert call("layers", "show", "aptt")[0] == 2


def test_clean_needs_to_know_what(call: Call) -> None:
    code, _, err = call("clean")
    assert code == 2 and "say what to remove" in err


# --- runs ---


def test_run_exits_as_the_script_does(world: World, call: Call) -> None:
    world.exit_code = 7
    assert call("run", "train.py", "--nogpu", "--", "--lr", "1")[0] == 7
    assert world.ran[0][-2:] == ("--lr", "1")
    world.write({"pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\nextras = ["a", "b"]\npackages = []\n'})
    code, out, _ = call("run", "train.py", "--nogpu", "--dry-run", "-e", "a", "--extras", "b", "--memory", "1g")
    assert code == 0 and "--extras a --extras b" in out and "--memory 1073741824" in out
    assert call("run", "train.py", "--nogpu", "--out", "~/results", "-g", "g")[0] == 7
    [job] = world.jobs(group="g")
    assert job.out == f"{world.folder}/home/results/g/{job.id}"


@pytest.mark.parametrize("words", [("-m", "pkg.mod"), ("-mpkg.mod",), ("pkg.mod",)])
def test_a_module_can_be_given_as_to_python(world: World, call: Call, words: tuple[str, ...]) -> None:
    world.write({"pkg/mod.py": ""})
    assert call("run", "--nogpu", *words, "--", "-m", "x")[0] == 0
    assert world.ran[0][-5:] == (world.ran[0][-5], "-m", "pkg.mod", "-m", "x")
    assert call("run", "--nogpu", "--podman-args", "-m 1g", *words, "--dry-run")[0] == 0
    for command in (("build",), ("plan", "run")):
        assert call(*command, *words, "--nogpu", "-m")[0] == 0


def test_a_sweep_of_a_file_runs(world: World, call: Call) -> None:
    world.write({"s.json": '{"x": [1, 2]}'})
    assert call("run", "train.py", "--nogpu", "--experiment-config", "s.json", "-j", "2")[0] == 0
    assert world.statuses() == ["succeeded", "succeeded"]
    assert call("expand", "s.json")[1] == '[{"x": 1}, {"x": 2}]\n'
    assert call("expand", "s.json", "--print-flags")[1] == "--x 1\n--x 2\n"


def test_a_shell_takes_a_command(world: World, call: Call) -> None:
    assert call("shell", "--shell", "zsh", "--nogpu", "--bare", "--", "ls")[0] == 0
    assert world.ran[0][-1] == "ls" and "zsh" in world.ran[0]


# --- jobs ---


@pytest.fixture
def jobs(world: World, submission: Submission) -> None:
    """Record a job that has failed, one that has succeeded and one that is queued."""
    with world.history() as history:
        history.submit(submission, [JobSpec(parameters=(("x", n),), args=("--x", str(n))) for n in (1, 2, 3)])
    world.end(1, "failed", exit_code=1)
    world.end(2, "succeeded", exit_code=0)


def test_status_is_text_or_json(jobs: None, call: Call) -> None:
    code, out, _ = call("status", "digits")
    assert code == 0 and "digits: 1 queued, 1 succeeded, 1 failed" in out and "train.py --x 2" in out
    assert {each["id"] for each in json.loads(call("status", "--json", "--max-jobs", "0")[1])} == {1, 2, 3}
    for words, told in (
        (("--watch", "--json"), "--watch and --json exclude each other"),
        (("--disk", "--watch"), "--disk and --watch exclude each other"),
        (("--disk", "digits"), "--disk and a group exclude each other"),
        (("--disk", "--all"), "--disk and --all exclude each other"),
        (("--disk", "--max-jobs", "0"), "--disk and --max-jobs exclude each other"),
        (("a", "--group", "b"), "two groups are named: a and b"),
        (("dig",), "there is no group 'dig'"),
    ):
        code, _, err = call("status", *words)
        assert code == 2 and told in err


def test_watching_goes_on_until_ctrl_c(jobs: None, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    code, out, _ = call("status", "--watch")
    assert code == 130 and "digits: 1 queued" in out


def test_logs_are_written_as_they_are(
    world: World, submission: Submission, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    world.submit(submission, ())
    log = world.folder / "log"
    log.write_bytes("größer\n".encode())
    with world.history() as history:
        attempt = history.begin(1, started=1.0, log=lambda _: str(log))
        assert attempt
        history.end(1, attempt.number, "succeeded", exit_code=0, ended=2.0)
    assert main(["logs", "1"]) == 0
    assert capsysbinary.readouterr().out == "größer\n".encode()


def test_stop_lists_the_jobs(world: World, submission: Submission, jobs: None, call: Call) -> None:
    assert call("stop", "3", "--dry-run")[1] == "3  queued, would be stopped\n"
    assert call("stop", "-g", "digits")[:2] == (0, "3  stopped\n")
    world.submit(evolve(submission, host="other"), ())
    world.begin(4)
    code, _, err = call("stop", "4")
    assert code == 1 and "job 4 runs on other: stop it there" in err
    assert call("stop")[0] == 2


def test_what_is_left_or_failed_runs_again(world: World, jobs: None, call: Call) -> None:
    assert call("resubmit")[0] == 2
    assert call("resume")[0] == 0
    assert world.statuses() == ["failed", "succeeded", "succeeded"]
    assert call("resubmit", "-g", "digits", "--dry-run")[1] == "1  failed, would run again: train.py --x 1\n"
    assert call("resubmit", "-g", "digits", "--all-jobs")[0] == 0
    assert [len(job.attempts) for job in world.jobs()] == [2, 2, 2]


def test_a_report_has_several_forms(world: World, jobs: None, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "plotly", lambda: "/* draws */")
    code, out, err = call("report", "digits", "--where", "x<3")
    assert code == 0 and "digits" in out and "no job has reported a result" in err
    assert "(no job matches)" in call("report", "digits", "--where", "x>5")[1]
    assert json.loads(call("report", "digits", "--json")[1])
    assert call("report", "digits", "--csv", "-", "--columns", "id,x")[1].splitlines()[0] == "id,x"
    assert "written: ~/p.html" not in call("report", "digits", "--html", "-")[2]
    assert call("report", "digits", "--html", "~/p.html")[1] == ""
    assert "/* draws */" in (world.folder / "home/p.html").read_text()
    for words, told in (
        (("none",), "there is no group 'none'"),
        (("digits", "--json", "--csv", "-"), "stdout can take only one of"),
        (("digits", "--csv", "none/x.csv"), "there is no folder"),
        (("digits", "--serve", "--html", "x"), "--serve and --html exclude each other"),
        (("digits", "--serve", "--to", "mlflow", "x"), "--serve and --to exclude each other"),
        (("digits", "--to", "mlflow", "x", "--json"), "--to and --json exclude each other"),
        (("digits", "--to", "mlflow", "x", "--csv", "-"), "--to and --csv exclude each other"),
        (("digits", "--port", "80"), "--port is for --serve"),
        (("digits", "--serve", "--port", "99999"), "99999 is not in the range"),
        (("digits", "--serve", "--port", "-1"), "-1 is not in the range"),
    ):
        code, _, err = call("report", *words)
        assert code == 2 and told in err


# --- the cloud ---


CLOUD = ("cloud", "train.py", "--to", "ghcr.io/ada/digits")


def test_a_dry_run_prints_the_jobs(call: Call) -> None:
    code, out, _ = call(*CLOUD, "--dry-run", "-l", "team=vision", "--", "--lr", "1")
    assert code == 0 and json.loads(out.splitlines()[-1])["labels"]["team"] == "vision"
    assert call(*CLOUD, "--mount")[0] == 2


def test_many_jobs_are_submitted_only_if_that_is_meant(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[CloudRequest, int]] = []

    def submit(jobs: cloud_jobs.CloudJobs) -> str:
        asked.append((jobs.request, jobs.count))
        return "digits-group"

    monkeypatch.setattr(cloud_jobs, "submit", submit)
    world.write({"s.json": json.dumps({"x": [*range(1001)]})})
    sweep = ("--experiment-config", "s.json")
    code, _, err = call(*CLOUD, *sweep)
    assert code == 2 and "this would submit 1001 jobs" in err and not asked
    assert call(*CLOUD, *sweep, "--yes", "--tls-verify=false", "-e", "x")[:2] == (0, "digits-group\n")
    [(request, count)] = asked
    assert count == 1001 and not request.tls_verify and request.extras == ("x",) and not request.gpu


# --- notebooks and the machine ---


SERVER = NotebookServer(
    container="c",
    settings=NotebookSettings(
        project="/p/digits", port=9000, interface="lab", environment="e", version="", variant="cpu", extras=()
    ),
    token="secret",
)


def test_notebooks_are_started_listed_and_ended(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(notebook_server, "stop", lambda server: ended.append(server.name))
    monkeypatch.setattr(notebook_server, "wait_for_end", lambda server: None)
    monkeypatch.setattr(notebooks, "listed", lambda: [ListedServer(server=SERVER, remark="old")])
    monkeypatch.setattr(notebooks, "stop", lambda name: [SERVER])
    monkeypatch.setattr(
        notebooks, "start", lambda asked, wanted: StartedServer(server=SERVER, summary="on the CPU", tunnel="ssh x")
    )
    assert call("notebook", "--list")[1] == f"digits-9000  {SERVER.url}  /p/digits  (old)\n"
    assert call("notebook", "--stop", "all")[2] == "digits-9000 has ended\n"
    assert call("notebook", "--list", "--stop", "all")[0] == 2
    code, out, err = call("notebook", "--detach", "--nogpu")
    assert (code, out) == (0, f"{SERVER.url}\n") and "`ocicaliban notebook --stop digits-9000` ends it" in err
    assert "run there as long as you need it: ssh x" in err and ended == []
    assert "Ctrl-C ends it" in call("notebook", "--nogpu")[2] and ended == ["digits-9000"]


def test_doctor_fails_if_there_is_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding(name="podman", level="error", message="is missing\nhere", remedy="install it")]
    monkeypatch.setattr(checks, "examine", lambda: findings)
    told = f"error    podman: is missing\n{'':<9}here\n{'':<9}install it\n\nnot ready: 1 error, 0 ok\n"
    assert call("doctor")[:2] == (1, told)
    assert json.loads(call("doctor", "--json")[1])[0]["level"] == "error"
    findings.clear()
    assert call("doctor")[0] == 0


def test_an_unknown_command_is_told(call: Call) -> None:
    assert call("rum")[0] == 2
    assert call("--version")[1].startswith("ocicaliban ")
