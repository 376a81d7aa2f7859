"""Jobs of the history as text and JSON. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from ocicaliban.formats.colours import OF_WORDS, Line
from ocicaliban.formats.text import printable
from ocicaliban.jobs import arguments, lifecycle
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job, Status


def timestamp(seconds: float | None) -> str | None:
    """Return a time in seconds since 1970 in the form of ISO 8601, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def typed(job: Job) -> str:
    """Return what a job runs, as a user would type it: its module and all arguments, in one line."""
    return printable(" ".join((job.submission.module, shlex.join(job.args))).strip())


def span(seconds: float) -> str:
    """Return a length of time, in seconds, for people: "0.4 s", "8 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"."""
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    whole = max(0, round(seconds))
    for size, large, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {large} {rest} {small}" if rest else f"{whole // size} {large}"
    return f"{whole} s"


def ago(then: float, now: float) -> str:
    """Return how long ago `then` was, both in seconds since 1970: "just now", "5 min ago", "2 d ago"."""
    passed = now - then
    return "just now" if passed < 10 else f"{span(passed).split(' ', 2)[0]} {span(passed).split(' ', 2)[1]} ago"


def took(job: Job, now: float) -> str:
    """Return how long the last attempt at a job took, or has run until `now`; "" where it has not run yet."""
    if job.last is None or job.status in ("queued", "pending"):
        return ""
    return span((job.last.ended if job.last.ended is not None else now) - job.last.started)


def status(job: Job) -> str:
    """Return the status of a job with its exit code or its backend's own word, and the number of a second attempt."""
    words: str = job.status
    if job.last and job.status == "failed":
        told = filter(None, (str(job.last.exit_code or ""), lifecycle.cause(job.last)))
        words = f"failed ({', '.join(told)})".removesuffix(" ()")
    elif job.last and job.status in UNDER_WAY and job.last.backend_state not in ("", job.status):
        words += f" ({printable(job.last.backend_state)})"
    if len(job.attempts) > 1:
        words += f", attempt {len(job.attempts)}"
    return words


def heading(job: Job) -> str:
    """Return the status of a job and what it runs, as the heading of its log."""
    return f"{status(job)}: {typed(job)}"


def as_json(job: Job) -> dict[str, object]:
    """Return a job as `--json` prints it."""
    whole = job.submission
    return {
        "id": job.id,
        "key": job.key,
        "group": whole.group,
        "status": job.status,
        "backend_state": job.last.backend_state if job.last else "",
        "parameters": dict(arguments.of_job(job)),
        "args": list(job.args),
        "exit_code": job.last.exit_code if job.last else None,
        "started": timestamp(job.last.started) if job.last else None,
        "ended": timestamp(job.last.ended) if job.last else None,
        "out": job.out,
        "log": job.last.log if job.last else "",
        "attempts": [_attempt_as_json(attempt) for attempt in job.attempts],
        "submission": {
            "id": whole.id,
            "user": whole.user,
            "host": whole.host,
            "target": whole.target,
            "project": whole.project,
            "mode": whole.mode,
            "module": whole.module,
            "image": whole.image,
            "plan_key": whole.plan_key,
            "commit": whole.commit,
            "dirty": whole.dirty,
            "created": timestamp(whole.created),
        },
    }


def _attempt_as_json(attempt: Attempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        "handle": attempt.handle,
        "status": attempt.status,
        "started": timestamp(attempt.started),
        "ended": timestamp(attempt.ended),
        "exit_code": attempt.exit_code,
        "reason": attempt.reason,
        "log": attempt.log,
        "backend_state": attempt.backend_state,
    }


_MOST_REASONS = 5


def reasons(jobs: Iterable[Job]) -> list[str]:
    """Return lines with why jobs failed or were lost, where neither their exit code nor their status tells it."""
    found: dict[str, list[int]] = {}
    for job in jobs:
        last = job.last
        if last and job.status in ("failed", "lost") and last.reason not in ("", lifecycle.why_failed(last.exit_code)):
            found.setdefault(f"{job.status}: {printable(last.reason)}", []).append(job.id)
    lines = []
    for why, ids in found.items():
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        lines.append(f"job{'s' * (len(ids) > 1)} {', '.join(map(str, ids[:3]))}{more} {why}")
    rest = len(lines) - _MOST_REASONS
    return lines[:_MOST_REASONS] + ([f"{rest} more reasons: ocicaliban status --json"] if rest > 0 else [])


STATUS = 2
"""The column with the status."""

HEADINGS = ("JOB", "GROUP", "STATUS", "TIME", "STARTED", "ARGUMENTS")


def rows(jobs: Iterable[Job], now: float) -> list[tuple[str, ...]]:
    """Return the jobs as rows of words, for the columns HEADINGS."""
    return [
        (
            str(job.id),
            job.submission.group,
            status(job),
            took(job, now),
            ago(job.last.started, now) if job.last else "",
            typed(job),
        )
        for job in jobs
    ]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of words as lines with even columns, two spaces apart; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1] if lines else []
    return [
        "  ".join([*(word.ljust(width) for word, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    ]


def styled(lines: Sequence[Sequence[str]], column: int) -> list[Line]:
    """Return rows of words as `aligned` does, the first one as a heading, with the colour of what is in a column."""
    start = sum(max(map(len, words)) + 2 for words in [*zip(*lines, strict=True)][:column]) if lines else 0
    made = []
    for number, (line, words) in enumerate(zip(aligned(lines), lines, strict=True)):
        style = OF_WORDS.get(words[column].split(" ")[0].strip(","), "")
        made.append(
            Line(line, style, start, start + len(words[column])) if number else Line(line, "bold", 0, len(line))
        )
    return made


def unfinished(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs that have not ended."""
    return tuple(job for job in jobs if job.status not in ENDED)


def counted(counts: Mapping[Status, int]) -> str:
    """Return how many jobs have which status, without those that none has: "28 succeeded, 2 failed"."""
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "no jobs"
