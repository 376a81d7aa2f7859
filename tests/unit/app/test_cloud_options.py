"""The options of `cloud`, as the service wants them."""

import pytest

from ocicaliban.app import cloud_options
from ocicaliban.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("3600", 3600), ("90m", 5400), ("1h30m", 5400), ("12H", 43200), ("2d1s", 172_801)],
)
def test_a_timeout_is_a_length_of_time(text: str, seconds: int | None) -> None:
    assert cloud_options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "1h30", "h", "-1", "1.5h", "1w", "9" * 70, "9" * 50 + "d", "12 h"])
def test_what_is_no_length_of_time_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="not a length of time"):
        cloud_options.seconds(text)
