"""Amounts of processors and memory, and mounts, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.resources import Mount, Resources, parse_mount, parse_resources


@pytest.mark.parametrize(
    ("memory", "number"), [("8g", 8 << 30), ("500M", 500 << 20), ("3k", 3072), ("7b", 7), ("7", 7), ("", None)]
)
def test_memory_is_bytes_or_has_a_unit(memory: str, number: int | None) -> None:
    assert parse_resources(1.5, memory) == Resources(cpus=1.5, memory=number)


def test_without_limits_there_are_none() -> None:
    assert not parse_resources(None, "").limited
    assert parse_resources(None, "1g").limited and parse_resources(0.5, "").limited


@pytest.mark.parametrize(
    ("cpus", "memory", "told"),
    [
        (0.0, "", "--cpus 0: not a positive"), (-1.0, "", "--cpus -1"), (1e6, "", "--cpus"),
        (float("nan"), "", "--cpus nan"), (None, "8 g", "--memory 8 g"), (None, "0", "--memory 0"),
        (None, "1.5g", "--memory 1.5g"), (None, "g", "--memory g"),
    ],
)  # fmt: skip
def test_an_amount_that_is_not_valid_is_told(cpus: float | None, memory: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_resources(cpus, memory)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount(source="/a", target="/b")),
        ("/a:b:/c:ro", Mount(source="/a:b", target="/c", options=("ro",))),
        ("data:/b:ro,Z", Mount(source="data", target="/b", options=("ro", "Z"))),
        ("/b", None),
        ("/a:b", None),
    ],
)
def test_a_mount_is_a_source_a_target_and_options(text: str, mount: Mount | None) -> None:
    assert parse_mount(text) == mount


@given(st.text(min_size=1), st.text(alphabet="/abc").map("/{}".format), st.sampled_from(["", ":ro", ":O"]))
def test_every_source_is_read_whole(source: str, target: str, options: str) -> None:
    mount = parse_mount(f"{source}:{target}{options}")
    assert mount and (mount.source, mount.target, mount.readonly) == (source, target, options == ":ro")
