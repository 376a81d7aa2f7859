"""What a job is to Vertex AI: its CustomJob, its labels, and which machine takes which accelerator (pure)."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.model.job import Job, Parameters, Scalar, Status

JOB_LABEL = "ocicaliban-job"
"""The label that holds a job's key: by it a job is found again whose answer was lost."""

ATTEMPT_LABEL = "ocicaliban-attempt"
"""The label that holds the number of the attempt: a job that is submitted anew is another one to the service."""

GROUP_LABEL = "ocicaliban-group"
"""The label that holds a job's group: by it hundreds of states come in a few lists."""

MOST_LABELS = 64
"""How many labels the service takes for one job (Google Cloud's "Requirements for labels")."""

_LONGEST = 63  # characters in a label's key or value, by the same page
_LONGEST_NAME = 128  # of CustomJob.display_name


# --- machines and accelerators ---


@frozen(kw_only=True)
class Table:
    """What the service's documentation says of machines (see `vertex.toml`), and of which `date` that is.

    `accelerators` maps short names to the service's; `machines` each machine to the numbers that it takes of each
    accelerator; `tpus` each generation and number of chips to a machine and a topology; `places` an accelerator to
    the regions that are known to have it.
    """

    source: str
    date: str
    per_minute: float
    regions: tuple[str, ...]
    accelerators: Mapping[str, str]
    ended: Mapping[str, str]
    places: Mapping[str, tuple[str, ...]]
    machines: Mapping[str, Mapping[str, tuple[int, ...]]]
    tpus: Mapping[str, Mapping[int, tuple[str, str]]]

    def short(self, type_: str) -> str:
        """The short name of an accelerator by the service's name, which may lack its maker and line; else as it is."""
        return next((name for name, known in self.accelerators.items() if _bare(known) == _bare(type_)), type_)


def _bare(accelerator: str) -> str:
    return accelerator.removeprefix("NVIDIA_").removeprefix("TESLA_")


@functools.cache
def table() -> Table:
    """The table that comes with this version."""
    data = tomllib.loads((Path(__file__).parent / "machines.toml").read_text(encoding="utf-8"))
    accelerators: dict[str, dict[str, object]] = data["accelerators"]
    return Table(
        source=data["source"],
        date=data["date"],
        per_minute=data["submissions_per_minute"],
        regions=tuple(data["regions"]),
        accelerators={name: str(known["type"]) for name, known in accelerators.items()},
        ended={name: str(known["ended"]) for name, known in accelerators.items() if "ended" in known},
        places={name: tuple(known["regions"]) for name, known in data["accelerators"].items() if "regions" in known},
        machines={
            machine: {name: tuple(numbers) for name, numbers in takes.items()}
            for machine, takes in data["machines"].items()
        },
        tpus={
            name: {int(chips): (machine, topology) for chips, (machine, topology) in sizes.items()}
            for name, sizes in data["tpus"].items()
        },
    )


@frozen(kw_only=True)
class Machine:
    """A machine of the service and what is in it; `accelerator` by the service's name, empty for none."""

    type: str
    accelerator: str = ""
    count: int = 0
    topology: str = ""


DEFAULT_MACHINE = "n1-standard-8"
"""Where neither a machine nor an accelerator is asked for, as in Caliban."""

_SPEC = re.compile(r"(\d{1,9})[xX](\w[\w-]*)")


def machine(machine_type: str, gpu: str, tpu: str, region: str, force: bool) -> tuple[Machine, tuple[str, ...]]:
    """The machine for `--machine-type`, `--gpu-spec` (2xV100), `--tpu-spec` (8xV3) and `--region`, and warnings.

    A spec without a machine type gets the first machine of the table that takes it. What the table contradicts raises
    UsageError with what would do, or is a warning with `force`; names that it does not know are passed on with a
    warning, since it goes out of date.
    """
    known = table()
    if gpu and tpu:
        raise UsageError("--gpu-spec and --tpu-spec exclude each other", "leave one of the two out")
    warnings: list[str] = []

    def doubt(message: str, hint: str) -> None:
        if not force:
            raise UsageError(message, f"{hint}; or --force, if the service has changed since {known.date}")
        warnings.append(f"{message} (by the table of {known.date})")

    if region not in known.regions:
        doubt(f"Vertex AI has no region '{region}'", nearest(region, known.regions))
    if not gpu and not tpu:
        chosen = Machine(type=machine_type or DEFAULT_MACHINE)
        if chosen.type not in known.machines and chosen.type not in _tpu_machines(known):
            warnings.append(_unknown("machine type", chosen.type, known.machines, known))
        elif known.machines.get(chosen.type) and not chosen.type.startswith("n1-"):
            specs = ", ".join(f"{n}x{name}" for name, ns in known.machines[chosen.type].items() for n in ns)
            doubt(f"the machine {chosen.type} comes with accelerators", f"add them: {specs}")
        return chosen, tuple(warnings)
    option, text = ("--gpu-spec", gpu) if gpu else ("--tpu-spec", tpu)
    count, name = _spec(option, text, known)
    is_tpu = name in known.tpus or known.accelerators.get(name, "").startswith("TPU")
    if is_tpu != bool(tpu) and (is_tpu or name in known.accelerators):
        other = "--gpu-spec" if tpu else "--tpu-spec"
        raise UsageError(f"{option} takes no {name}", f"write {other} {count}x{name}")
    if name in known.tpus:
        return _slice(count, name, machine_type, known, doubt), tuple(warnings)
    if name not in known.accelerators:
        warnings.append(_unknown("accelerator", name, known.accelerators, known))
        return Machine(type=machine_type or DEFAULT_MACHINE, accelerator=name, count=count), tuple(warnings)
    if name in known.ended:
        warnings.append(f"{name}: {known.ended[name]}")
    takes = {machine: numbers[name] for machine, numbers in known.machines.items() if name in numbers}
    fitting = [machine for machine, numbers in takes.items() if count in numbers]
    if not fitting:
        numbers = sorted({number for of_one in takes.values() for number in of_one})
        some = f"there are machines with {', '.join(map(str, numbers))}" if numbers else "no machine has it any more"
        doubt(f"no machine takes {count} {name}", some)
    chosen_type = machine_type or (fitting or list(takes) or [DEFAULT_MACHINE])[0]
    if machine_type and machine_type not in known.machines:
        warnings.append(_unknown("machine type", machine_type, known.machines, known))
    elif fitting and chosen_type not in fitting:
        here = takes.get(chosen_type)
        why = f"takes {' or '.join(map(str, here))} {name}, not {count}" if here else f"takes no {name}"
        doubt(f"the machine {chosen_type} {why}", f"{count} of them go with {', '.join(fitting)}")
    if name in known.places and region not in known.places[name] and region in known.regions:
        where = ", ".join(known.places[name])
        warnings.append(f"{name} is not known to be in {region} (by the table of {known.date}): it is in {where}")
    return Machine(type=chosen_type, accelerator=known.accelerators[name], count=count), tuple(warnings)


def _spec(option: str, text: str, known: Table) -> tuple[int, str]:
    match = _SPEC.fullmatch(text.strip())
    if match is None or not int(match[1]):
        example = "2xV100 or 1xA100" if option == "--gpu-spec" else "8xV3 or 4xV5E"
        raise UsageError(f"{option} {text}: not a number, an x and a name", f"for example {option} {example}")
    name = match[2].upper().replace("-", "_")
    return int(match[1]), known.short(name) if name not in known.tpus else name


def _slice(count: int, name: str, machine_type: str, known: Table, doubt: Callable[[str, str], None]) -> Machine:
    sizes = known.tpus[name]
    if count not in sizes:
        doubt(f"there is no slice of {count} {name}", f"there are: {', '.join(map(str, sizes))}")
    largest, _ = sizes[max(sizes)]
    usual, topology = sizes.get(count, (largest, ""))
    if machine_type and machine_type != usual:
        doubt(f"the machine {machine_type} is not that of {count} {name}", f"it is {usual}, and need not be named")
    return Machine(type=machine_type or usual, topology=topology)


def _tpu_machines(known: Table) -> set[str]:
    return {machine for sizes in known.tpus.values() for machine, _ in sizes.values()}


def _unknown(what: str, name: str, names: Iterable[str], known: Table) -> str:
    close = nearest(name, names)
    meant = f"; {close}" if close.startswith("did you mean") else ""
    return f"the {what} {name} is not in the table of {known.date}, and is passed on as it is{meant}"


# --- labels ---


def label_key(text: str) -> str:
    """`text` as a label's key, as Caliban makes it; empty where nothing of it can stay."""
    clean = _clean(text)
    return (f"k{clean}" if clean and not clean[0].isalpha() else clean)[:_LONGEST]


def label_value(value: Scalar) -> str:
    """A value as a label's: `true` for True, `0_001` for 0.001."""
    return _clean(str(value).lower() if isinstance(value, bool) else str(value))[:_LONGEST]


_NUMBER = re.compile(r"-\.?\d.*")


def argued(args: Sequence[str]) -> Parameters:
    """The parameters that a script's arguments look like: `--lr 0.1`, `--lr=0.1`, and `--fast`, whose value is empty.

    Caliban makes labels of these too. A negative number is a value.
    """
    found: list[tuple[str, Scalar]] = []
    for number, word in enumerate(args):
        name, equals, value = word.partition("=")
        if not re.match("--?[^-]", name) or _NUMBER.fullmatch(name):
            continue
        after = args[number + 1] if number + 1 < len(args) else "-"
        if not equals and (not after.startswith("-") or _NUMBER.fullmatch(after)):
            value = after
        found.append((name.lstrip("-"), value))
    return tuple(found)


def _clean(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", text.replace(".", "_").lower()).lstrip("-")


def labels(
    key: str, group: str, attempt: int = 1, given: Iterable[tuple[str, str]] = (), parameters: Parameters = ()
) -> tuple[dict[str, str], tuple[str, ...]]:
    """A job's labels: its key, attempt and group, those `given` by --label, its parameters; and which had no room.

    Two parameters that come to the same key are told apart by a number. Raises UsageError for a label of the user's
    that is none, or that collides with another one or with ours: it would be lost without a word.
    """
    made = {JOB_LABEL: key, ATTEMPT_LABEL: str(attempt), GROUP_LABEL: label_value(group)}
    if label_value(key) != key:
        raise UsageError(f"the job's key '{key}' is no label", "lower case, digits, - and _, at most 63 of them")
    ours = len(made)
    origin = {JOB_LABEL: "the job's key", ATTEMPT_LABEL: "the attempt's number", GROUP_LABEL: "the job's group"}
    for name, value in given:
        clean = label_key(name)
        if not clean:
            raise UsageError(f"--label {name}: no letter or digit is in it", "for example --label team=vision")
        if clean in made:
            raise UsageError(f"--label {name} collides with {origin[clean]}: both are '{clean}'", "rename one of them")
        made[clean], origin[clean] = label_value(value), f"--label {name}"
    if len(made) > MOST_LABELS:
        most = f"at most {MOST_LABELS - ours} beside ours"
        raise UsageError(f"{len(made) - ours} labels are more than Vertex AI takes", most)
    left_out = []
    for parameter, scalar in parameters:
        clean = _free(label_key(parameter), made)
        if not clean or len(made) == MOST_LABELS:
            left_out.append(parameter)
        else:
            made[clean] = label_value(scalar)
    return made, tuple(left_out)


def _free(key: str, taken: Mapping[str, str]) -> str:
    """`key`, or the first of `key_2`, `key_3`, ... that is not taken yet."""
    if not key or key not in taken:
        return key
    numbered = (f"{key[: _LONGEST - len(str(number)) - 1]}_{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in numbered if candidate not in taken)


# --- the job ---


@frozen(kw_only=True)
class Options:
    """What the jobs of a submission have in common on Vertex AI.

    `boot_disk` is in GB; `timeout` in seconds; `restarts` is None for the service's own way, 0 for none; `output` a
    `gs://` folder in which each job gets one of its own; `entrypoint` what is started before a job's arguments, where
    that is known, and `command` what goes for the arguments of a job that has none, as an image's CMD does.
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


def check_platform(platform: str) -> None:
    """Raise UsageError for an image that the machines of the service do not run; "" is one that is not known yet."""
    if platform not in ("", "linux/amd64"):
        hint = "build it on such a machine, or name one that is in a registry: --image-tag"
        raise UsageError(f"the image would be for {platform}; Vertex AI's machines are linux/amd64", hint)


def output_folder(output: str, group: str, key: str) -> str:
    """The job's own folder in the bucket, without a slash at its end; empty where no `output` is asked for."""
    return f"{output.rstrip('/')}/{label_value(group)}/{key}" if output else ""


# The results of a job on this machine are what it writes to /out; there it is the bucket's folder below /gcs.
_LINK_OUT = 'mkdir -p "$OCICALIBAN_OUT" && ln -sfn "$OCICALIBAN_OUT" /out && exec "$@"'


def custom_job(job: Job, image: str, options: Options, attempt: int = 1) -> tuple[dict[str, object], tuple[str, ...]]:
    """The CustomJob (with the field names of the service's v1 API) of a `job` in this `image`, named by its digest.

    Returned with it are the parameters that had no room among its labels. Raises UsageError where the labels, the
    output folder, the network, the account or the number of replicas are not what the service takes.
    """
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise UsageError(f"{image} is not named by its digest", "a tag can move while jobs wait: push it first")
    if options.output and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", options.output):
        raise UsageError(f"--output-dir {options.output} is no folder in Cloud Storage", "such as gs://BUCKET/results")
    if options.network and not re.fullmatch(r"projects/[^/]+/global/networks/[^/]+", options.network):
        hint = "projects/PROJECT_NUMBER/global/networks/NAME"
        raise UsageError(f"--network {options.network} is not a network's full name", hint)
    if options.service_account and not re.fullmatch(r"[^@\s]+@[^@\s]+", options.service_account):
        hint = "such as trainer@PROJECT.iam.gserviceaccount.com"
        raise UsageError(f"--service-account {options.service_account} is no account's address", hint)
    if options.replicas < 1:
        raise UsageError("--replicas is at least 1")
    if options.replicas > 1 and (options.machine.topology or options.machine.accelerator.startswith("TPU")):
        raise UsageError("a TPU goes with one replica", "ask for a larger slice by --tpu-spec")
    group = job.submission.group
    known = {label_key(name) for name, _ in job.parameters} | {label_key(name) for name, _ in options.labels}
    more = {name: value for name, value in argued(job.args) if label_key(name) not in known}
    made, left_out = labels(job.key, group, attempt, options.labels, (*job.parameters, *more.items()))
    out = output_folder(options.output, group, job.key)
    # Who names a command loses the image's CMD.
    args = job.args or options.command
    container: dict[str, object] = {
        "image_uri": image,
        "args": list(args),
        "env": [{"name": name, "value": value} for name, value in _environment(job, out)],
    }
    if out and (words := [*options.entrypoint, *args]):
        container |= {"command": ["sh", "-c", _LINK_OUT, "sh"], "args": words}
    elif options.entrypoint:
        container["command"] = list(options.entrypoint)
    spec: dict[str, object] = {
        "worker_pool_specs": [_pool(options, container, count) for count in _pools(options.replicas)]
    }
    if scheduling := _scheduling(options):
        spec["scheduling"] = scheduling
    if options.service_account:
        spec["service_account"] = options.service_account
    if options.network:
        spec["network"] = options.network
    if out:
        spec["base_output_directory"] = {"output_uri_prefix": out}
    key = f"-{job.key}"
    name = (options.name or group)[: _LONGEST_NAME - len(key)] + key
    return {"display_name": name, "job_spec": spec, "labels": made}, left_out


def _environment(job: Job, out: str) -> tuple[tuple[str, str], ...]:
    own = {
        "OCICALIBAN_JOB": str(job.id),
        "OCICALIBAN_GROUP": job.submission.group,
        "OCICALIBAN_PARAMETERS": json.dumps(dict(job.parameters)),
    }
    if out:
        own["OCICALIBAN_OUT"] = f"/gcs/{out.removeprefix('gs://')}"
    return tuple({**dict(job.submission.launch.env), **own}.items())


def _pools(replicas: int) -> tuple[int, ...]:
    """The sizes of the worker pools: the first has the primary replica alone."""
    return (1,) if replicas == 1 else (1, replicas - 1)


def _pool(options: Options, container: dict[str, object], replicas: int) -> dict[str, object]:
    machine: dict[str, object] = {"machine_type": options.machine.type}
    if options.machine.accelerator:
        machine |= {"accelerator_type": options.machine.accelerator, "accelerator_count": options.machine.count}
    if options.machine.topology:
        machine["tpu_topology"] = options.machine.topology
    pool: dict[str, object] = {"machine_spec": machine, "replica_count": replicas, "container_spec": container}
    if options.boot_disk is not None:
        pool["disk_spec"] = {"boot_disk_size_gb": options.boot_disk}  # the service knows each machine's type of disk
    return pool


def _scheduling(options: Options) -> dict[str, object]:
    """The service knows restarts as a switch alone: none, its own way, or all replicas when one is restarted."""
    scheduling: dict[str, object] = {}
    if options.timeout is not None:
        scheduling["timeout"] = {"seconds": options.timeout}
    if options.spot:
        scheduling["strategy"] = "SPOT"
    if options.restarts == 0:
        scheduling["disable_retries"] = True
    elif options.restarts:
        scheduling["restart_job_on_worker_restart"] = True
    return scheduling


# --- what the service says ---

_STATUS: dict[str, Status] = {
    "RUNNING": "running",
    "UPDATING": "running",
    "CANCELLING": "running",
    "SUCCEEDED": "succeeded",
    "PARTIALLY_SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "EXPIRED": "failed",
    "CANCELLED": "stopped",
}


@frozen(kw_only=True)
class Seen:
    """What the service tells of a job: its resource name, its own state, why it failed; times in seconds since 1970."""

    key: str
    attempt: int
    name: str
    state: str
    reason: str = ""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None

    @property
    def status(self) -> Status:
        """The state in our words; what waits for a machine is `pending`."""
        return _STATUS.get(self.state, "pending")


UNKNOWN = "Vertex AI does not know it"
"""Why a job cannot be cancelled that is not there."""


def group_filter(*groups: str) -> str:
    """The filter of a list that has the jobs of these groups."""
    return " OR ".join(f'labels.{GROUP_LABEL}="{label_value(group)}"' for group in groups)


def key_filter(*keys: str) -> str:
    """The filter of a list that has every attempt at the jobs with these keys."""
    return " OR ".join(f'labels.{JOB_LABEL}="{key}"' for key in keys)


def console(name: str) -> str:
    """The page of the job with this resource name, for a browser."""
    _, project, _, region, _, number = name.split("/")
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/training/{number}?project={project}"


def log_command(name: str) -> str:
    """The command of gcloud that follows the job's log."""
    _, project, _, region, _, number = name.split("/")
    return f"gcloud ai custom-jobs stream-logs {number} --project={project} --region={region}"
