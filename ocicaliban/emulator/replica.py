"""The replicas of a job, and what each of them sees, as Vertex AI defines it (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from google.cloud.aiplatform_v1.types import CustomJob, CustomJobSpec, WorkerPoolSpec
from google.protobuf import json_format

from ocicaliban.containers import command_line
from ocicaliban.emulator import folder

_ROLES = ("chief", "worker", "ps", "evaluator")


@frozen(kw_only=True)
class Replica:
    """One container of a job: its worker pool, its index in the pool, and the address where others reach it."""

    pool: int
    index: int
    address: str

    @property
    def name(self) -> str:
        """The name in the service's logs and errors."""
        return f"workerpool{self.pool}-{self.index}"


def create_replicas(sizes: Sequence[int], ports: Sequence[int]) -> tuple[Replica, ...]:
    """Return the replicas of worker pools of these sizes; all run on this machine, so each needs a port of its own."""
    places = [(pool, index) for pool, size in enumerate(sizes) for index in range(size)]
    return tuple(
        Replica(pool=pool, index=index, address=f"127.0.0.1:{port}")
        for (pool, index), port in zip(places, ports, strict=True)
    )


def environment(job: CustomJob, replica: Replica, all_replicas: Sequence[Replica]) -> dict[str, str]:
    """Return the variables that the service sets in a replica, and then those of its worker pool."""
    spec = job.job_spec
    _, project, _, _, _, number = job.name.split("/")
    described = json_format.MessageToDict(CustomJobSpec.pb(spec), preserving_proto_field_name=True)
    common = {"environment": "cloud", "job": described}
    pools: dict[str, list[str]] = {}
    roles: dict[str, list[str]] = {}
    for each in all_replicas:
        pools.setdefault(f"workerpool{each.pool}", []).append(each.address)
        if each.pool < 3:
            roles.setdefault(_ROLES[each.pool], []).append(each.address)
    task = {"type": f"workerpool{replica.pool}", "index": replica.index}
    env = {
        "CLOUD_ML_PROJECT_ID": project,
        "CLOUD_ML_JOB_ID": number,
        "CLUSTER_SPEC": json.dumps({"cluster": pools, "task": task, **common}),
    }
    if len(all_replicas) > 1:
        role = {"type": _ROLES[replica.pool], "index": replica.index}
        env["TF_CONFIG"] = json.dumps({"cluster": roles, "task": role, **common})
    if base := spec.base_output_directory.output_uri_prefix.rstrip("/"):
        env["AIP_MODEL_DIR"] = f"{base}/model/"
        env["AIP_CHECKPOINT_DIR"] = f"{base}/checkpoints/"
        env["AIP_TENSORBOARD_LOG_DIR"] = f"{base}/logs/"
    return env | {each.name: each.value for each in spec.worker_pool_specs[replica.pool].container_spec.env}


def podman_command(
    name: str, emulator_id: str, pool: WorkerPoolSpec, env: Mapping[str, str], gcs: Path, gpus: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return podman's command for a replica, labelled with the ID of its emulator; `gpus` are options of `podman run`.

    The container sees nothing of this machine but the folder of the buckets, at /gcs.
    """
    container = pool.container_spec
    options = [*command_line.label_options({folder.LABEL: emulator_id})]
    options += ["--network", "host", "--http-proxy=false", *command_line.mount_option(f"{gcs}:/gcs"), *gpus]
    for key, value in env.items():
        options += ["--env", f"{key}={value}"]
    if container.command:
        options += ["--entrypoint", json.dumps(list(container.command))]
    return command_line.bare_run_argv(name, container.image_uri, tuple(options), tuple(container.args))
