"""What a report says beside the results: which jobs failed, and how the jobs were made (pure)."""

from __future__ import annotations

import datetime

from attrs import frozen


@frozen(kw_only=True)
class Failure:
    """A job that failed, was stopped or was lost: why, the last lines of its log, and where that is."""

    job: int
    status: str
    reason: str = ""
    lines: tuple[str, ...] = ()
    log: str = ""


@frozen(kw_only=True)
class Source:
    """How the jobs of one command were made: `count` is their number. Times are in seconds since 1970, 0 if unknown.

    `image` is the image's id or reference, `digest` that of its manifest if it is known here. `dirty` says that the
    files differed from the commit.
    """

    command: str
    count: int = 1
    project: str = ""
    commit: str = ""
    dirty: bool = False
    image: str = ""
    digest: str = ""
    target: str = ""
    host: str = ""
    user: str = ""
    machine: str = ""
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0


def moment(seconds: float) -> str | None:
    """Return a time as ISO 8601, in UTC; None for 0."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds") if seconds else None


def failure_as_json(failure: Failure) -> dict[str, object]:
    """Return a failure as JSON holds it."""
    return {
        "job": failure.job,
        "status": failure.status,
        "reason": failure.reason,
        "lines": list(failure.lines),
        "log": failure.log,
    }


def source_as_json(source: Source) -> dict[str, object]:
    """Return how jobs were made, as JSON holds it; times as ISO 8601."""
    return {
        "command": source.command,
        "jobs": source.count,
        "project": source.project,
        "commit": source.commit,
        "dirty": source.dirty,
        "image": source.image,
        "digest": source.digest,
        "target": source.target,
        "host": source.host,
        "user": source.user,
        "machine": source.machine,
        "created": moment(source.created),
        "started": moment(source.started),
        "ended": moment(source.ended),
    }


def facts(source: Source) -> list[tuple[str, str]]:
    """Return what there is to say of how jobs were made, as pairs of a name and a text."""
    commit = f"{source.commit} with changes that are not committed" if source.dirty else source.commit
    image = f"{source.image}, manifest {source.digest}" if source.digest else source.image
    where = ", ".join(filter(None, (source.host, source.machine)))
    spans = [
        text.replace("T", " ").replace("+00:00", "")
        for each in (source.started, source.ended)
        if (text := moment(each))
    ]
    pairs = (
        ("command", source.command),
        ("project", source.project),
        ("commit", commit or "not in a git repository"),
        ("image", image),
        ("machine", f"{where} ({source.target})" if source.target else where),
        ("user", source.user),
        ("dates", f"{' to '.join(spans)} UTC" if spans else ""),
    )
    return [(name, text) for name, text in pairs if text]
