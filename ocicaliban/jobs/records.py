"""The formats in which a submission is written down: for the history, and for the journal of single runs. Pure.

A record is a mapping as JSON holds it, with a `version`. Its keys are written out here, or beside the fields of a type
(`key`); they are the format, and the names of fields are not. Records without a version are of version 1: that is how
they were written before they had one. Later versions read all earlier ones; a newer record is refused where a job would
run by it, since it may ask for something that this program does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from attrs import Attribute, AttrsInstance, evolve, fields

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Submission

if TYPE_CHECKING:
    import cattrs

VERSION = 1
"""The version of all records of a submission. Increase it for a key that older programs must not ignore."""

Record = dict[str, Any]

A = TypeVar("A", bound=AttrsInstance)
B = TypeVar("B", bound=AttrsInstance)
T = TypeVar("T")

_KEY = "ocicaliban.record"
_BRIEF = "ocicaliban.brief"
_EXTRA = frozenset({"version", "alone", "reproduces", "cluster", "log_limit", "search", "run_options"})
"""Keys of a submission's options that are in every request's; see `jobs.provenance`."""


def key(name: str, *, brief: bool = False) -> dict[str, object]:
    """Return the metadata of an attrs field that is in records, under this name: `field(metadata=key("gpus"))`.

    A `brief` one is left out of a record if it has its default, as of one that was written before the field existed.
    """
    return {_KEY: name, _BRIEF: brief}


def _recorded(cls: type[AttrsInstance]) -> tuple[tuple[str, Attribute[Any]], ...]:
    """Return the fields of a class that are in records, each with its key."""
    return tuple((each.metadata[_KEY], each) for each in fields(cls) if _KEY in each.metadata)


def to_record(*parts: AttrsInstance) -> Record:
    """Return the fields of some objects that have a `key`, as one record."""
    record: Record = {"version": VERSION}
    for part in parts:
        for name, each in _recorded(type(part)):
            value = getattr(part, each.name)
            if not (each.metadata.get(_BRIEF) and value == each.default):
                record[name] = value
    return record


def from_record(record: Mapping[str, object], cls: type[A], known: Collection[str] = ()) -> A:
    """Return an object of `cls` from a record. A key that is missing means the field's default.

    Raises ValueError for a newer version, for a key that is neither a field's nor `known`, and for a wrong value.
    """
    named = dict(_recorded(cls))
    version = record.get("version", 1)
    if version != VERSION:
        raise ValueError(f"its version is {version}, known is {VERSION}")
    if unknown := set(record) - set(named) - set(known) - {"version"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return structured({each.name: record[name] for name, each in named.items() if name in record}, cls)


def structured(values: object, cls: type[A]) -> A:
    """Return an object of an attrs class from values as JSON holds them. Raises ValueError for wrong ones."""
    import cattrs  # it takes a while to load, and few commands read records

    try:
        return _converter().structure(values, cls)
    except (cattrs.BaseValidationError, TypeError, KeyError) as exc:
        raise ValueError(str(exc)) from exc


@functools.cache
def _converter() -> cattrs.Converter:
    """Return the converter, which keeps what it has made for a class: a sweep reads its options for each job."""
    import cattrs

    converter = cattrs.Converter()
    for kind in (str, bool, int, float):
        converter.register_structure_hook(kind, _exactly)  # otherwise any value becomes a str, and "no" is True
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
    return converter


def _exactly(value: object, kind: type) -> Any:
    """Return a value of a plain type. Raises TypeError for one of another type."""
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise TypeError(f"{value!r} is not of type {kind.__name__}")


@overload
def requested(made: Submission, first: type[A]) -> A: ...


@overload
def requested(made: Submission, first: type[A], second: type[B]) -> tuple[A, B]: ...


def requested(made: Submission, first: type[A], second: type[B] | None = None) -> A | tuple[A, B]:
    """Return what the command that made a submission was asked for, as one or two request types.

    Raises UsageError where this version cannot read it.
    """
    classes: tuple[type[AttrsInstance], ...] = (first,) if second is None else (first, second)
    # The options of a backend are under its name.
    known = _EXTRA | {made.target} | {name for cls in classes for name, _ in _recorded(cls)}
    try:
        found = from_record(made.options, first, known)
        return found if second is None else (found, from_record(made.options, second, known))
    except ValueError as exc:
        raise unreadable(made, exc) from exc


def of_backend(made: Submission, key: str, read: Callable[[Mapping[str, object]], T]) -> T:
    """Return the options that a submission was made with for its backend, which `read` makes of their record at `key`.

    Raises UsageError if there is none, or if `read` raises ValueError: another version wrote other options.
    """
    held = made.options.get(key)
    try:
        if not isinstance(held, Mapping):
            raise ValueError(f"there is no {key}")
        return read(held)
    except ValueError as exc:
        raise unreadable(made, exc) from exc


def unreadable(made: Submission, fault: ValueError) -> UsageError:
    """Return the error for a submission whose options this version cannot read."""
    return UsageError(
        f"another version of ocicaliban began {made.group}, and recorded other options ({fault})",
        "use that version, or submit the jobs as a new group",
    )


def with_version(record: Record) -> Record:
    """Return a record that says its version, so that equal ones are equal whichever program wrote them."""
    return record if "version" in record else {"version": 1, **record}


def launch_to_record(launch: Launch) -> Record:
    """Return how a job starts, as a record."""
    return {
        "version": VERSION,
        "command": list(launch.command),
        "env": [list(each) for each in launch.env],
        "mounts": list(launch.mounts),
        "ports": list(launch.ports),
        "devices": list(launch.devices),
        "workdir": launch.workdir,
        # Only if there are some: a record of the same launch from before stays equal.
        **({"capabilities": list(launch.capabilities)} if launch.capabilities else {}),
    }


def launch_from_record(record: Mapping[str, Any]) -> Launch:
    """Return how a job starts, from a record of any version, as far as it is known here.

    It is read to show a job, too, which must not fail. `requested` refuses to run what a newer version wrote.
    """
    return Launch(
        command=tuple(record.get("command", ())),
        env=tuple((name, value) for name, value in record.get("env", ())),
        mounts=tuple(record.get("mounts", ())),
        ports=tuple(record.get("ports", ())),
        devices=tuple(record.get("devices", ())),
        workdir=record.get("workdir", ""),
        capabilities=tuple(record.get("capabilities", ())),
    )


def submission_to_record(made: Submission) -> Record:
    """Return a submission that is not in a history yet, as a record."""
    return {
        "version": VERSION,
        "group": made.group,
        "user": made.user,
        "host": made.host,
        "target": made.target,
        "project": made.project,
        "mode": made.mode,
        "module": made.module,
        "image": made.image,
        "plan_key": made.plan_key,
        "commit": made.commit,
        "dirty": made.dirty,
        "launch": launch_to_record(made.launch),
        "options": dict(made.options),
        "created": made.created,
    }


def submission_from_record(record: Mapping[str, Any]) -> Submission:
    """Return a submission from a record. Raises KeyError, TypeError or ValueError for another form."""
    if record.get("version", 1) != VERSION:
        raise ValueError("it was written by a newer version")
    made = Submission(
        group=str(record["group"]),
        user=str(record["user"]),
        host=str(record["host"]),
        target=str(record["target"]),
        project=str(record["project"]),
        mode=str(record["mode"]),
        module=str(record.get("module", "")),
        image=str(record.get("image", "")),
        plan_key=str(record.get("plan_key", "")),
        commit=str(record.get("commit", "")),
        dirty=bool(record.get("dirty", False)),
        launch=launch_from_record(record.get("launch", {})),
        options=with_version(dict(record.get("options", {}))),
    )
    return evolve(made, created=float(record.get("created", 0.0)))
