"""A few changed files: none gives a traceback, hangs, or is refused without a hint.

They only show that the fuzzer works: `python -m tests.fuzz --count 10000` looks for faults.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError, ToolError
from tests.fuzz import readers, runner

SEED = 15


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_a_changed_file_is_read_or_refused_with_a_hint(first: int) -> None:
    faults = [each for each in runner.run(10, SEED, first=first) if each]
    assert not faults, "\n\n".join(
        f"seed {each.seed}, {each.kind} {each.file}: {each.what}\n{each.where}" for each in faults
    )


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, readers.Kind]:
    """Return the fuzzer's kinds of files."""
    home = tmp_path_factory.mktemp("kinds")
    with readers.alone(home):
        return readers.kinds(home)


@pytest.mark.parametrize(
    "name",
    [
        *("git", "slurm", "notebook", "memos", "lock", "settings", "sweep", "gpus", "metrics"),
        *("state", "history", "history-texts", "store", "archive", "recipe"),
    ],
)
def test_a_file_that_was_not_changed_is_read(tmp_path: Path, name: str, kinds: dict[str, readers.Kind]) -> None:
    """Otherwise the fuzzer would feed what follows the first fault to nothing."""
    with readers.alone(tmp_path):
        for files in kinds[name].seeds:
            readers.written(files, tmp_path)
            with contextlib.suppress(ToolError):  # a tool is asked in the end
                kinds[name].read(tmp_path)


NESTED = b"[" * 20_000
"""Python's json raises RecursionError for it, which is no ValueError."""


@pytest.mark.parametrize("name", ["memos", "slurm", "state", "replay", "store", "registry", "settings", "sweep"])
def test_what_is_nested_too_deeply_is_a_fault_of_the_file(
    tmp_path: Path, name: str, kinds: dict[str, readers.Kind]
) -> None:
    with readers.alone(tmp_path):
        for files in kinds[name].seeds:
            for changed in files:
                readers.written({**files, changed: NESTED}, tmp_path)
                with contextlib.suppress(OcicalibanError):
                    kinds[name].read(tmp_path)
