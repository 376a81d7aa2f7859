"""What a submission was made from: texts that may have changed when somebody wants to publish its jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

VERSION = 1
"""The version of the record; `from_record` reads all earlier ones."""

LARGEST_FILE = 1 << 20
"""Bytes; a larger file is not kept, since nobody writes a declaration or a recipe of that size."""


@frozen(kw_only=True)
class Machine:
    """Where jobs ran: processor, number of cores, bytes of memory, the names of the GPUs used, and the GPU's driver."""

    processor: str = ""
    cores: int = 0
    memory: int = 0
    gpus: tuple[str, ...] = ()
    driver: str = ""


@frozen(kw_only=True)
class Origin:
    """What a submission was made from.

    `program` is our version and `remote` the address of the project's git repository. `files` has the project's own
    declarations and the recipes, by a path without any folder of this machine; `sweep` is the text of the sweep file,
    and `sweep_name` its name.
    """

    program: str
    machine: Machine = field(factory=Machine)
    remote: str = ""
    sweep_name: str = ""
    sweep: str = ""
    files: Mapping[str, str] = field(factory=dict)


def to_record(origin: Origin) -> dict[str, Any]:
    """Return it as JSON holds it."""
    return {
        "version": VERSION,
        "program": origin.program,
        "machine": machine_to_record(origin.machine),
        "remote": origin.remote,
        "sweep": {"name": origin.sweep_name, "text": origin.sweep},
        "files": dict(origin.files),
    }


def from_record(record: Mapping[str, Any]) -> Origin:
    """Return it from a record. Raises ValueError, KeyError, TypeError or AttributeError for another form."""
    if record["version"] != VERSION:
        raise ValueError(f"its version is {record['version']}, known is {VERSION}")
    sweep = record.get("sweep") or {}
    return Origin(
        program=str(record["program"]),
        machine=machine_from_record(record.get("machine") or {}),
        remote=str(record.get("remote", "")),
        sweep_name=str(sweep.get("name", "")),
        sweep=str(sweep.get("text", "")),
        files={str(path): str(text) for path, text in record["files"].items()},
    )


def machine_to_record(machine: Machine) -> dict[str, Any]:
    """Return a machine as JSON holds it."""
    return {
        "processor": machine.processor,
        "cores": machine.cores,
        "memory": machine.memory,
        "gpus": list(machine.gpus),
        "driver": machine.driver,
    }


def machine_from_record(record: Mapping[str, Any]) -> Machine:
    """Return a machine from a record; what is missing is unknown."""
    return Machine(
        processor=str(record.get("processor", "")),
        cores=int(record.get("cores", 0)),
        memory=int(record.get("memory", 0)),
        gpus=tuple(map(str, record.get("gpus", ()))),
        driver=str(record.get("driver", "")),
    )
