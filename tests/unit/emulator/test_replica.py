"""The replicas of a job, and what each of them sees."""

from __future__ import annotations

import json
from pathlib import Path

from ocicaliban.emulator import replica
from tests.unit.emulator.samples import PARENT, custom_job, pool


def test_each_replica_has_a_name_and_an_address_of_its_own() -> None:
    one, two, three = replica.create_replicas([1, 0, 2], [7, 8, 9])
    assert [each.name for each in (one, two, three)] == ["workerpool0-0", "workerpool2-0", "workerpool2-1"]
    assert three.address == "127.0.0.1:9"


def test_a_single_replica_is_told_its_job_and_folders() -> None:
    job = custom_job(base_output_directory={"output_uri_prefix": "gs://bucket/x/"})
    job.name = f"{PARENT}/customJobs/7"
    [only] = replica.create_replicas([1], [7])
    env = replica.environment(job, only, [only])
    assert (env["CLOUD_ML_PROJECT_ID"], env["CLOUD_ML_JOB_ID"]) == ("rehearsal", "7")
    assert env["AIP_CHECKPOINT_DIR"] == "gs://bucket/x/checkpoints/" and "TF_CONFIG" not in env
    cluster = json.loads(env["CLUSTER_SPEC"])
    assert cluster["cluster"] == {"workerpool0": ["127.0.0.1:7"]} and cluster["environment"] == "cloud"


def test_several_replicas_are_told_of_each_other_and_variables_of_the_pool_come_last() -> None:
    own = {"image_uri": "i", "env": [{"name": "CLOUD_ML_JOB_ID", "value": "mine"}]}
    job = custom_job(pool(), pool(replica_count=2, container_spec=own))
    job.name = f"{PARENT}/customJobs/7"
    every = replica.create_replicas([1, 2], [7, 8, 9])
    env = replica.environment(job, every[2], every)
    told = json.loads(env["TF_CONFIG"])
    assert told["task"] == {"type": "worker", "index": 1}
    assert told["cluster"] == {"chief": ["127.0.0.1:7"], "worker": ["127.0.0.1:8", "127.0.0.1:9"]}
    assert env["CLOUD_ML_JOB_ID"] == "mine"


def test_a_container_sees_the_buckets_and_nothing_else() -> None:
    [spec] = custom_job().job_spec.worker_pool_specs
    argv = replica.podman_command("name", "1d", spec, {"A": "b c"}, Path("/buckets"), ("--device", "x"))
    assert argv == (
        *("podman", "run", "--rm", "--pull=never", "--name", "name", "--label", "ocicaliban.emulator=1d"),
        *("--network", "host", "--http-proxy=false", "-v", "/buckets:/gcs", "--device", "x"),
        *("--env", "A=b c", "--entrypoint", '["sh", "-c"]', "localhost/image", "true"),
    )
