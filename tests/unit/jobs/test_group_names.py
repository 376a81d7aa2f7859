"""What a group may be called."""

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.jobs import group_names


@pytest.mark.parametrize("name", ["lr", "digits-happy-otter", "2", "a_b.c", "x" * 63])
def test_groups_names(name: str) -> None:
    assert group_names.check(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a/b", "a b", "x" * 64, "é", "a\n"])
def test_groups_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name for a group"):
        group_names.check(name)
