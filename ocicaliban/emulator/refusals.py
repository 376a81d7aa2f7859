"""What the emulator refuses of a job, as the references of CustomJob and of its parts have it (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob

from ocicaliban import vertex
from ocicaliban.emulator.faults import Faults

_MACHINE = re.compile(r"([acegmnt]\d\w?|cloud|ct\d\w+|tpu\d\w+)-[a-z]+(-[\w-]+)?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def fault_of(job: CustomJob, faults: Faults) -> str:
    """What the service would refuse of a job; empty where it takes it."""
    pools = job.job_spec.worker_pool_specs
    if not job.display_name or len(job.display_name) > 128:
        return "display_name is required and at most 128 characters long."
    if not pools:
        return "worker_pool_specs is required."
    if pools[0].replica_count != 1:
        return "replica_count of the first worker pool must be 1."
    for pool in pools:
        machine = pool.machine_spec.machine_type
        if not _MACHINE.fullmatch(machine) or machine in faults.refused_machines:
            return f'Machine type "{machine}" is not supported.'
        accelerator = AcceleratorType(pool.machine_spec.accelerator_type).name
        takes = vertex.table().machines.get(machine)
        name = vertex.table().short(accelerator)
        if (
            pool.machine_spec.accelerator_count
            and takes
            and pool.machine_spec.accelerator_count not in takes.get(name, ())
        ):
            return f'Accelerator "{accelerator}" with this count is not supported for machine type "{machine}".'
        if not pool.container_spec.image_uri:
            return "container_spec.image_uri is required."
        if len(pool.container_spec.env) > 100:
            return "At most 100 environment variables are supported."
    if len(job.labels) > vertex.MOST_LABELS:
        return f"At most {vertex.MOST_LABELS} labels are supported."
    for key, value in job.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            return f"Invalid label '{key}: {value}'."
    prefix = job.job_spec.base_output_directory.output_uri_prefix
    return "" if not prefix or prefix.startswith("gs://") else f"'{prefix}' is not a Cloud Storage URI."


def exceeded(job: CustomJob, faults: Faults) -> Sequence[str]:
    """The metrics whose quota the job exceeds."""
    used = {AcceleratorType(pool.machine_spec.accelerator_type).name for pool in job.job_spec.worker_pool_specs}
    short = {"NVIDIA_TESLA_": "nvidia_", "NVIDIA_": "nvidia_", "TPU_": "tpu_"}
    exceeded = []
    for name in sorted(used):
        if name in faults.no_quota:
            prefix = next(start for start in short if name.startswith(start))
            exceeded.append(f"custom_model_training_{short[prefix]}{name.removeprefix(prefix).lower()}_gpus")
        elif name == "ACCELERATOR_TYPE_UNSPECIFIED" and "CPU" in faults.no_quota:
            exceeded.append("custom_model_training_cpus")
    return exceeded
