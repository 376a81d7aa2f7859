"""A few changed files: none gives a traceback, hangs, or is refused without a hint.

They only show that the fuzzer works: `python -m tests.fuzz --count 10000` looks for faults.
"""

from __future__ import annotations

import pytest

from tests.fuzz import runner

SEED = 15


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_a_changed_file_is_read_or_refused_with_a_hint(first: int) -> None:
    faults = [each for each in runner.run(10, SEED, first=first) if each]
    assert not faults, "\n\n".join(
        f"seed {each.seed}, {each.kind} {each.file}: {each.what}\n{each.where}" for each in faults
    )
