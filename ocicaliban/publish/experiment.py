"""An experiment as it is published: what ran, in which image, with which results. Pure.

`docs/reference/experiment-format.md` specifies the form. A record has no user, no host and no folder of a machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.jobs import group_names, origin
from ocicaliban.jobs.origin import Machine
from ocicaliban.model.job import Job, Parameters, Scalar
from ocicaliban.reports.metrics import Curve, Metrics

VERSION = 1
"""The version of the form. Increase it for a change that older programs must not read as they read this one."""

BUILT_BY = ("extras", "with_groups", "dirs", "allow_secrets", "folder", "mount", "shell", "settings")
"""The options of `run` that decide what an image holds, beside its mode and module."""


@frozen(kw_only=True)
class PublishedAttempt:
    """One attempt at a job: what became of it, its exit code, how many seconds it took, and when it ended."""

    status: str
    exit_code: int | None = None
    seconds: float | None = None
    ended: str = ""


@frozen(kw_only=True)
class PublishedJob:
    """A job: its number in the experiment (from 1), what its script was given, and what came of it."""

    number: int
    key: str
    parameters: Parameters = ()
    args: tuple[str, ...] = ()
    status: str = ""
    attempts: tuple[PublishedAttempt, ...] = ()
    results: Mapping[str, Scalar] = field(factory=dict)
    curves: Mapping[str, Curve] = field(factory=dict)


@frozen(kw_only=True)
class Resources:
    """What each job had: cores, memory as podman's option has it, GPUs; 0 and "" for no limit."""

    cpus: float = 0
    memory: str = ""
    gpus: int = 0


@frozen(kw_only=True)
class Experiment:
    """What all jobs of an experiment have in common.

    `image` is the digest of the image's manifest in the registry, `image_id` that of its config. `command`, `env` and
    `workdir` are what a container starts with, in addition to the image's own. `folders` are the places at which jobs
    saw folders that are not published, `options` the names of podman's options whose values are not, and
    `capabilities` those of the kernel that the jobs had. `created` is in ISO 8601. `folder` is the project's in its
    repository. `build` has what the image was made by, beside mode and module, and `mounted` says that the jobs mounted
    its upper layers as folders.
    """

    group: str
    created: str
    image: str
    image_id: str
    mode: str
    module: str = ""
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    folders: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    resources: Resources = field(factory=Resources)
    commit: str = ""
    dirty: bool = False
    remote: str = ""
    folder: str = ""
    mounted: bool = False
    build: Mapping[str, object] = field(factory=dict)
    program: str = ""
    machine: Machine = field(factory=Machine)
    jobs: int = 0
    sweep: str = ""


def is_path_inside(path: str) -> bool:
    """Return whether a path that a stranger wrote leads below any folder, and not into the folder of git there."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    parts = path.split("/")
    return "\0" not in path and not any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts)


def iso(seconds: float) -> str:
    """Return a time, in seconds since 1970, in ISO 8601 and UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def published_job(number: int, job: Job, reported: Metrics) -> PublishedJob:
    """Return a job of the history as it is published."""
    attempts = tuple(
        PublishedAttempt(
            status=each.status,
            exit_code=each.exit_code,
            seconds=None if each.ended is None else round(each.ended - each.started, 3),
            ended=iso(each.ended) if each.ended else "",
        )
        for each in job.attempts
    )
    return PublishedJob(
        number=number,
        key=job.key,
        parameters=job.parameters,
        args=job.args,
        status=job.status,
        attempts=attempts,
        results=reported.results,
        curves=reported.curves,
    )


# --- records ---


def to_record(made: Experiment) -> dict[str, Any]:
    """Return an experiment as JSON holds it."""
    return {
        "version": VERSION,
        "group": made.group,
        "created": made.created,
        "image": {"digest": made.image, "config": made.image_id},
        "mode": made.mode,
        "module": made.module,
        "launch": {
            "command": list(made.command),
            "env": [list(pair) for pair in made.env],
            "workdir": made.workdir,
            "folders": list(made.folders),
            "capabilities": list(made.capabilities),
            "options": list(made.options),
        },
        "resources": {"cpus": made.resources.cpus, "memory": made.resources.memory, "gpus": made.resources.gpus},
        "source": {"commit": made.commit, "dirty": made.dirty, "remote": made.remote}
        | ({"folder": made.folder} if made.folder else {}),
        **({"build": {"mounted": made.mounted, "options": dict(made.build)}} if made.build else {}),
        "program": made.program,
        "machine": origin.machine_to_record(made.machine),
        "jobs": made.jobs,
        "sweep": made.sweep,
    }


def from_record(record: Mapping[str, Any]) -> Experiment:
    """Return an experiment from a record. Raises ValueError if it is not one, or a newer one."""
    try:
        if record["version"] != VERSION:
            raise ValueError(f"its version is {record['version']}, known is {VERSION}")
        launch, source, resources = record["launch"], record["source"], record["resources"]
        return Experiment(
            group=group_names.check(_line(record["group"])),
            created=_line(record["created"]),
            image=_line(record["image"]["digest"]),
            image_id=_line(record["image"]["config"]),
            mode=_line(record["mode"]),
            module=_line(record["module"]),
            command=_texts(launch["command"]),
            env=tuple((_text(name), _text(value)) for name, value in launch["env"]),
            workdir=_line(launch["workdir"]),
            folders=tuple(map(_line, launch["folders"])),
            capabilities=tuple(map(_line, launch["capabilities"])),
            options=tuple(map(_line, launch["options"])),
            resources=Resources(
                cpus=float(resources["cpus"]), memory=_line(resources["memory"]), gpus=int(resources["gpus"])
            ),
            commit=_line(source["commit"]),
            dirty=bool(source["dirty"]),
            remote=_line(source["remote"]),
            folder=_folder(source.get("folder", "")),
            mounted=bool((record.get("build") or {}).get("mounted")),
            build=dict((record.get("build") or {}).get("options") or {}),
            program=_line(record["program"]),
            machine=origin.machine_from_record(record["machine"]),
            jobs=int(record["jobs"]),
            sweep=_line(record["sweep"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError, UsageError) as exc:
        raise ValueError(f"it has another form ({exc})") from exc


def job_to_record(job: PublishedJob) -> dict[str, Any]:
    """Return a job as JSON holds it: numbers that JSON has not are texts, in `curves` and in `special`."""
    special = {name: repr(value) for name, value in job.results.items() if not _is_plain(value)}
    return {
        "number": job.number,
        "key": job.key,
        "parameters": dict(job.parameters),
        "args": list(job.args),
        "status": job.status,
        "attempts": [
            {"status": each.status, "exit_code": each.exit_code, "seconds": each.seconds}
            | ({"ended": each.ended} if each.ended else {})
            for each in job.attempts
        ],
        "metrics": {name: value for name, value in job.results.items() if name not in special},
        "special": special,
        "curves": {
            name: {
                "steps": list(curve.steps),
                "values": [each if _is_plain(each) else repr(each) for each in curve.values],
            }
            for name, curve in job.curves.items()
        },
    }


def job_from_record(record: Mapping[str, Any]) -> PublishedJob:
    """Return a job from a record. Raises ValueError if it is not one."""
    try:
        return PublishedJob(
            number=int(record["number"]),
            key=_text(record["key"]),
            parameters=tuple((_text(name), _scalar(value)) for name, value in record["parameters"].items()),
            args=_texts(record["args"]),
            status=_text(record["status"]),
            attempts=tuple(
                PublishedAttempt(
                    status=_text(each["status"]),
                    exit_code=each["exit_code"],
                    seconds=each["seconds"],
                    ended=_text(each.get("ended", "")),
                )
                for each in record["attempts"]
            ),
            results={
                **{_text(name): _scalar(value) for name, value in record["metrics"].items()},
                **{_text(name): float(value) for name, value in record["special"].items()},
            },
            curves={
                _text(name): Curve(steps=_floats(curve["steps"]), values=_floats(curve["values"]))
                for name, curve in record["curves"].items()
            },
        )
    except (KeyError, TypeError, AttributeError, OverflowError, UsageError) as exc:
        raise ValueError(f"it has another form ({exc})") from exc


def _is_plain(value: Scalar) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _line(value: object) -> str:
    """Return a text that has one line: the user reads it before the jobs run."""
    text = _text(value)
    if len(text.splitlines()) > 1:
        raise TypeError(f"{text[:100]!r} has several lines")
    return text


def _folder(value: object) -> str:
    """Return the path of a folder in a repository, "" for its top."""
    path = _line(value)
    if path and not is_path_inside(path):
        raise TypeError(f"{path[:100]!r} is not a folder of a repository")
    return path


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(map(_text, values))


def _scalar(value: object) -> Scalar:
    if not isinstance(value, str | bool | int | float):
        raise TypeError(f"{value!r} is not a value")
    return value


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
