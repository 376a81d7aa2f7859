"""A run: what is refused, what a dry run says, one job at the terminal, and a sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import consent, local_jobs, logs, resubmit, resume, run
from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest
from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.history import access
from ocicaliban.jobs import group_names
from ocicaliban.project.lockfile import Resolution

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def request(
    jobs: JobsRequest | None = None, *, sweep: str = "", args: tuple[str, ...] = (), **how: object
) -> RunRequest:
    launch = LaunchRequest(**{"mode": "run", "module": "train.py", "gpu_wanted": False, **how})  # type: ignore[arg-type]
    return RunRequest(launch=launch, jobs=jobs or JobsRequest(), experiment_config=sweep, args=args)


@pytest.mark.parametrize(
    ("jobs", "option"),
    [
        (JobsRequest(jobs=2), "--jobs"),
        (JobsRequest(gpus_per_job=1), "--gpus-per-job"),
        (JobsRequest(fail_fast=True), "--fail-fast"),
        (JobsRequest(retries=1), "--retries"),
    ],
)
def test_an_option_of_sweeps_needs_a_sweep(world: World, jobs: JobsRequest, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} needs a sweep"):
        run.run(request(jobs), [])


def test_a_run_needs_a_module_or_an_image(world: World) -> None:
    with pytest.raises(UsageError, match="run needs a MODULE"):
        run.run(request(module=""), [])


def test_a_mode_without_an_entry_point_starts_nothing(world: World) -> None:
    world.write({"ocicaliban.toml": (world.project / "ocicaliban.toml").read_text() + '[modes]\nbare = ["base"]\n'})
    with pytest.raises(UsageError, match="the mode 'bare' starts nothing") as caught:
        run.run(request(mode="bare"), [])
    assert '"command"' in caught.value.hint
    with pytest.raises(UsageError, match="starts nothing") as caught:
        run.run(request(mode="bare", module=""), [])
    assert "MODULE" in caught.value.hint


def test_a_run_in_a_subfolder_is_one_of_the_project(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write({"deep/er/fit.py": "", "deep/more/x": "x", "deep/er/s.json": '{"x": [1, 2]}'})
    monkeypatch.chdir(world.project / "deep/er")
    made = request(module="fit.py", dirs=("../more",))
    assert run.run(made, ["run"]) == 0
    [argv] = world.ran
    assert argv[argv.index("--entrypoint") + 1 :][0] == "env"
    assert argv[-3:] == ("--chdir=/usr/app/deep/er", "python3", "fit.py")
    assert f"note: the project is {world.project}\n" in capsys.readouterr().err
    with monkeypatch.context() as at_root:
        at_root.chdir(world.project)
        run.run(request(module="deep/er/fit.py", dirs=("deep/more",)), ["run"])
    with access.open() as history:
        reconcile.catch_up(history)
    job, other = world.jobs()
    assert job.submission.plan_key == other.submission.plan_key and "folder" not in other.submission.options
    assert (job.submission.project, job.submission.options["folder"]) == (str(world.project), "deep/er")
    script = "\n".join(run.dry_run_script(request(module="fit.py", dirs=("../more",))))
    assert "--dir ../more" in script and "--chdir=/usr/app/deep/er python3 fit.py" in script
    run.run(request(JobsRequest(group="g"), sweep="s.json", module="fit.py"), [])
    assert [job.status for job in world.jobs(group="g")] == ["succeeded", "succeeded"]
    monkeypatch.chdir(world.folder)
    assert resubmit.resubmit("g", all_jobs=True, rebuild=True).exit_code == 0
    assert world.jobs(group="g")[-1].submission.launch.command[1:] == ("--chdir=/usr/app/deep/er", "python3", "fit.py")


def test_one_job_leaves_a_file_for_the_history(world: World) -> None:
    world.exit_code = 3
    assert run.run(request(args=("--lr", "1")), ["run", "train.py", "--", "--lr", "1"]) == 3
    [argv] = world.ran
    assert argv[:2] == ("podman", "run") and argv[-2:] == ("--lr", "1")
    with world.history() as history:
        reconcile.catch_up(history)
    [job] = world.jobs()
    assert (job.status, job.args, job.submission.module) == ("failed", ("--lr", "1"), "train.py")
    assert job.submission.image == world.images[-1].id
    assert job.submission.options["alone"] is True


def test_a_run_that_nothing_has_recorded_yet_is_found_by_its_group(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.run(request(), ["run", "train.py"]) == 0
    assert world.jobs() == ()
    group = group_names.of_single_runs(world.project)
    list(logs.log_blocks(group))
    assert [job.submission.group for job in world.jobs()] == [group]
    assert run.run(request(), ["run", "train.py"]) == 0
    list(logs.log_blocks(group))
    assert capsys.readouterr().out == "" and len(world.jobs()) == 2


def test_a_job_of_a_group_has_its_number_before_it_starts(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = JobsRequest(group="g", out=str(world.folder / "results"), memory="1g", cpus=1.5)
    assert run.run(request(jobs, args=("x",)), []) == 0
    [job] = world.jobs()
    assert (job.status, job.submission.group, job.out) == ("succeeded", "g", f"{world.folder}/results/g/1")
    assert Path(job.out).is_dir()
    [argv] = world.ran
    assert "--memory" in argv and "1.5" in argv and "OCICALIBAN_GROUP=g" in argv
    assert f"job 1 of g; its /out is {job.out}" in capsys.readouterr().err


def test_a_notebook_has_a_folder_of_results(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write({"study.ipynb": "{}"})
    locked = Resolution(inputs="", requirements="papermill==2.6.0\n")
    monkeypatch.setattr(resolver, "resolve_additions", lambda *_: locked)
    assert run.run(request(module="study.ipynb", args=("-p", "x", "3")), []) == 0
    [job] = world.jobs()
    assert Path(job.out).is_dir() and world.ran[0][-4:] == ("study.ipynb", "-p", "x", "3")
    with pytest.raises(UsageError, match="--rm cannot be given"):
        run.run(request(module="study.ipynb", podman_args="--rm"), [])


def test_results_in_the_project_are_noted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run.run(request(JobsRequest(out=str(world.project / "results"))), [])
    assert "the next image will hold these results; choose another folder, or add the line /results" in (
        capsys.readouterr().err
    )


def test_a_given_image_is_run_and_none_is_built(world: World) -> None:
    world.image("cd" * 32, "mine:v1")
    before = len(world.images)
    assert run.run(request(image_id="mine:v1"), []) == 0
    assert "cd" * 32 in world.ran[0] and len(world.images) == before
    assert not list((world.folder / "state").rglob("plans/*"))  # nothing was built
    with pytest.raises(UsageError, match="there is no image 'none'"):
        run.run(request(image_id="none"), [])


def test_a_sweep_runs_a_job_for_each_point(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write({"sweep.json": json.dumps({"x": [1, 2, 3]})})
    jobs = JobsRequest(group="g", jobs=2, out=str(world.folder / "out"))
    assert run.run(request(jobs, sweep="sweep.json", args=("--fixed",)), []) == 0
    assert world.statuses() == ["succeeded"] * 3
    assert [job.args for job in world.jobs()] == [("--fixed", "--x", str(n)) for n in (1, 2, 3)]
    told = capsys.readouterr()
    assert "g: 3 jobs, 2 at a time" in told.err and "g: 3 succeeded" in told.err and not told.out


def test_a_sweep_with_a_failing_job_ends_with_1(world: World) -> None:
    world.write({"sweep.json": "{}"})
    assert run.run(request(sweep="sweep.json", args=("fails",)), []) == 1
    assert world.statuses() == ["failed"]


def test_a_wrong_number_of_jobs_is_told_before_anything_is_built(world: World) -> None:
    world.write({"sweep.json": "{}"})
    before = len(world.images)
    with pytest.raises(UsageError, match="--jobs"):
        run.run(request(JobsRequest(jobs=0), sweep="sweep.json"), [])
    assert len(world.images) == before and not access.exists()


def test_a_dry_run_is_a_script(world: World) -> None:
    lines = list(
        run.dry_run_script(request(JobsRequest(cpus=2), args=("a b",), dry_run=True, dirs=("data",), no_cache=True))
    )
    assert lines[0].startswith("# ")
    build = next(line for line in lines if line.startswith("image="))
    assert build == "image=$(ocicaliban build --mode run --nogpu --dir data --no-cache train.py) || exit"
    assert lines[-1].startswith("podman run ") and '"$image"' in lines[-1] and lines[-1].endswith("'a b'")
    assert "--cpus 2" in lines[-1]
    assert not world.ran and not access.exists()


def test_a_dry_run_of_a_sweep_has_a_line_for_each_job(world: World) -> None:
    world.write({"sweep.json": '{"x": [1, 2]}'})
    world.image("cd" * 32, "mine:v1")
    lines = list(run.dry_run_script(request(sweep="sweep.json", image_id="mine:v1", dry_run=True, module="")))
    assert [line.split()[-2:] for line in lines if line.startswith("podman")] == [["--x", "1"], ["--x", "2"]]
    assert all("mine:v1" in line for line in lines if line.startswith("podman"))


def test_files_are_mounted_in_place_of_layers(world: World) -> None:
    world.driver = "overlay"
    run.run(request(), [])
    [argv] = world.ran
    mount = next(word for word in argv if word.endswith(":/usr/app:O"))
    folder = Path(mount.partition(":")[0])
    assert (folder / "train.py").read_text() == ""
    assert [image.names[0].split("/")[2] for image in world.images if "ocicaliban/" in image.names[0]] == ["settings"]
    world.write({"train.py": "edited"})
    run.run(request(), [])
    assert (folder / "train.py").read_text() == ""
    other = next(word for word in world.ran[1] if word.endswith(":/usr/app:O"))
    assert other != mount
    assert (Path(other.partition(":")[0]) / "train.py").read_text() == "edited"


def test_a_sweep_whose_files_are_gone_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.driver = "overlay"
    world.write({"sweep.json": '[{"lr": 1}]'})
    monkeypatch.setattr(local_jobs, "carry_out", lambda *_, **__: 0)
    run.run(request(sweep="sweep.json"), [])
    with access.open() as history:
        [made] = history.submissions(group="")
    [mount] = made.launch.mounts
    shutil.rmtree(mount.partition(":")[0])
    with pytest.raises(UsageError, match="which its jobs mount, do not exist any more") as caught:
        resume.resume(made.group)
    assert "--rebuild" in caught.value.hint


def test_nothing_is_made_for_a_project_that_wants_what_it_is_not_allowed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(planned: object, *, build: bool = False) -> None:
        if build:
            raise UsageError("the project wants something outside of it", "ocicaliban allow")

    world.driver = "overlay"
    monkeypatch.setattr(consent, "require", require)
    with pytest.raises(UsageError, match="wants something outside"):
        run.run(request(), [])
    assert not world.ran and len(world.images) == 1
