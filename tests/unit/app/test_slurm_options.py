"""The options of `run` for jobs at Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.app import slurm_options
from ocicaliban.app.requests import JobsRequest, SlurmRequest
from ocicaliban.errors import UsageError


@pytest.mark.parametrize("cpus", [float("inf"), float("nan"), 1e300, -1.0, 0.0, 1.5])
def test_a_number_of_cores_that_is_none_is_told(tmp_path: Path, cpus: float) -> None:
    with pytest.raises(UsageError, match="cpus"):
        slurm_options.options(tmp_path, JobsRequest(cpus=cpus), SlurmRequest())


@pytest.mark.parametrize(
    "setting",
    [
        'time = "soon"', "nodes = 0", "cpus = -1", "jobs = 0", "gpus = -1", "grace = 99999999", "deadline = -1",
        'memory = "much"', 'runtime = "lxc"', 'image = "iso"', 'partition = "a\\nb"', 'account = "a\\u0007"',
        'shared = "here"', 'slurm_args = ["-o", "x"]', 'slurm_args = ["a\\nb"]', 'qos = 3',
    ],
)  # fmt: skip
def test_a_setting_that_is_not_valid_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    key = setting.partition(" ")[0]
    for path in (tmp_path / "ocicaliban.toml", tmp_path / "config" / "ocicaliban" / "config.toml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"\n[targets.slurm]\n{setting}\n")
        with pytest.raises(UsageError) as caught:
            slurm_options.options(tmp_path, JobsRequest(), SlurmRequest())
        assert caught.value.message.startswith(f"{path}:3: ") and key in caught.value.message
        path.unlink()


def test_an_option_of_the_command_line_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "ocicaliban.toml").write_text('[targets.slurm]\ntime = "1h"\n')
    with pytest.raises(UsageError, match=r"^--time soon: "):
        slurm_options.options(tmp_path, JobsRequest(), SlurmRequest(time="soon"))
