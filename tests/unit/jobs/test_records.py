"""The formats of records; `test_old_records` reads those that earlier versions wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve, field, frozen

from ocicaliban.app.requests import CloudRequest, JobsRequest, LaunchRequest
from ocicaliban.errors import UsageError
from ocicaliban.jobs import records
from ocicaliban.jobs.records import key
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Submission

LAUNCH = Launch(
    command=("python3", "train.py"),
    env=(("A", "1"),),
    mounts=("/a:/b",),
    ports=("1:2",),
    devices=("gpu",),
    workdir="/w",
    capabilities=("CHOWN",),
)
MADE = Submission(
    group="digits",
    user="ada",
    host="one",
    target="vertex",
    project="/p",
    mode="run",
    module="train.py",
    image="1d",
    plan_key="aa",
    commit="c0",
    dirty=True,
    launch=LAUNCH,
    options={"version": 1, "mode": "run"},
    created=1.5,
)


@frozen(kw_only=True)
class Cooking:
    """A request whose fields and keys differ."""

    dish: str = field(metadata=key("meal"))
    guests: int = field(default=1, metadata=key("people"))
    spices: tuple[str, ...] = field(default=(), metadata=key("spices"))
    kitchen: Mapping[str, Mapping[str, object]] = field(factory=dict, metadata=key("kitchen"))
    humming: bool = False


@frozen(kw_only=True)
class Serving:
    plates: int | None = field(default=None, metadata=key("plates"))


def as_json(record: object) -> Any:
    return json.loads(json.dumps(record))


def test_a_record_has_the_keys_and_not_the_names_of_fields() -> None:
    cooking = Cooking(dish="soup", spices=("salt",), kitchen={"pot": {"size": 3, "lid": True}}, humming=True)
    record = as_json(records.to_record(cooking, Serving(plates=2)))
    assert record == {
        **{"version": 1, "meal": "soup", "people": 1, "spices": ["salt"]},
        **{"kitchen": {"pot": {"size": 3, "lid": True}}, "plates": 2},
    }
    made = evolve(MADE, options=record)
    assert records.requested(made, Cooking, Serving) == (evolve(cooking, humming=False), Serving(plates=2))


def test_what_is_missing_has_its_default_and_a_version_is_not_needed() -> None:
    assert records.from_record({"meal": "soup"}, Cooking) == Cooking(dish="soup")
    made = evolve(MADE, options={"meal": "soup", "alone": True, "vertex": {}})
    assert records.requested(made, Cooking) == Cooking(dish="soup")


@pytest.mark.parametrize(
    "options",
    [
        {"version": 2, "meal": "soup"},
        {"version": "1", "meal": "soup"},
        {"meal": "soup", "candles": True},
        {"people": 3},
        {"meal": "soup", "people": "many"},
        {"meal": ["soup"]},
        {"meal": "soup", "people": True},
        {"meal": "soup", "spices": [1]},
        {"meal": "soup", "kitchen": {"pot": 1}},
        {"meal": "soup", "plates": 3},
    ],
)
def test_what_this_version_cannot_read_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="another version of ocicaliban began digits"):
        records.requested(evolve(MADE, options=options), Cooking)


def test_a_launch_comes_back() -> None:
    record = as_json(records.launch_to_record(LAUNCH))
    assert record == {
        **{"version": 1, "command": ["python3", "train.py"], "env": [["A", "1"]], "mounts": ["/a:/b"]},
        **{"ports": ["1:2"], "devices": ["gpu"], "workdir": "/w", "capabilities": ["CHOWN"]},
    }
    assert records.launch_from_record(record) == LAUNCH
    assert records.launch_from_record({}) == Launch()
    assert records.launch_from_record({**record, "version": 2, "moon": 1}) == LAUNCH


def test_a_submission_comes_back() -> None:
    record = as_json(records.submission_to_record(MADE))
    assert records.submission_from_record(record) == MADE
    assert set(record) == {
        *("version", "group", "user", "host", "target", "project", "mode", "module", "image", "plan_key"),
        *("commit", "dirty", "launch", "options", "created"),
    }
    with pytest.raises(ValueError, match="newer"):
        records.submission_from_record({**record, "version": 2})


def test_equal_options_are_equal_whichever_version_wrote_them() -> None:
    assert records.with_version({"mode": "run"}) == records.with_version({"version": 1, "mode": "run"})


def test_a_brief_key_is_written_unless_it_has_its_default() -> None:
    record = records.to_record(LaunchRequest(mode="run", folder="deep"), JobsRequest())
    assert record["folder"] == "deep" and records.from_record(record, LaunchRequest, record).folder == "deep"
    assert "folder" not in records.to_record(LaunchRequest(mode="run"))


def test_the_keys_of_the_commands_stay() -> None:
    """Compare the keys with those of version 1: a key that is added needs a line here, a changed one a new version."""
    assert {*records.to_record(LaunchRequest(mode="run"), JobsRequest())} == {
        *("version", "mode", "module", "shell", "settings", "lived_in", "image_id", "podman_args", "mount", "dry_run"),
        *("no_cache", "gpu_wanted", "gpus", "extras", "with_groups", "dirs", "cloud_key"),
        *("group", "jobs", "gpus_per_job", "cpus", "memory", "fail_fast", "retries", "out"),
    }
    cloud = CloudRequest(mode="cloud", module="", project_id="", region="", repository="")
    assert {*records.to_record(cloud)} == {
        *("version", "mode", "module", "project_id", "region", "repository", "image_tag", "group", "extras", "dirs"),
        *("with_groups", "no_cache", "cloud_key", "tls_verify", "gpu"),
    }
