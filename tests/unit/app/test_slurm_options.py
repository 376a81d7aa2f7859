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
