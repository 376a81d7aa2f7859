"""The key file of --cloud-key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import cloud_key
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_a_key_file_must_exist(world: World) -> None:
    assert cloud_key.key_file("") == "" and cloud_key.podman_options("") == ()
    assert cloud_key.key_file("train.py") == str(world.project / "train.py")
    assert any("GOOGLE_APPLICATION_CREDENTIALS" in word for word in cloud_key.podman_options("train.py"))
    with pytest.raises(UsageError, match="there is no file"):
        cloud_key.key_file("~/none.json")
