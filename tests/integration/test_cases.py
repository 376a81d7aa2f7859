"""Small projects of every kind, each a folder of tests/cases, run as their authors would run them.

`tests/cases/rows.toml` says which commands are called in which project, and what must come and must not come. What
runs is what the project's files declare, or nothing runs; an error carries a remedy, and some rows follow it.

Not here, because tests of their own cover them: the commit in a container's environment, faults in recipes, parameters
that are too long for one argument, the limits (ulimits) of sweeps, negative values in sweep files.
"""

import functools
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import tracebacks
from tests.folders import write
from tests.integration.program import call, environment

CASES = Path(__file__).parents[1] / "cases"
STEP = {"run", "code", "out", "err", "absent", "before", "write", "folder"}


@functools.cache
def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads((CASES / "rows.toml").read_text())["row"]
    return rows


def _name(row: dict[str, Any]) -> str:
    return f"{row['case']}-{row['about'].replace(' ', '-')}" if "about" in row else row["case"]


def _prepare(folder: Path, step: dict[str, Any]) -> None:
    """Write the files that a step needs, and call what it calls outside of ocicaliban."""
    write(folder, step.get("write", {}))
    if "before" in step:
        subprocess.run(
            ["bash", "-euc", step["before"]], cwd=folder, env=environment(), stdin=subprocess.DEVNULL, check=True
        )


def _check(folder: Path, step: dict[str, Any]) -> None:
    done = call(folder / step.get("folder", "."), *shlex.split(step["run"]))
    told = f"{step['run']}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == step.get("code", 0), told
    assert not [word for word in step.get("out", ()) if word not in done.stdout], told
    assert not [word for word in step.get("err", ()) if word not in done.stderr], told
    assert not [word for word in step.get("absent", ()) if word in done.stdout + done.stderr], told
    assert not tracebacks.of_ours(done.stderr), told


def test_every_case_has_a_row() -> None:
    folders = {path.name for path in CASES.iterdir() if path.is_dir()}
    assert folders == {row["case"] for row in _rows()}


def test_rows_say_nothing_that_is_not_looked_at() -> None:
    assert not [row for row in _rows() if set(row) - {"case", "about", "step"}]
    assert not [step for row in _rows() for step in row["step"] if set(step) - STEP]


@pytest.mark.parametrize("row", _rows(), ids=_name)
def test_a_case_behaves(row: dict[str, Any], base_lock: str, tmp_path: Path) -> None:
    # base_lock: the base is in the store, so that no case bootstraps it again.
    folder = tmp_path / row["case"]
    shutil.copytree(CASES / row["case"], folder)
    for step in row["step"]:
        _prepare(folder, step)
        _check(folder, step)
