"""What we ask of podman."""

from __future__ import annotations

import pytest

from ocicaliban.containers.podman import container_name


@pytest.mark.parametrize("given", [("--name", "mine"), ("--name=mine",), ("--name", "a", "--rm", "--name", "mine")])
def test_a_container_is_known_by_the_name_that_podman_is_given_last(given: tuple[str, ...]) -> None:
    assert container_name(given) == "mine"
