"""Divide jobs into arrays, and write the script of one: all that a node needs to run its tasks. Pure."""

from __future__ import annotations

import importlib.resources
import posixpath
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence

from attrs import frozen

from ocicaliban.containers import command_line
from ocicaliban.containers.image_file import ImageFile
from ocicaliban.jobs import log_parts
from ocicaliban.model.image import Launch
from ocicaliban.model.resources import parse_mount
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.options import Options

COMMENT = "ocicaliban:"
"""What the comment of our arrays begins with; the array's key follows."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

LARGEST_SCRIPT = 3_000_000  # bytes; Slurm's own limit is 4 MB unless an administrator lowers it


@frozen(kw_only=True)
class Task:
    """One job of an array: its key, the number of its first attempt there, its arguments, its folders.

    `out` is its folder of results, `folder` that of its logs. `env` describes the job. `files` is a folder that its
    container sees as /run/ocicaliban, if there is one.
    """

    key: str
    attempt: int
    args: tuple[str, ...]
    out: str
    folder: str
    env: tuple[tuple[str, str], ...] = ()
    files: str = ""


@frozen(kw_only=True)
class Array:
    """What the tasks of an array have in common.

    `marks` is the folder of the files that they write when they begin and end; `log` is where Slurm puts what the
    script itself says, as a pattern of Slurm's. A script without a `key` can be submitted by hand again and again.
    `after` are the numbers of arrays that must have ended before it begins. `given` are variables whose values are in
    the script, but for those that are `passed`: these have the values that they have where it is submitted.
    `given_file` is a file of the shared disk with such ones, if there is one. `log_limit` is the largest log of an
    attempt in bytes, 0 for any.
    """

    key: str
    name: str
    options: Options
    image: ImageFile
    launch: Launch
    marks: str
    log: str
    after: tuple[str, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    passed: frozenset[str] = frozenset()
    given_file: str = ""
    log_limit: int = log_parts.LIMIT


def split(tasks: Sequence[Task], most: int, size: int = LARGEST_SCRIPT) -> Iterator[tuple[Task, ...]]:
    """Yield the tasks in arrays of at most `most`, whose scripts have about `size` bytes at most."""
    some: list[Task] = []
    total = 0
    for task in tasks:
        length = len(_case(0, task).encode())
        if some and (len(some) >= most or total + length > size):
            yield tuple(some)
            some, total = [], 0
        some.append(task)
        total += length
    if some:
        yield tuple(some)


def script(array: Array, tasks: Sequence[Task]) -> str:
    """Return the script of an array; `sbatch` needs no option with it."""
    throttle = f"%{array.options.jobs}" if array.options.jobs else ""
    lines = [
        "#!/bin/bash",
        *(
            f"#SBATCH {words}"
            for words in (
                f"--job-name={slurm_options.quoted(array.name)}",
                *((f"--comment={COMMENT}{array.key}",) if array.key else ()),
                f"--array=0-{len(tasks) - 1}{throttle}",
                f"--output={slurm_options.quoted(array.log)}",
                "--open-mode=append",
                "--requeue",
                *slurm_options.sbatch_lines(slurm_options.after(array.options, array.after)),
            )
        ),
        "# What follows are the settings of all jobs, then each job, then what a task does. Made by ocicaliban.",
        *settings(array),
        "task() {",
        "case $1 in",
        *(_case(number, task) for number, task in enumerate(tasks)),
        "esac",
        "}",
    ]
    return "\n".join(lines) + "\n" + body()


def body() -> str:
    """Return what a task does, as a part of a script for bash."""
    return "".join(map(part, ("given.sh", "begin.sh", "node.sh", "end.sh")))


def part(name: str) -> str:
    """Return one of our files for bash."""
    return (importlib.resources.files("ocicaliban.targets.slurm") / name).read_text(encoding="utf-8")


def settings(array: Array) -> Iterator[str]:
    """Yield the lines of bash with what all tasks have in common."""
    options, image, launch = array.options, array.image, array.launch
    for name, value in (
        ("ARRAY", array.key),
        ("MARKS", array.marks),
        ("IMAGE", image.path),
        ("IMAGE_NAME", image.name),
        ("RUNTIME", options.runtime),
        ("LOCAL", options.local),
        ("GRACE", options.grace),
        ("RETRIES", options.retries),
        ("LOG_SIZE", log_parts.conmon_limit(array.log_limit)),
        ("WORKDIR", launch.workdir or image.workdir or "/"),
        ("GIVEN_FILE", array.given_file),
    ):
        yield f"{name}={shlex.quote(str(value))}"
    yield f"ENVIRONMENT=({_variables({**dict(image.env), **dict(launch.env)}.items())})"
    yield given_line(array.given, array.passed)
    yield f"MOUNTS=({_words(word for text in launch.mounts for word in _mount(text))})"
    # A recipe may mount a folder of its own there.
    yield f"OUT_POINT={'' if '/out' in dict(mount_points(launch)) else '/out'}"
    yield f"CONFINED=({_words(command_line.confining_options(launch.capabilities))})"
    yield f"COMMAND=({_words(launch.command or image.entrypoint)})"
    # The image's own arguments are those of a job that has none, unless another command starts.
    yield f"DEFAULTS=({_words(() if launch.command else image.command)})"


def given_line(env: Iterable[tuple[str, str]], passed: Collection[str] = ()) -> str:
    """Return the line of bash with variables that the user gives to the jobs; it has no value of those `passed`."""
    words = (_passed(name) if name in passed else shlex.quote(f"{name}={value}") for name, value in env)
    return f"GIVEN=({' '.join(words)})"


def _passed(name: str) -> str:
    """Return a word of bash that gives a variable the value that it has there."""
    if _NAME.fullmatch(name):
        return f'"{name}=${{{name}?export it before sbatch}}"'
    # bash itself has no variable with such a name.
    return f'{shlex.quote(f"{name}=")}"$(printenv {shlex.quote(name)})"'


def mount_points(launch: Launch) -> tuple[tuple[str, str], ...]:
    """Return where a container sees what it mounts, and each one's source."""
    mounts = filter(None, map(parse_mount, launch.mounts))
    return tuple((posixpath.normpath(mount.target), mount.source) for mount in mounts)


def _mount(text: str) -> tuple[str, str, str]:
    """Return the source, the target and the options of a mount."""
    mount = parse_mount(text)
    if mount is None:  # a recipe's mistake, which the runtime names
        return text, "", ""
    return mount.source, mount.target, ",".join(mount.options)


def _case(number: int, task: Task) -> str:
    fields = f"KEY={task.key} FIRST={task.attempt} OUT={shlex.quote(task.out)} FOLDER={shlex.quote(task.folder)}"
    more = f"OWN=({_variables(task.env)}) FILES={shlex.quote(task.files)}"
    return f"{number}) {fields} {more}; ARGS=({_words(task.args)});;"


def _variables(env: Iterable[tuple[str, str]]) -> str:
    return _words(f"{name}={value}" for name, value in env)


def _words(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))
