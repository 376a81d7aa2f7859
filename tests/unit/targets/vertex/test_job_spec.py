"""What a job is to Vertex AI: the CustomJob."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Job, Parameters, Submission
from ocicaliban.targets.vertex import job_spec
from ocicaliban.targets.vertex.machines import Machine
from ocicaliban.targets.vertex.options import Options

IMAGE = "europe-docker.pkg.dev/p/r/digits@sha256:" + "a" * 64
SCALARS = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
PARAMETERS = st.lists(st.tuples(st.text(), SCALARS), max_size=80).map(tuple)


def job(parameters: Parameters = (), args: tuple[str, ...] = (), group: str = "brave-otter") -> Job:
    launch = Launch(env=(("SEED", "1"),))
    submission = Submission(target="local", group=group, user="ada", host="h", project="p", mode="cloud", launch=launch)
    return Job(id=1, key="k7f3", submission=submission, parameters=parameters, args=args)


def plain(**changes: object) -> Options:
    return Options(machine=Machine(type="n1-standard-4"), **changes)  # type: ignore[arg-type]


def test_a_plain_job() -> None:
    made, left_out = job_spec.custom_job(job((("lr", 0.1),), ("--lr", "0.1")), IMAGE, plain())
    assert left_out == ()
    assert made == {
        "display_name": "brave-otter-k7f3",
        "labels": {
            "ocicaliban-job": "k7f3", "ocicaliban-attempt": "1", "ocicaliban-group": "brave-otter", "lr": "0_1",
        },
        "job_spec": {
            "worker_pool_specs": [
                {
                    "machine_spec": {"machine_type": "n1-standard-4"},
                    "replica_count": 1,
                    "container_spec": {
                        "image_uri": IMAGE,
                        "args": ["--lr", "0.1"],
                        "env": [
                            {"name": "SEED", "value": "1"},
                            {"name": "OCICALIBAN_JOB", "value": "1"},
                            {"name": "OCICALIBAN_GROUP", "value": "brave-otter"},
                            {"name": "OCICALIBAN_PARAMETERS", "value": '{"lr": 0.1}'},
                            {"name": "OCICALIBAN_COMMIT", "value": ""},
                            {"name": "OCICALIBAN_DIRTY", "value": "false"},
                            {"name": "OCICALIBAN_IMAGE", "value": IMAGE},
                            {"name": "OCICALIBAN_PORT", "value": "29500"},
                        ],
                    },
                }
            ]
        },
    }  # fmt: skip


def spec(**changes: object) -> dict[str, object]:
    return job_spec.custom_job(job(), IMAGE, plain(**changes))[0]["job_spec"]  # type: ignore[return-value]


def test_every_option_is_one_field_of_the_service() -> None:
    made = spec(spot=True, timeout=60, restarts=0, service_account="a@b", network="projects/1/global/networks/n")
    assert made["scheduling"] == {"timeout": {"seconds": 60}, "strategy": "SPOT", "disable_retries": True}
    assert (made["service_account"], made["network"]) == ("a@b", "projects/1/global/networks/n")
    assert spec(restarts=3)["scheduling"] == {"restart_job_on_worker_restart": True}
    disk = spec(boot_disk=200)["worker_pool_specs"][0]["disk_spec"]  # type: ignore[index]
    assert disk == {"boot_disk_size_gb": 200}  # the type of disk is the service's own for the machine


def test_an_image_for_other_machines_is_refused_before_it_is_built() -> None:
    job_spec.check_platform("linux/amd64")
    job_spec.check_platform("")
    with pytest.raises(UsageError, match="for linux/arm64"):
        job_spec.check_platform("linux/arm64")


def test_a_long_name_is_cut_before_the_jobs_key() -> None:
    made, _ = job_spec.custom_job(job(), IMAGE, plain(name="n" * 200))
    assert len(str(made["display_name"])) == 128 and str(made["display_name"]).endswith("n-k7f3")


def test_arguments_are_labels_as_in_caliban_and_no_parameter_twice() -> None:
    one = job(args=("--lr", "0.1", "--Epochs", "3", "--team", "x"), parameters=(("lr", 0.1),))
    made, _ = job_spec.custom_job(one, IMAGE, plain(labels=(("team", "vision"),)))
    labels = {name: value for name, value in made["labels"].items() if "-" not in name}  # type: ignore[attr-defined]
    assert labels == {"lr": "0_1", "epochs": "3", "team": "vision"}


@pytest.mark.parametrize(
    ("option", "value"), [("network", "mynet"), ("network", "projects/1/networks/n"), ("service_account", "nobody")]
)
def test_a_name_that_the_service_cannot_take_is_told(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} {value}") as caught:
        spec(**{option: value})
    assert caught.value.hint


def test_replicas_are_a_primary_one_and_a_pool_of_the_rest() -> None:
    pools = spec(replicas=4)["worker_pool_specs"]
    assert [pool["replica_count"] for pool in pools] == [1, 3]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="one replica"):
        job_spec.custom_job(job(), IMAGE, Options(machine=Machine(type="t", topology="1x1"), replicas=2))


def test_out_is_the_jobs_own_folder_in_the_bucket() -> None:
    made = spec(output="gs://bucket/results/", entrypoint=("python3", "-m", "train"))
    assert made["base_output_directory"] == {"output_uri_prefix": "gs://bucket/results/brave-otter/k7f3"}
    container = made["worker_pool_specs"][0]["container_spec"]  # type: ignore[index]
    assert {"name": "OCICALIBAN_OUT", "value": "/gcs/bucket/results/brave-otter/k7f3"} in container["env"]
    assert container["command"][:2] == ["sh", "-c"] and container["args"] == ["python3", "-m", "train"]


def test_what_is_started_goes_with_the_job() -> None:
    def container(**options: object) -> dict[str, object]:
        made = job_spec.custom_job(job(args=("--lr", "1")), IMAGE, plain(**options))[0]["job_spec"]
        return made["worker_pool_specs"][0]["container_spec"]  # type: ignore[index,no-any-return]

    made = container(entrypoint=("python3", "-m", "train"))
    assert (made["command"], made["args"]) == (["python3", "-m", "train"], ["--lr", "1"])
    assert "command" not in container()  # the image starts what it will
    # An image without an entry point starts the arguments themselves.
    assert container(output="gs://bucket/o")["args"] == ["--lr", "1"] and "command" in container(output="gs://bucket/o")


def test_a_job_without_arguments_has_the_images_own() -> None:
    def container(*args: str, **options: object) -> dict[str, object]:
        made = job_spec.custom_job(job(args=args), IMAGE, plain(command=("--lr", "2"), **options))[0]["job_spec"]
        return made["worker_pool_specs"][0]["container_spec"]  # type: ignore[index,no-any-return]

    entry = ("python3", "-m", "train")
    assert container(entrypoint=entry)["args"] == ["--lr", "2"]
    assert container("--lr", "1", entrypoint=entry)["args"] == ["--lr", "1"]
    assert container(entrypoint=entry, output="gs://bucket/o")["args"] == [*entry, "--lr", "2"]
    # Of an image that has a command alone the results are kept too.
    alone = container(output="gs://bucket/o")
    assert "command" in alone and alone["args"] == ["--lr", "2"]


@pytest.mark.parametrize("image", ["digits:v1", "digits@sha256:abc", "a b@sha256:" + "a" * 64])
def test_an_image_that_is_not_named_by_its_digest_is_refused(image: str) -> None:
    with pytest.raises(UsageError, match="digest"):
        job_spec.custom_job(job(), image, plain())


def test_an_output_that_is_no_bucket_is_refused() -> None:
    with pytest.raises(UsageError, match="not a folder in Cloud Storage"):
        spec(output="/data/results")


@given(PARAMETERS, st.text())
def test_any_job_can_be_written_as_json(parameters: Parameters, group: str) -> None:
    made, _ = job_spec.custom_job(job(parameters, group=group), IMAGE, plain())
    assert json.loads(json.dumps(made)) == made
    assert len(str(made["display_name"])) <= 128


def test_states_are_told_in_our_words() -> None:
    assert [job_spec.status_of(state) for state in ("QUEUED", "PENDING", "RUNNING", "CANCELLING")] == [
        "pending", "pending", "running", "running",
    ]  # fmt: skip
    assert [job_spec.status_of(state) for state in ("SUCCEEDED", "FAILED", "CANCELLED", "NEW_ONE")] == [
        "succeeded", "failed", "stopped", "pending",
    ]  # fmt: skip
