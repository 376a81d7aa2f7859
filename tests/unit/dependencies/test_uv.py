"""What uv is asked for."""

from __future__ import annotations

import pytest
from attrs import evolve

from ocicaliban.dependencies import uv
from ocicaliban.model.image import Base

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")


@pytest.mark.parametrize(
    ("libc", "platform"),
    [
        ("2.36", "x86_64-manylinux_2_36"),
        ("2.30", "x86_64-manylinux_2_28"),
        ("2.99", "x86_64-manylinux_2_40"),
        ("2.5", "x86_64-unknown-linux-gnu"),
        ("", "x86_64-unknown-linux-gnu"),
    ],
)
def test_wheels_are_chosen_for_the_c_library_of_the_base(libc: str, platform: str) -> None:
    assert platform in uv.target_arguments(evolve(BASE, libc=libc))
