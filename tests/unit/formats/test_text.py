"""Values as people read them."""

from __future__ import annotations

import pytest

from ocicaliban.formats.text import amount


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2 * 10**13, "20000.0 GB")]
)
def test_a_number_of_bytes(count: int, text: str) -> None:
    assert amount(count) == text
