"""What the jobs of a submission ask Slurm for: the options, their settings, and their lines in a script. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping

from attrs import evolve, fields, frozen

from ocicaliban.errors import UsageError
from ocicaliban.jobs import records
from ocicaliban.model.job import Submission
from ocicaliban.model.resources import parse_resources, parse_size

KEY = "slurm"
"""The key of the record among a submission's options, and of the table among `[targets]`."""

RUNTIMES = ("apptainer", "charliecloud", "podman")
IMAGE_FORMS = ("squashfs", "oci-archive")

_TIME = re.compile(r"(\d{1,10})((?::\d{1,2}){0,2}|-\d{1,2}(?::\d{1,2}){0,2})", re.A)
_LARGEST = 2**31 - 1
"""Slurm counts seconds, cores and the like in 32 bits."""
_LONGEST_GRACE = 65535  # seconds, as sbatch's manual says of --signal
_UNITS = re.compile(r"(?:(\d{1,10})d)?(?:(\d{1,10})h)?(?:(\d{1,10})m)?(?:(\d{1,10})s)?", re.A)
_OURS = (
    *("-a", "--array", "--comment", "-o", "--output", "-e", "--error", "--open-mode", "--signal", "--wrap"),
    *("--parsable", "--test-only", "-J", "--job-name", "--requeue", "--no-requeue", "-W", "--wait", "--export"),
)
"""sbatch's options that ocicaliban sets itself."""


@frozen(kw_only=True)
class Options:
    """The options of a submission; "" and None leave a choice to Slurm.

    `time` is in Slurm's form. `gpus` is a number of any kind, `gres` a text such as "gpu:a100:2". `memory` is a text
    such as "8g". `jobs` is how many run at a time. `slurm_args` are other options of sbatch. `runtime` is what runs the
    containers ("" for what a node has), `image` the form of the image file. `grace` is how many seconds before its
    time limit a job gets SIGTERM. `shared` is a folder that this machine and all nodes see, `local` one of each node.
    A job that Slurm does not show any more counts as ended after `deadline` seconds. `retries` is how often a failed
    job runs again.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    constraint: str = ""
    nodes: int | None = None
    gpus: int | None = None
    gres: str = ""
    cpus: int | None = None
    memory: str = ""
    jobs: int | None = None
    slurm_args: tuple[str, ...] = ()
    runtime: str = ""
    image: str = "squashfs"
    grace: int = 60
    shared: str = ""
    local: str = ""
    deadline: int = 120
    retries: int = 0


def checked(options: Options, where: Callable[[str], str] = str) -> Options:
    """Return the options with the time in Slurm's form.

    `where` returns how errors name an option: with the file and line of its key, if it is in one. Raises UsageError for
    a value that is not valid.
    """
    _check_numbers(options, where)
    if options.gpus and options.gres:
        hint = 'leave one of them out, or name the GPUs: gres = "gpu:a100:2"'
        raise UsageError(f"{where('gpus')} and {where('gres')} exclude each other", hint)
    for name, word, known in (("runtime", options.runtime, ("", *RUNTIMES)), ("image", options.image, IMAGE_FORMS)):
        if word not in known:
            hint = f"one of {', '.join(filter(None, known))}"
            raise UsageError(f"{where(name)} = '{word}': there is no such {name}", hint)
    for name in ("partition", "account", "qos", "constraint", "gres", "shared", "local"):
        if "\n" in getattr(options, name):
            raise UsageError(f"{where(name)}: it has several lines", "write it in one")
        if any(character < " " for character in getattr(options, name)):
            raise UsageError(f"{where(name)}: it has control characters", "remove them")
    for name in ("shared", "local"):
        value = getattr(options, name)
        if value and not value.startswith("/"):
            raise UsageError(f"{where(name)} = '{value}': not an absolute path", "begin it with /")
    if where("memory") == "memory":  # of the command line
        parse_resources(None, options.memory)
    elif options.memory and not parse_size(options.memory):
        raise UsageError(
            f"{where('memory')} = '{options.memory}': not an amount of memory", 'for example memory = "8g"'
        )
    _check_args(options.slurm_args, where)
    return evolve(options, time=slurm_time(options.time, where("time")))


def _check_numbers(options: Options, where: Callable[[str], str]) -> None:
    for name, value in ((each, getattr(options, each)) for each in ("nodes", "cpus", "jobs")):
        if value is not None and value < 1:
            raise UsageError(f"{where(name)} = {value}: not a positive number", f"for example {name} = 1")
    for name, value in ((each, getattr(options, each)) for each in ("gpus", "grace", "deadline", "retries")):
        if value is not None and value < 0:
            raise UsageError(f"{where(name)} = {value}: a negative number", f"for example {name} = 60")
    numbers = ("nodes", "cpus", "jobs", "gpus", "grace", "deadline", "retries")
    for name, most in ((each, _LONGEST_GRACE if each == "grace" else _LARGEST) for each in numbers):
        if (getattr(options, name) or 0) > most:
            raise UsageError(f"{where(name)}: a number larger than {most}", f"for example {name} = 60")


def slurm_time(text: str, name: str = "time") -> str:
    """Return a length of time as Slurm reads it: "90" is in minutes, "1:30:00", "1-12", or ours: "1h30m".

    `name` is how errors name it; "time" is the option's.
    """
    if not text:
        return text
    seconds = 0
    if slurms := _TIME.fullmatch(text):
        # The first number is of days, hours, or minutes, by what follows it.
        rest = slurms[2]
        seconds = int(slurms[1]) * (86400 if rest.startswith("-") else 3600 if rest.count(":") == 2 else 60)
        if seconds <= _LARGEST:
            return text
    elif match := _UNITS.fullmatch(text.lower()):
        seconds = sum(int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
    if not seconds or seconds > _LARGEST:
        why = "longer than Slurm can count" if seconds else "not a length of time"
        word = text if len(text) <= 40 else f"{text[:40]}..."
        if name == "time":
            raise UsageError(f"--time {word}: {why}", "for example --time 1h30m, 90 (minutes) or 1-12:00:00")
        raise UsageError(f"{name} = '{word}': {why}", 'for example time = "1h30m", "90" (minutes) or "1-12:00:00"')
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _check_args(words: Iterable[str], where: Callable[[str], str] = str) -> None:
    shown = where("slurm_args")
    shown = "--slurm-args" if shown == "slurm_args" else shown
    for word in words:
        name = word.split("=")[0]
        short = name if name.startswith("--") else name[:2]
        if name in _OURS or short in _OURS:
            hint = "ocicaliban sets it itself; see docs/hpc.md for the options that change it"
            raise UsageError(f"{shown}: {name} cannot be given", hint)
        if "\n" in word or "\0" in word:
            raise UsageError(f"{shown}: an option has several lines", "write it in one")


_VARIABLES = {
    **{
        name: f"SBATCH_{name.upper().replace('-', '_')}"
        for name in ("account", "partition", "qos", "constraint", "gres")
    },
    "time": "SBATCH_TIMELIMIT",
    "mem": "SBATCH_MEM_PER_NODE",
    "cpus-per-task": "SBATCH_CPUS_PER_TASK",
}
"""The variables of our environment that sbatch prefers to what a script says."""
_ALWAYS = (
    *("SBATCH_ARRAY_INX", "SBATCH_JOB_NAME", "SBATCH_COMMENT", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_OPEN_MODE"),
    *("SBATCH_REQUEUE", "SBATCH_NO_REQUEUE", "SBATCH_SIGNAL", "SBATCH_WAIT", "SBATCH_TEST_ONLY"),
)
"""Such variables of the options that each script has, or that no script may have."""


def hidden_variables(script: str) -> tuple[str, ...]:
    """Return the variables that sbatch must not see, so that what the script says counts."""
    said = re.findall(r"^#SBATCH --([a-z-]+)=", script, re.M)
    return (*_ALWAYS, *(_VARIABLES[name] for name in said if name in _VARIABLES))


def words(options: Options) -> tuple[str, ...]:
    """Return the options for what jobs need, as words for sbatch or srun, without `slurm_args`."""
    return tuple(
        f"--{name}={value}"
        for name, value in (
            ("partition", options.partition),
            ("account", options.account),
            ("qos", options.qos),
            ("time", options.time),
            ("constraint", options.constraint),
            ("nodes", options.nodes),
            ("gres", f"gpu:{options.gpus}" if options.gpus else options.gres),
            ("cpus-per-task", options.cpus),
            ("mem", _megabytes(options.memory)),
        )
        if value
    )


def sbatch_lines(options: Options) -> tuple[str, ...]:
    """Return the words after `#SBATCH` of each line for these options, apart from those of one array."""
    lines = []
    for word in words(options):
        name, _, value = word.partition("=")
        lines.append(f"{name}={quoted(value)}")
    lines += [f"--signal=B:USR1@{options.grace}"] if options.grace else []
    lines += [" ".join(map(quoted, options.slurm_args))] if options.slurm_args else []
    return tuple(lines)


def after(options: Options, arrays: Iterable[str]) -> Options:
    """Return the options of an array that begins when others have ended, besides what the user makes it wait for."""
    needed = ",".join(f"afterany:{number}" for number in arrays)
    if not needed:
        return options
    rest: list[str] = []
    words = iter(options.slurm_args)
    for word in words:
        name, is_whole, value = word.partition("=")
        if name in ("-d", "--dependency"):
            needed += f",{value if is_whole else next(words, '')}"
        elif re.match(r"-d[^-]", word):
            needed += f",{word[2:]}"
        else:
            rest.append(word)
    return evolve(options, slurm_args=(*rest, f"--dependency={needed.rstrip(',')}"))


def _megabytes(memory: str) -> str:
    found = parse_resources(None, memory).memory
    return "" if found is None else f"{-(-found // (1 << 20))}M"


def quoted(word: str) -> str:
    """Return a word as sbatch reads it in a line of a script: it knows quotes and backslashes."""
    if word and not re.search(r"[\s\"'\\#]", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_args(text: str) -> tuple[str, ...]:
    """Return the words of --slurm-args. Raises UsageError for a quote without an end."""
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise UsageError(f"--slurm-args '{text}': {exc}", "quote it as for a shell") from exc


# --- the record ---


def to_record(options: Options) -> dict[str, object]:
    """Return the options as JSON can hold them."""
    values = {each.name: getattr(options, each.name) for each in fields(Options)}
    return {**values, "slurm_args": list(options.slurm_args)}


def from_record(record: Mapping[str, object]) -> Options:
    """Return the options of a record.

    Raises ValueError for an unknown key or a wrong value: a newer version may have written an option that must not be
    dropped.
    """
    if unknown := record.keys() - {each.name for each in fields(Options)}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return records.structured(dict(record), Options)


def recorded(submission: Submission) -> Options:
    """Return the options that a submission was made with.

    Raises UsageError if another version of ocicaliban wrote other options.
    """
    return records.of_backend(submission, KEY, from_record)
