"""The options that users pass on to podman."""

from __future__ import annotations

import pytest

from ocicaliban.containers import podman_args
from ocicaliban.errors import UsageError


def test_the_text_is_split_as_by_a_shell() -> None:
    assert podman_args.split("-v '/a b:/c' --rm") == ("-v", "/a b:/c", "--rm")
    with pytest.raises(UsageError, match="--podman-args: no closing quotation") as caught:
        podman_args.split("-v '/a b")
    assert caught.value.hint
