"""Which sweeps run."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from ocicaliban.app import expand, sweep_input
from ocicaliban.errors import UsageError


def test_a_sweep_of_a_billion_jobs_can_be_looked_at_but_does_not_run(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps({f"k{number}": [*range(10)] for number in range(9)}))
    with pytest.raises(UsageError, match="it makes 1,000,000,000 jobs") as caught:
        sweep_input.read_to_run(str(file))
    assert "ocicaliban expand" in caught.value.hint
    assert len([*islice(expand.argument_lines(str(file)), 10)]) == 10


def test_a_file_without_an_end_is_no_sweep() -> None:
    with pytest.raises(UsageError, match="larger than 100"):
        sweep_input.read_sweep("/dev/zero")
