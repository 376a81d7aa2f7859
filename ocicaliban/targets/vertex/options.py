"""What the jobs of a submission have in common on Vertex AI, and how the history keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from attrs import frozen

from ocicaliban.jobs import records
from ocicaliban.model.job import Submission
from ocicaliban.targets.vertex.machines import Machine


@frozen(kw_only=True)
class Options:
    """The options of a submission, beside the project and region.

    `boot_disk` is in GB; `timeout` in seconds; `restarts` is None for the service's own way, 0 for none; `output` is a
    `gs://` folder in which each job gets a folder of its own; `entrypoint` is what starts before a job's arguments, if
    that is known; `command` replaces the arguments of a job that has none, as an image's CMD does.
    """

    machine: Machine
    replicas: int = 1
    boot_disk: int | None = None
    spot: bool = False
    timeout: int | None = None
    restarts: int | None = None
    service_account: str = ""
    network: str = ""
    output: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    name: str = ""


KEY = "vertex"
"""The key of the record among a submission's options."""


def recorded(submission: Submission) -> Options:
    """Return the options that a submission was made with.

    Raises UsageError if another version of ocicaliban wrote other options.
    """
    return records.of_backend(submission, KEY, from_record)


def to_record(options: Options) -> dict[str, object]:
    """Return the options as JSON can hold them."""
    machine = options.machine
    return {
        "machine": {
            "type": machine.type,
            "accelerator": machine.accelerator,
            "count": machine.count,
            "topology": machine.topology,
        },
        "replicas": options.replicas,
        "boot_disk": options.boot_disk,
        "spot": options.spot,
        "timeout": options.timeout,
        "restarts": options.restarts,
        "service_account": options.service_account,
        "network": options.network,
        "output": options.output,
        "entrypoint": list(options.entrypoint),
        "command": list(options.command),
        "labels": [list(each) for each in options.labels],
        "name": options.name,
    }


def from_record(record: Mapping[str, object]) -> Options:
    """Return the options of a record.

    Raises ValueError if a field is unknown, has another type, or is missing and has no default: a newer version may
    have written an option that must not be dropped.
    """
    if unknown := record.keys() - to_record(Options(machine=Machine(type=""))).keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    machine = _field(record, "machine", dict)
    return Options(
        machine=Machine(
            type=_field(machine, "type", str),
            accelerator=_field(machine, "accelerator", str, ""),
            count=_field(machine, "count", int, 0),
            topology=_field(machine, "topology", str, ""),
        ),
        replicas=_field(record, "replicas", int, 1),
        boot_disk=_number(record, "boot_disk"),
        spot=_field(record, "spot", bool, False),
        timeout=_number(record, "timeout"),
        restarts=_number(record, "restarts"),
        service_account=_field(record, "service_account", str, ""),
        network=_field(record, "network", str, ""),
        output=_field(record, "output", str, ""),
        entrypoint=tuple(map(str, _field(record, "entrypoint", list, []))),
        command=tuple(map(str, _field(record, "command", list, []))),
        labels=tuple((str(name), str(value)) for name, value in _field(record, "labels", list, [])),
        name=_field(record, "name", str, ""),
    )


T = TypeVar("T")


def _field(record: Mapping[str, object], name: str, kind: type[T], default: T | None = None) -> T:
    value = record.get(name, default)
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r}")
    return value


def _number(record: Mapping[str, object], name: str) -> int | None:
    return None if record.get(name) is None else _field(record, name, int)
