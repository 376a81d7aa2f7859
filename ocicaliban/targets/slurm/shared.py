"""The folder of a submission on the disk that the nodes see too: its arrays, and what the tasks write there."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from ocicaliban.formats.jsonc import parse_json
from ocicaliban.jobs import job_variables
from ocicaliban.model.job import Job, Submission
from ocicaliban.system import files
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.states import Began, Ended

VERSION = 1
_MARK = re.compile(r"([0-9a-f]+)\.(\d+)\.(began|ended)", re.A)


@frozen(kw_only=True)
class StoredArray:
    """An array on the shared disk: its key, its jobs with the number of each one's first attempt there.

    `accepted` is its number at Slurm, "" while that is unknown.
    """

    key: str
    jobs: tuple[tuple[str, int], ...]
    accepted: str = ""


@frozen(kw_only=True)
class Marks:
    """What the tasks of a submission wrote, by the job's key and the number of the attempt."""

    began: Mapping[str, Mapping[int, Began]] = field(factory=dict)
    ended: Mapping[str, Mapping[int, Ended]] = field(factory=dict)


def top(submission: Submission) -> Path:
    """Return the folder that the submission's machine and all nodes see."""
    held = submission.options.get(slurm_options.KEY)  # not all of them, since this is asked for each job
    return root(str(held.get("shared") or "") if isinstance(held, Mapping) else "")


def root(shared: str) -> Path:
    """Return the folder for all submissions; the user's folder of state by default, since nodes see the home folder."""
    return Path(shared) if shared else files.state() / "slurm"


def folder(submission: Submission) -> Path:
    """Return the folder of a submission. Its name has the time, since two histories may give the same number."""
    return top(submission) / f"{submission.group}.{submission.id}-{int(submission.created * 1000)}"


def images(submission: Submission) -> Path:
    """Return the folder of image files."""
    return top(submission) / "images"


def marks_folder(submission: Submission) -> Path:
    """Return the folder in which tasks write when they begin and end."""
    return folder(submission) / "marks"


def job_folder(submission: Submission, key: str) -> Path:
    """Return the folder of a job's logs, and of its results unless the user named another one."""
    return folder(submission) / "jobs" / key


def out(submission: Submission, job: Job) -> Path:
    """Return a job's folder of results: in the folder that the user named, or beside its logs."""
    named = str(submission.options.get("out") or "")
    if named:
        return Path(named).absolute() / submission.group / str(job.id)
    return job_folder(submission, job.key) / "out"


def log(submission: Submission, key: str, attempt: int) -> str:
    """Return the path of an attempt's log, which the task writes."""
    return str(job_folder(submission, key) / f"attempt-{attempt}.log")


# --- what containers get beside the image ---


def files_folder(submission: Submission, key: str) -> Path:
    """Return the folder with files for a job's container."""
    return job_folder(submission, key) / "files"


def store_parameters(submission: Submission, key: str, text: str) -> None:
    """Write parameters of a job that are too long for a variable."""
    place = files_folder(submission, key)
    place.mkdir(parents=True, exist_ok=True)
    files.replace(place / posixpath.basename(job_variables.PARAMETERS), text)


def given_file(submission: Submission) -> Path:
    """Return the file with the variables that the user gives to the jobs, in bash; their values may be secret."""
    return folder(submission) / "given"


def give(submission: Submission, line: str) -> None:
    """Write that file, for its owner alone."""
    path = given_file(submission)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, f"{line}\n", mode=0o600)


# --- arrays ---


def array_folder(submission: Submission, key: str) -> Path:
    """Return the folder of an array."""
    return folder(submission) / "arrays" / key


def store(submission: Submission, key: str, script: str, jobs: Iterable[tuple[str, int]]) -> Path:
    """Write down an array before it is submitted, and return the path of its script."""
    place = array_folder(submission, key)
    place.mkdir(parents=True, exist_ok=True)
    marks_folder(submission).mkdir(exist_ok=True)
    (place / "script").write_text(script, encoding="utf-8")
    files.replace(place / "tasks.json", json.dumps({"version": VERSION, "jobs": [list(each) for each in jobs]}))
    return place / "script"


def accept(submission: Submission, key: str, number: str) -> None:
    """Write down that Slurm has the array, with its number there."""
    files.replace(array_folder(submission, key) / "accepted", number)


def withdraw(submission: Submission, key: str) -> None:
    """Forget an array that Slurm does not have."""
    (array_folder(submission, key) / "tasks.json").unlink(missing_ok=True)


def arrays(submission: Submission) -> tuple[StoredArray, ...]:
    """Return the arrays of a submission, whether Slurm has them or not."""
    found = []
    place = folder(submission) / "arrays"
    for name in sorted(os.listdir(place)) if place.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = parse_json((place / name / "tasks.json").read_text(encoding="utf-8"))
            jobs = tuple((str(key), int(attempt)) for key, attempt in record["jobs"])
            accepted = ""
            with contextlib.suppress(FileNotFoundError):
                accepted = (place / name / "accepted").read_text(encoding="utf-8").strip()
            found.append(StoredArray(key=name, jobs=jobs, accepted=accepted))
    return tuple(found)


_MOST_SAID = 1 << 20
"""Bytes of what the script of an array said that are read."""


def said(submission: Submission, key: str) -> Iterator[bytes]:
    """Yield what Slurm and the script of a job's last array said: the lines about that job, or all if none are."""
    mine = [each for each in arrays(submission) if any(job == key for job, _ in each.jobs)]
    text = b""
    for each in mine:
        with contextlib.suppress(OSError), (array_folder(submission, each.key) / "slurm.log").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_SAID))
            text += file.read(_MOST_SAID)
    lines = text.splitlines(keepends=True)
    yield b"".join([line for line in lines if key.encode() in line] or lines)


# --- marks ---


def marks(submission: Submission, wanted: Mapping[str, int]) -> Marks:
    """Return the marks of jobs, by key, from the attempt with this number on; the folder is listed once.

    A file that cannot be read yet is left out.
    """
    place = marks_folder(submission)
    began: dict[str, dict[int, Began]] = defaultdict(dict)
    ended: dict[str, dict[int, Ended]] = defaultdict(dict)
    for key, number, kind, path in _listed(place):
        if key not in wanted or number < wanted[key]:
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = parse_json(path.read_text(encoding="utf-8"))
            if kind == "began":
                began[key][number] = Began(task=str(record["task"]), at=float(record["at"]), node=str(record["node"]))
            else:
                ended[key][number] = ended_from(record)
    return Marks(began=began, ended=ended)


def numbers(submission: Submission) -> Mapping[str, str]:
    """Return the numbers of arrays at Slurm, by key, as their tasks wrote them."""
    found: dict[str, str] = {}
    for _, _, kind, path in _listed(marks_folder(submission)):
        if kind == "began":
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                record = parse_json(path.read_text(encoding="utf-8"))
                found[str(record["array"])] = str(record["task"]).partition("_")[0]
    return found


def ended_from(record: Mapping[str, object]) -> Ended:
    """Return the end of an attempt from what its task wrote. Raises KeyError, TypeError or ValueError."""
    code = record["code"]
    if code is not None and not isinstance(code, int):
        raise TypeError(f"code is {code!r}")
    return Ended(
        code=code,
        at=float(str(record["at"])),
        signal=str(record.get("signal", "")),
        again=record.get("again") is True,
        fault=str(record.get("fault", "")),
    )


def _listed(place: Path) -> Iterator[tuple[str, int, str, Path]]:
    try:
        names: Sequence[str] = os.listdir(place)
    except OSError:
        return
    for name in names:
        if match := _MARK.fullmatch(name):
            yield match[1], int(match[2]), match[3], place / name


# --- absence ---


def absent_since(submission: Submission, keys: Mapping[str, bool], now: float) -> Mapping[str, float]:
    """Return for each job since when Slurm has not shown it as alive, and remember that for other processes.

    `keys` has whether Slurm shows each job now. Times are in seconds since 1970.
    """
    path = folder(submission) / "absent"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        known = {str(key): float(at) for key, at in parse_json(path.read_text(encoding="utf-8")).items()}
    absent = {key: known.get(key, now) for key, shown in keys.items() if not shown}
    others = {key: at for key, at in known.items() if key not in keys}
    if {**others, **absent} != known:
        with contextlib.suppress(OSError):
            files.replace(path, json.dumps({**others, **absent}))
    return absent
