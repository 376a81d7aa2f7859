"""Slurm's commands: submit an array, ask for the state of tasks, cancel them."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import own_store
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.system import process
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.arrays import COMMENT
from ocicaliban.targets.slurm.states import Shown
from ocicaliban.targets.submit_once import Client, CreateFault, Limits, ObservedJob

_WIDTHS = (("ArrayJobID", 20), ("ArrayTaskID", 12), ("State", 20), ("RestartCnt", 10), ("Reason", 60), ("Comment", 80))
_LIMIT = re.compile(r"(?:QOS|Assoc)\w*SubmitJob\w*Limit|MaxSubmitJobs?\b", re.I)
_UNCLEAR = re.compile(
    r"socket timed out|unable to contact slurm|zero bytes were transmitted|connection (?:refused|reset|timed out)|"
    r"communication connection failure|transport endpoint|i/o error|no answer within|insane message length",
    re.I,
)
_BUSY = re.compile(r"rate limit|resource temporarily unavailable|temporarily unable to accept|system is busy", re.I)
_ANSWER = 120.0
"""Seconds for an answer of a command; Slurm's own limit is 10 seconds for each try."""


WHOLE = -1
"""The index of what accounting says of all tasks of an array that have no line of their own."""


class Full(CreateFault):
    """Slurm takes no more tasks of this user at the moment."""


class LimitReached(Refused):
    """Slurm takes no more jobs of this user at the moment; `words` are its own."""

    def __init__(self, words: str) -> None:
        super().__init__(f"Slurm takes no more jobs of yours now: {words}", "wait until some have ended")
        self.words = words


@frozen(kw_only=True)
class Task:
    """A task as squeue or sacct shows it. `comment` is "" where it is unknown."""

    array: str
    index: int
    shown: Shown
    comment: str = ""

    @property
    def key(self) -> str:
        """The key of our array, "" for another one's."""
        return self.comment.removeprefix(COMMENT) if self.comment.startswith(COMMENT) else ""


@frozen(kw_only=True)
class Cluster:
    """A cluster's own name ("" if it does not answer), and how many tasks an array may have there."""

    name: str = ""
    largest_array: int = 1001


# --- what the commands print (pure) ---


def parse_squeue(text: str) -> tuple[Task, ...]:
    """Return the tasks of arrays in squeue's answer to `squeue_argv`."""
    found = []
    for line in text.splitlines():
        values, at = [], 0
        for _, width in _WIDTHS:
            values.append(line[at : at + width].strip())
            at += width
        array, index, state, restarts, reason, comment = values
        if array.isdigit() and index.isdigit():
            shown = Shown(state=state.split()[0] if state else "", restarts=_number(restarts), reason=reason)
            found.append(Task(array=array, index=int(index), shown=shown, comment=comment))
    return tuple(found)


def parse_sacct(text: str) -> tuple[Task, ...]:
    """Return the tasks of arrays in sacct's answer to `sacct_argv`; the index of those without a line is WHOLE."""
    found = []
    for line in text.splitlines():
        parts = line.split("|", 3)
        if len(parts) != 4:
            continue
        name, state, code, comment = parts
        array, _, index = name.partition("_")
        # "17" and "17_[3-5%2]" are tasks that never ran.
        index = index if index.isdigit() else str(WHOLE)
        if array.isdigit() and state:
            exit_code, _, by_signal = code.partition(":")
            number = _number(exit_code) or (128 + _number(by_signal) if _number(by_signal) else 0)
            shown = Shown(state=state.split()[0], code=number)
            found.append(Task(array=array, index=int(index), shown=shown, comment=comment))
    return tuple(found)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def parse_config(text: str) -> Cluster:
    """Return what `scontrol show config` says of a cluster."""
    name = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.M)
    sizes = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", text, re.M)
    largest = min((int(one or other) for one, other in sizes), default=Cluster().largest_array)
    return Cluster(name=name[1] if name else "", largest_array=largest)


def squeue_argv() -> tuple[str, ...]:
    """Return the command that shows all our tasks, those that have ended a moment ago too."""
    fields = ",".join(f"{name}:{width}" for name, width in _WIDTHS)
    return "squeue", "--noheader", "--array", "--states=all", f"--user={os.geteuid()}", "-O", fields


def sacct_argv(arrays: Iterable[str]) -> tuple[str, ...]:
    """Return the command that asks accounting for the tasks of arrays, the newest record of each."""
    form = "JobID,State,ExitCode,Comment"
    return "sacct", "--noheader", "--parsable2", "--allocations", f"--format={form}", "-j", ",".join(arrays)


def fault_of(words: str) -> CreateFault:
    """Return what sbatch's failure means."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in words.splitlines() if line.strip()]
    said = "; ".join(dict.fromkeys(lines)) or "sbatch failed"
    if _LIMIT.search(words):
        return Full("refused", said)
    if _BUSY.search(words):
        return CreateFault("throttled", said)
    return CreateFault("unclear" if _UNCLEAR.search(words) else "refused", said)


# --- the commands ---


def tasks() -> tuple[Task, ...]:
    """Return all our tasks that Slurm knows, in one call of squeue. Raises OcicalibanError if it does not answer."""
    return parse_squeue(process.run(squeue_argv(), doing="squeue does not answer", limit=_ANSWER))


def accounted(arrays: Iterable[str]) -> tuple[Task, ...]:
    """Return what accounting says of arrays, nothing where there is no accounting."""
    wanted = sorted({*arrays})
    if not wanted or process.on_path("sacct") is None:
        return ()
    try:
        return parse_sacct(process.ask(sacct_argv(wanted), limit=_ANSWER))
    except ToolError:
        return ()  # "Slurm accounting storage is disabled"


def accounted_since(time: float) -> tuple[Task, ...]:
    """Return what accounting says of our arrays since a time, in seconds since 1970."""
    if process.on_path("sacct") is None:
        return ()
    since = datetime.datetime.fromtimestamp(time).strftime("%Y-%m-%dT%H:%M:%S")
    argv = [*sacct_argv(())[:-2], "-u", str(os.geteuid()), "-S", since]
    try:
        return parse_sacct(process.ask(argv, limit=_ANSWER))
    except ToolError:
        return ()


def test(script: str) -> str:
    """Ask Slurm whether it would take a script, and return what it says. Raises Refused if it would not."""
    if process.on_path("sbatch") is None:
        raise OcicalibanError("this machine has no sbatch", "submit from a login node of the cluster")
    hidden = [word for name in slurm_options.hidden_variables(script) for word in ("-u", name)]
    try:
        return process.ask(("env", *hidden, "sbatch", "--test-only"), script, limit=_ANSWER)
    except ToolError as fault:
        verdict = fault_of((fault.stderr or fault.message).strip())
        if isinstance(verdict, Full):
            return verdict.words
        if verdict.verdict != "refused":
            raise OcicalibanError(f"Slurm does not answer: {verdict.words}", "`sinfo` shows whether it runs") from fault
        raise Refused(f"Slurm would not take the jobs: {verdict.words}", "`sinfo` shows the partitions") from fault


def cluster() -> Cluster:
    """Return the cluster whose commands we have, if there is one that answers."""
    if process.on_path("scontrol") is None:
        return Cluster()
    try:
        return parse_config(process.ask(("scontrol", "show", "config"), limit=_ANSWER))
    except ToolError:
        return Cluster()


def cancel(names: Sequence[str]) -> str:
    """Cancel tasks ("17_3"), and return why they cannot be; "" if they are."""
    try:
        process.run(("scancel", *names), limit=_ANSWER)
    except OcicalibanError as fault:
        return fault.message
    return ""


def cancel_named(name: str) -> str:
    """Cancel our jobs with this name, and return why they cannot be; "" if they are."""
    return cancel((f"--name={name}", f"--user={os.geteuid()}"))


class SlurmClient(Client[Path]):
    """What `submit_once` needs: a request is an array, its message the path of its script."""

    title = "Slurm"
    limits = Limits(per_minute=600.0, at_once=1, patience=300.0)

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = dict(known or {})

    def message(self, body: Mapping[str, object]) -> Path:
        """Return the path of the script."""
        return Path(str(body["script"]))

    def create(self, message: Path) -> str:
        """Submit an array and return its number."""
        try:
            # The job inherits our environment, and the node has no store where this machine has one.
            hidden = slurm_options.hidden_variables(message.read_text(encoding="utf-8"))
            without = dict.fromkeys((*own_store.variables(), *hidden))
            answer = process.run(("sbatch", "--parsable", str(message)), env=without, limit=_ANSWER)
        except ToolError as fault:
            raise fault_of((fault.stderr or fault.message).strip()) from fault
        return answer.splitlines()[-1].split(";")[0].strip()

    def look(self, *groups: str) -> Sequence[ObservedJob]:
        """Return our arrays, of all groups: squeue has no filter for comments."""
        found = {**self._known}
        for task in tasks():
            if task.key:
                found[task.key] = task.array
        return [ObservedJob(key=key, attempt=1, name=name, state="", status="pending") for key, name in found.items()]

    def look_for(self, *keys: str) -> Sequence[ObservedJob]:
        """Return our arrays with these keys."""
        return [each for each in self.look() if each.key in keys]

    def cancel(self, names: Sequence[str]) -> Mapping[str, str]:
        """Cancel arrays or tasks."""
        fault = cancel(names) if names else ""
        return dict.fromkeys(names, fault) if fault else {}

    def explain(self, fault: Exception, before: str) -> OcicalibanError:
        """Return a fault for people."""
        if isinstance(fault, OcicalibanError):
            return fault
        if isinstance(fault, Full):
            return LimitReached(fault.words)
        words = fault.words if isinstance(fault, CreateFault) else str(fault)
        if isinstance(fault, CreateFault) and fault.verdict == "refused":
            return Refused(
                f"Slurm refuses{before}: {words}", "`sinfo` shows the partitions, `scontrol show` the limits"
            )
        return OcicalibanError(f"Slurm does not answer: {words}", "`sinfo` shows whether it runs")
