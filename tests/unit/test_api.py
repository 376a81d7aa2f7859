"""The functions for scripts and notebooks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import ocicaliban
from ocicaliban import api
from ocicaliban.app import run as run_use_case
from ocicaliban.app.requests import RunRequest
from ocicaliban.errors import UsageError
from ocicaliban.history import access
from ocicaliban.jobs import provenance
from ocicaliban.model.job import JobSpec, Submission


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and a history of its own; `run` runs nothing, and each job of it succeeds."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "ocicaliban.toml").touch()
    monkeypatch.setenv("OCICALIBAN_DB_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunRequest]:
    requests: list[RunRequest] = []

    def run(request: RunRequest, argv: list[str], submitted: Callable[[int], object]) -> int:
        requests.append(request)
        points: list[Mapping[str, Any]] = [{}]
        if request.experiment_config:
            points = [{"lr": lr} for lr in json.loads(Path(request.experiment_config).read_text())["lr"]]
        specs = [JobSpec(parameters=tuple(point.items()), args=request.args) for point in points]
        submission = Submission(
            target="local", group=request.jobs.group, user=provenance.user(), host="h", project=str(Path.cwd()),
            mode="run", module=request.launch.module,
        )  # fmt: skip
        with access.open() as history:
            if request.jobs.group == "shared":
                history.submit(submission, specs)  # of another process, at the same time
            made = history.submit(submission, specs)
            submitted(made.id)
            for number, job in enumerate(history.jobs(submission=made.id)):
                out = project.parent / f"out-{job.id}"
                out.mkdir()
                (out / "metrics.json").write_text(json.dumps({"accuracy": number / 10}))
                attempt = history.begin(job.id, started=1.0, out=str(out))
                assert attempt
                history.end(job.id, attempt.number, "succeeded", exit_code=0, ended=2.0)
        return 0

    monkeypatch.setattr(run_use_case, "run", run)
    return requests


def test_an_import_loads_nothing_of_the_program() -> None:
    code = "import sys, ocicaliban; print([name for name in sys.modules if name.startswith('ocicaliban')])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(ocicaliban.__file__).parents[1],
    )
    assert done.stdout == "['ocicaliban']\n"
    assert {name: getattr(ocicaliban, name) for name in ocicaliban.__all__} == {
        name: getattr(api, name) for name in ("run", "sweep", "status", "report")
    }
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        ocicaliban.runn  # noqa: B018


def test_a_run_gives_the_record_of_its_job(asked: list[RunRequest], project: Path) -> None:
    made = ocicaliban.run("train.py", "--lr", 0.1, env={"A": "b c"}, gpu=False)
    assert made["status"] == "succeeded" and made["args"] == ["--lr", "0.1"] and made["exit_code"] == 0
    assert made["group"].startswith("project-runs-")
    assert asked[0].launch.podman_args == "--env 'A=b c'" and asked[0].launch.gpu_wanted is False
    assert ocicaliban.status(made["group"]) == [made]


def test_a_sweep_gives_the_records_of_its_jobs_and_no_others(asked: list[RunRequest], tmp_path: Path) -> None:
    first = ocicaliban.sweep({"lr": [0.1, 0.2]}, "train.py", group="g", project=".", jobs=2, out=tmp_path / "o")
    more = ocicaliban.sweep({"lr": range(1, 4)}, "train.py", "--verbose", group="g")
    assert [job["parameters"]["lr"] for job in more] == [1, 2, 3] and len(first) == 2
    assert asked[0].jobs.jobs == 2 and asked[0].jobs.out == str(tmp_path / "o")
    assert not Path(asked[0].experiment_config).exists(), "the file was for the call alone"
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        ocicaliban.sweep({"lr": [object()]}, "train.py")
    with pytest.raises(UsageError, match="no/such: No such file"):
        ocicaliban.sweep({"lr": [1]}, "train.py", project="no/such")


def test_jobs_that_another_process_submits_meanwhile_are_not_ours(asked: list[RunRequest]) -> None:
    assert ocicaliban.run("train.py", group="shared")["id"] == 2
    assert [job["id"] for job in ocicaliban.sweep({"lr": [1, 2]}, "train.py", group="shared")] == [5, 6]


def test_a_report_is_a_data_frame_or_records(asked: list[RunRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    ocicaliban.sweep({"lr": [0.1, 0.2, 0.3]}, "train.py", group="g")
    records = ocicaliban.report("g", frame=False, where="accuracy>0")
    assert [job["metrics"]["accuracy"] for job in records] == [0.2, 0.1], "the best first"

    class Pandas:
        DataFrame = staticmethod(lambda rows, columns: (rows, columns))

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    rows, columns = ocicaliban.report()
    assert columns == ["id", "status", "duration", "lr", "accuracy"] and rows[0]["lr"] == 0.3
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert ocicaliban.report("g") == ocicaliban.report("g", frame=False)
    with pytest.raises(UsageError, match="needs the package pandas"):
        ocicaliban.report("g", frame=True)
