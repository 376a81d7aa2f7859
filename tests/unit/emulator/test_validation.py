"""What the service refuses of a job."""

from __future__ import annotations

import pytest
from google.cloud.aiplatform_v1.types import CustomJob

from ocicaliban.emulator import validation
from ocicaliban.emulator.faults import Faults
from tests.unit.emulator.samples import custom_job, pool

N1 = {"machine_type": "n1-standard-4"}
T4 = {**N1, "accelerator_type": "NVIDIA_TESLA_T4"}


@pytest.mark.parametrize(
    "job",
    [
        custom_job(),
        custom_job(pool(), pool(replica_count=3), {}, pool()),
        custom_job(pool(machine_spec={**T4, "accelerator_count": 2})),
        custom_job(pool(disk_spec={"boot_disk_size_gb": 100})),
        custom_job(network="projects/1/global/networks/n", service_account="me@p.iam.gserviceaccount.com"),
        custom_job(base_output_directory={"output_uri_prefix": "gs://bucket/x"}, labels={"key": "value_1"}),
    ],
)
def test_a_valid_job_is_accepted(job: CustomJob) -> None:
    assert validation.problem(job, Faults()) == "" and not validation.exceeded_quotas(job, Faults())


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (CustomJob(job_spec={"worker_pool_specs": [pool()]}), "display_name"),
        (CustomJob(display_name="x" * 129), "display_name"),
        (CustomJob(display_name="x"), "worker_pool_specs is required"),
        (custom_job(*[pool()] * 5), "at most 4 worker pools"),
        (custom_job(pool(replica_count=2)), "first worker pool must be 1"),
        (custom_job(pool(), pool(replica_count=0)), "replica_count must be at least 1"),
        (custom_job(pool(machine_spec={"machine_type": "my-machine"})), '"my-machine" is not supported'),
        (custom_job(pool(machine_spec={**T4, "accelerator_count": 3})), '"NVIDIA_TESLA_T4" with this count'),
        (custom_job(pool(machine_spec={"machine_type": "ct5lp-hightpu-4t"})), "tpu_topology is required"),
        (custom_job(pool(disk_spec={"boot_disk_size_gb": 99})), "between 100 and 64000"),
        (custom_job(pool(container_spec={})), "image_uri is required"),
        (
            custom_job(pool(container_spec={"image_uri": "i", "env": [{"name": f"n{n}"} for n in range(101)]})),
            "At most 100 environment variables",
        ),
        (custom_job(scheduling={"timeout": {"seconds": -1}}), "timeout must not be negative"),
        (custom_job(network="mynet"), "Invalid network 'mynet'"),
        (custom_job(service_account="nobody"), "Invalid service account 'nobody'"),
        (custom_job(labels={f"key{n}": "x" for n in range(65)}), "At most 64 labels"),
        (custom_job(labels={"Key": "x"}), "Invalid label 'Key: x'"),
        (custom_job(base_output_directory={"output_uri_prefix": "/tmp"}), "is not a Cloud Storage URI"),
    ],
)
def test_an_invalid_job_is_refused_with_the_reason(job: CustomJob, words: str) -> None:
    assert words in validation.problem(job, Faults())


def test_injected_faults_refuse_machines_and_quotas() -> None:
    faults = Faults(refused_machines=("n1-standard-4",), no_quota=("CPU", "NVIDIA_TESLA_T4", "TPU_V5_LITEPOD"))
    assert '"n1-standard-4" is not supported' in validation.problem(custom_job(), faults)
    assert validation.exceeded_quotas(custom_job(), faults) == ["custom_model_training_cpus"]
    gpu = custom_job(pool(machine_spec={**T4, "accelerator_count": 1}))
    assert validation.exceeded_quotas(gpu, faults) == ["custom_model_training_nvidia_t4_gpus"]
