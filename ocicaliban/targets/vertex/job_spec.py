"""A job as Vertex AI takes it, a CustomJob, and what its states mean (pure)."""

from __future__ import annotations

import json
import re

from ocicaliban.errors import UsageError
from ocicaliban.jobs import arguments
from ocicaliban.model.job import Job, Status
from ocicaliban.targets.vertex.labels import label_key, label_value, labels, parameters_of
from ocicaliban.targets.vertex.options import Options

_LONGEST_NAME = 128  # of CustomJob.display_name


def check_platform(platform: str) -> None:
    """Raise UsageError for an image that the service's machines do not run; "" is a platform that is not known yet."""
    if platform not in ("", "linux/amd64"):
        hint = "build it on a machine with that processor, or name an image in a registry: --image-tag"
        raise UsageError(f"the image would be for {platform}; Vertex AI's machines are linux/amd64", hint)


def output_folder(output: str, group: str, key: str) -> str:
    """Return the job's own folder in the bucket, without a slash at its end; "" without an `output`."""
    return f"{output.rstrip('/')}/{label_value(group)}/{key}" if output else ""


# On this machine a job's results are what it writes to /out; there the bucket's folder is below /gcs.
_LINK_OUT = 'mkdir -p "$OCICALIBAN_OUT" && ln -sfn "$OCICALIBAN_OUT" /out && exec "$@"'


def custom_job(job: Job, image: str, options: Options, attempt: int = 1) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the CustomJob of a `job` in this `image`, with the field names of the service's v1 API.

    The image is named by its digest. Returned as well are the parameters that do not fit among the labels. Raises
    UsageError if the image, the labels or the options are not what the service takes.
    """
    _check(image, options)
    group = job.submission.group
    known = {label_key(name) for name, _ in job.parameters} | {label_key(name) for name, _ in options.labels}
    # Short options too, of which Caliban makes labels.
    told = (*parameters_of(job.args), *arguments.parameters_of(job.args))
    more = {name: value for name, value in told if label_key(name) not in known}
    made, left_out = labels(job.key, group, attempt, options.labels, (*job.parameters, *more.items()))
    out = output_folder(options.output, group, job.key)
    container = _container(job, image, options, out)
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


def _check(image: str, options: Options) -> None:
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise UsageError(f"{image} is not named by its digest", "a tag can move while jobs wait: push it first")
    if options.output and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", options.output):
        hint = "such as gs://BUCKET/results"
        raise UsageError(f"--output-dir {options.output} is not a folder in Cloud Storage", hint)
    if options.network and not re.fullmatch(r"projects/[^/]+/global/networks/[^/]+", options.network):
        hint = "projects/PROJECT_NUMBER/global/networks/NAME"
        raise UsageError(f"--network {options.network} is not a network's full name", hint)
    if options.service_account and not re.fullmatch(r"[^@\s]+@[^@\s]+", options.service_account):
        hint = "such as trainer@PROJECT.iam.gserviceaccount.com"
        raise UsageError(f"--service-account {options.service_account} is not an account's address", hint)
    if options.replicas < 1:
        raise UsageError("--replicas is at least 1")
    if options.replicas > 1 and (options.machine.topology or options.machine.accelerator.startswith("TPU")):
        raise UsageError("a TPU goes with one replica", "ask for a larger slice by --tpu-spec")


def _container(job: Job, image: str, options: Options, out: str) -> dict[str, object]:
    """Return the container's spec: its image, command, arguments and environment."""
    # A container with a command loses the image's CMD.
    args = job.args or options.command
    container: dict[str, object] = {
        "image_uri": image,
        "args": list(args),
        "env": [{"name": name, "value": value} for name, value in _environment(job, image, out)],
    }
    if out and (words := [*options.entrypoint, *args]):
        container |= {"command": ["sh", "-c", _LINK_OUT, "sh"], "args": words}
    elif options.entrypoint:
        container["command"] = list(options.entrypoint)
    return container


_PORT = "29500"
"""A job has its machine to itself, so any port is free; this is the usual one of PyTorch's. The service itself sets
MASTER_PORT where several machines work on a job."""


def _environment(job: Job, image: str, out: str) -> tuple[tuple[str, str], ...]:
    own = {
        "OCICALIBAN_JOB": str(job.id),
        "OCICALIBAN_GROUP": job.submission.group,
        "OCICALIBAN_PARAMETERS": json.dumps(dict(job.parameters)),
        "OCICALIBAN_COMMIT": job.submission.commit,
        "OCICALIBAN_DIRTY": "true" if job.submission.dirty else "false",
        "OCICALIBAN_IMAGE": image,
        "OCICALIBAN_PORT": _PORT,
    }
    if out:
        own["OCICALIBAN_OUT"] = f"/gcs/{out.removeprefix('gs://')}"
    return tuple({**dict(job.submission.launch.env), **own}.items())


def _pools(replicas: int) -> tuple[int, ...]:
    """Return the sizes of the worker pools: the first has the primary replica alone."""
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
    """Return the scheduling. The service has three ways of restarting: none, its own, or all replicas together."""
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


def status_of(state: str) -> Status:
    """Return our word for a state of the service. A job that waits for a machine is `pending`."""
    return _STATUS.get(state, "pending")


def console(name: str) -> str:
    """Return the page of the job with this resource name, for a browser."""
    _, project, _, region, _, number = name.split("/")
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/training/{number}?project={project}"


def log_command(name: str) -> str:
    """Return the command of gcloud that follows the job's log."""
    _, project, _, region, _, number = name.split("/")
    return f"gcloud ai custom-jobs stream-logs {number} --project={project} --region={region}"
