"""Searches: Optuna itself, and one with real containers that is killed and taken up again."""

import json
import subprocess
from pathlib import Path

from ocicaliban.jobs import sweep_file
from ocicaliban.model.job import Parameters
from ocicaliban.search import optuna_study, trials
from ocicaliban.search import space as spaces
from ocicaliban.search.space import Space
from ocicaliban.search.trials import Trial
from tests.folders import write
from tests.integration.program import CONFIG, command, environment, ok, until

SPACE = '{"lr": {"log": [1e-5, 1e-1]}, "layers": {"int": [1, 8]}, "optimizer": ["sgd", "adam"]}'
JOB = """
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open("/out/begun", "a") as file:
    print(sys.argv, file=file)
with open("/out/metrics.json", "w") as file:
    json.dump({"acc": 1 - abs(float(given["--lr"]) - 0.01) - abs(int(given["--layers"]) - 3) / 10}, file)
"""
ACC = trials.goal("acc:max")


def _space(text: str = SPACE) -> Space:
    return spaces.of_sweep(sweep_file.parse(text, "json", "s"))


def _value(point: Parameters) -> float:
    given = dict(point)
    return 1 - abs(float(given["lr"]) - 0.01) * 9 - abs(int(given["layers"]) - 3) / 10


def test_optuna_s_next_point_follows_from_what_is_on_record() -> None:
    known: list[Trial] = []
    for number in range(30):
        point = optuna_study.next_point(_space(), ACC, "g", number, known)
        assert point is not None and spaces.place(_space(), point) is not None
        # As another process has it after a kill, and while others run.
        assert optuna_study.next_point(_space(), ACC, "g", number, list(known)) == point
        value = None if number % 7 == 3 else _value(point)
        state = ("complete", "complete", "running", "pruned", "failed")[number % 5]
        known.append(Trial(job=number, parameters=point, state=state, value=value))  # type: ignore[arg-type]
    assert len({spaces.identity(trial.parameters) for trial in known}) == 30
    late = [_value(trial.parameters) for trial in known[20:]]
    assert sum(late) > sum(_value(trial.parameters) for trial in known[:10]), "it learns"


def test_optuna_names_no_point_twice_and_a_small_space_ends() -> None:
    small = _space('{"n": {"int": [1, 3]}, "on": [true, false]}')
    known: list[Trial] = []
    while (point := optuna_study.next_point(small, ACC, "g", len(known), known)) is not None:
        known.append(Trial(job=len(known), parameters=point, state="complete", value=0.5))
    assert len({spaces.identity(trial.parameters) for trial in known}) == 6 == len(known)


def test_a_search_that_is_killed_goes_on_with_the_same_study(tmp_path: Path, base_lock: str) -> None:
    folder = write(
        tmp_path / "p",
        {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "job.py": JOB, "space.json": SPACE},
    )
    env = {"OCICALIBAN_DB_URL": f"sqlite:///{tmp_path}/jobs.db"}
    search = ("--search", "optuna", "--trials", "9", "--goal", "acc:max", "--experiment-config", "space.json")
    args: tuple[str, ...] = ("run", *search, "-g", "search", "-j", "2", "--out", f"{tmp_path}/out", "job.py")

    def begun() -> list[str]:
        return [path.read_text() for path in (tmp_path / "out").glob("search/*/begun")]

    for count in (1, 3, 6):
        child = subprocess.Popen(
            command(*args),
            cwd=folder,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda count=count: len(begun()) >= count, child)  # type: ignore[misc]
        child.kill()
        child.communicate()
        args = ("resume", "search")
    ok(folder, *args, env=env)
    jobs = json.loads(ok(folder, "status", "search", "--json", env=env).stdout)
    assert [job["status"] for job in jobs] == ["succeeded"] * 9
    assert all(text.count("\n") == 1 for text in begun()) and len(begun()) == 9, "each ran once"
    assert len({json.dumps(job["parameters"], sort_keys=True) for job in jobs}) == 9, "no point twice"
    assert all(job["args"][:2] == ["--lr", str(job["parameters"]["lr"])] for job in jobs)
    report = json.loads(ok(folder, "report", "search", "--json", env=env).stdout)
    assert report["best"]["column"] == "acc" and report["jobs"][0]["id"] == report["best"]["id"]
    assert "--search optuna --trials 9 --goal acc:max" in report["sources"][0]["command"]
    more = ("--search", "random", "--trials", "2", "--experiment-config", "space.json", "--group", "search")
    ok(folder, "run", *more, "job.py", env=env)
    assert len({json.dumps(job["parameters"], sort_keys=True) for job in json.loads(
        ok(folder, "status", "search", "--json", env=env).stdout
    )}) == 11  # fmt: skip
