"""Validate a job as the service does, by the references of CustomJob and its parts (pure)."""

from __future__ import annotations

import re

from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob, CustomJobSpec, WorkerPoolSpec

from ocicaliban.emulator.faults import Faults
from ocicaliban.targets.vertex import labels, machines

_MACHINE = re.compile(r"([acegmnt]\d\w?|cloud|ct\d\w+|tpu\d\w+)-[a-z]+(-[\w-]+)?")
_NETWORK = re.compile(r"projects/[^/]+/global/networks/[^/]+")
_ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MAX_POOLS = 4
_MAX_VARIABLES = 100
_MIN_DISK, _MAX_DISK = 100, 64000  # gigabytes


def problem(job: CustomJob, faults: Faults) -> str:
    """Return why the service refuses a job; "" if it accepts it."""
    spec = job.job_spec
    pools = spec.worker_pool_specs
    if not job.display_name or len(job.display_name) > 128:
        return "display_name is required and at most 128 characters long."
    if not pools:
        return "worker_pool_specs is required."
    if len(pools) > _MAX_POOLS:
        return f"worker_pool_specs: at most {_MAX_POOLS} worker pools are supported."
    if pools[0].replica_count != 1:
        return "replica_count of the first worker pool must be 1."
    # An empty value skips a pool, except the first one.
    for pool in (pool for pool in pools if pool != WorkerPoolSpec()):
        if reason := _problem_of_pool(pool, faults):
            return reason
    if CustomJobSpec.pb(spec).scheduling.timeout.ToNanoseconds() < 0:
        return "scheduling.timeout must not be negative."
    if spec.network and not _NETWORK.fullmatch(spec.network):
        return f"Invalid network '{spec.network}': it is projects/PROJECT/global/networks/NETWORK."
    if spec.service_account and not _ACCOUNT.fullmatch(spec.service_account):
        return f"Invalid service account '{spec.service_account}'."
    if len(job.labels) > labels.MOST_LABELS:
        return f"At most {labels.MOST_LABELS} labels are supported."
    for key, value in job.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            return f"Invalid label '{key}: {value}'."
    prefix = spec.base_output_directory.output_uri_prefix
    return "" if not prefix or prefix.startswith("gs://") else f"'{prefix}' is not a Cloud Storage URI."


def _problem_of_pool(pool: WorkerPoolSpec, faults: Faults) -> str:
    if pool.replica_count < 1:
        return "replica_count must be at least 1."
    machine = pool.machine_spec.machine_type
    if not _MACHINE.fullmatch(machine) or machine in faults.refused_machines:
        return f'Machine type "{machine}" is not supported.'
    known = machines.table()
    accelerator = AcceleratorType(pool.machine_spec.accelerator_type).name
    count = pool.machine_spec.accelerator_count
    takes = known.machines.get(machine)
    if count and takes and count not in takes.get(known.short(accelerator), ()):
        return f'Accelerator "{accelerator}" with this count is not supported for machine type "{machine}".'
    slices = {tpu for sizes in known.tpus.values() for tpu, topology in sizes.values() if topology}
    if machine in slices and not pool.machine_spec.tpu_topology:
        return f'tpu_topology is required for machine type "{machine}".'
    disk = pool.disk_spec.boot_disk_size_gb
    if disk and not _MIN_DISK <= disk <= _MAX_DISK:
        return f"boot_disk_size_gb must be between {_MIN_DISK} and {_MAX_DISK}."
    if not pool.container_spec.image_uri:
        return "container_spec.image_uri is required."
    if len(pool.container_spec.env) > _MAX_VARIABLES:
        return f"At most {_MAX_VARIABLES} environment variables are supported."
    return ""


def exceeded_quotas(job: CustomJob, faults: Faults) -> list[str]:
    """Return the quota metrics that the job exceeds."""
    used = {AcceleratorType(pool.machine_spec.accelerator_type).name for pool in job.job_spec.worker_pool_specs}
    prefixes = {"NVIDIA_TESLA_": "nvidia_", "NVIDIA_": "nvidia_", "TPU_": "tpu_"}
    exceeded = []
    for name in sorted(used):
        if name in faults.no_quota:
            prefix = next(start for start in prefixes if name.startswith(start))
            exceeded.append(f"custom_model_training_{prefixes[prefix]}{name.removeprefix(prefix).lower()}_gpus")
        elif name == "ACCELERATOR_TYPE_UNSPECIFIED" and "CPU" in faults.no_quota:
            exceeded.append("custom_model_training_cpus")
    return exceeded
