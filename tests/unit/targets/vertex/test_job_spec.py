"""What a job is to Vertex AI: machines, labels, the CustomJob."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Job, Parameters, Submission
from ocicaliban.targets.vertex import job_spec

IMAGE = "europe-docker.pkg.dev/p/r/digits@sha256:" + "a" * 64
SCALARS = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
PARAMETERS = st.lists(st.tuples(st.text(), SCALARS), max_size=80).map(tuple)


def job(parameters: Parameters = (), args: tuple[str, ...] = (), group: str = "brave-otter") -> Job:
    launch = Launch(env=(("SEED", "1"),))
    submission = Submission(group=group, user="ada", host="h", project="p", mode="cloud", launch=launch)
    return Job(id=1, key="k7f3", submission=submission, parameters=parameters, args=args)


def machine(type_: str = "", gpu: str = "", tpu: str = "", region: str = "us-central1", force: bool = False) -> object:
    return job_spec.machine(type_, gpu, tpu, region, force)


# --- machines ---


def test_calibans_gpu_spec_gets_a_machine_that_takes_it() -> None:
    assert machine(gpu="2xV100") == (
        job_spec.Machine(type="n1-standard-4", accelerator="NVIDIA_TESLA_V100", count=2),
        (),
    )


@pytest.mark.parametrize(
    ("spec", "type_", "accelerator"),
    [
        ("1xT4", "n1-standard-4", "NVIDIA_TESLA_T4"),
        ("1xL4", "g2-standard-4", "NVIDIA_L4"),
        ("2xa100", "a2-highgpu-2g", "NVIDIA_TESLA_A100"),
        ("4xA100_80GB", "a2-ultragpu-4g", "NVIDIA_A100_80GB"),
        ("4xA100-80GB", "a2-ultragpu-4g", "NVIDIA_A100_80GB"),
        ("8xH100", "a3-highgpu-8g", "NVIDIA_H100_80GB"),
        ("8xH200", "a3-ultragpu-8g", "NVIDIA_H200_141GB"),
        ("2xNVIDIA_TESLA_V100", "n1-standard-4", "NVIDIA_TESLA_V100"),
        ("2xTESLA_V100", "n1-standard-4", "NVIDIA_TESLA_V100"),
        ("1xH100_80GB", "a3-highgpu-1g", "NVIDIA_H100_80GB"),
        ("8xnvidia-h200-141gb", "a3-ultragpu-8g", "NVIDIA_H200_141GB"),
    ],
)
def test_todays_accelerators_come_with_their_machines(spec: str, type_: str, accelerator: str) -> None:
    chosen, warnings = job_spec.machine("", spec, "", "us-central1", False)
    assert (chosen.type, chosen.accelerator, warnings) == (type_, accelerator, ())


def test_an_accelerator_that_the_machine_does_not_take_is_an_error_that_names_what_would_do() -> None:
    with pytest.raises(UsageError, match="n1-standard-32 takes 4 or 8 V100, not 1") as told:
        machine("n1-standard-32", "1xV100")
    assert "n1-standard-4" in told.value.hint and "--force" in told.value.hint
    with pytest.raises(UsageError, match="a2-highgpu-1g takes no V100"):
        machine("a2-highgpu-1g", "1xV100")
    with pytest.raises(UsageError, match="no machine takes 3 T4") as told:
        machine(gpu="3xT4")
    assert "1, 2, 4" in told.value.hint


def test_force_makes_a_warning_of_what_the_table_contradicts() -> None:
    chosen, warnings = job_spec.machine("n1-standard-32", "1xV100", "", "us-central1", True)
    assert chosen == job_spec.Machine(type="n1-standard-32", accelerator="NVIDIA_TESLA_V100", count=1)
    assert len(warnings) == 1


def test_a_name_that_the_table_does_not_know_is_passed_on_with_a_warning() -> None:
    chosen, warnings = job_spec.machine("x9-huge-1g", "2xNVIDIA_X900", "", "us-central1", False)
    assert (chosen.type, chosen.accelerator, chosen.count) == ("x9-huge-1g", "NVIDIA_X900", 2)
    assert any("NVIDIA_X900" in warning for warning in warnings)
    chosen, warnings = job_spec.machine("n1-standrad-4", "", "", "us-central1", False)
    assert chosen.type == "n1-standrad-4" and "did you mean 'n1-standard-4'" in warnings[0]


def test_a_region_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="us-centrall1") as told:
        machine(region="us-centrall1")
    assert "us-central1" in told.value.hint


def test_a_region_that_is_not_known_to_have_the_accelerator_is_a_warning() -> None:
    assert "not known to be in europe-west9" in job_spec.machine("", "1xA100", "", "europe-west9", False)[1][0]


def test_a_machine_that_has_accelerators_wants_them_named() -> None:
    with pytest.raises(UsageError, match="a2-highgpu-2g comes with accelerators") as told:
        machine("a2-highgpu-2g")
    assert "2xA100" in told.value.hint


@pytest.mark.parametrize("spec", ["V100", "2V100", "x", "0xV100", "2 x V100", ""])
def test_a_spec_that_is_none_is_a_usage_error(spec: str) -> None:
    if spec:
        with pytest.raises(UsageError, match="--gpu-spec"):
            machine(gpu=spec)
    else:
        assert job_spec.machine("", spec, "", "us-central1", False)[0].type == job_spec.DEFAULT_MACHINE


def test_tpus_are_cores_of_a_cloud_tpu_or_a_topology() -> None:
    assert job_spec.machine("", "", "8xV3", "us-central1", False)[0] == job_spec.Machine(
        type="cloud-tpu", accelerator="TPU_V3", count=8
    )
    assert job_spec.machine("", "", "16xV5E", "us-central1", False)[0] == job_spec.Machine(
        type="ct5lp-hightpu-4t", topology="4x4"
    )
    with pytest.raises(UsageError, match="no slice of 3 V5E"):
        machine(tpu="3xV5E")
    with pytest.raises(UsageError, match="n1-standard-4 is not that of 4 V5E"):
        machine("n1-standard-4", tpu="4xV5E")
    forced = job_spec.machine("ct9-new", "", "7xV5E", "us-central1", True)
    assert forced[0] == job_spec.Machine(type="ct9-new") and len(forced[1]) == 2
    for gpu, tpu in (("8xV3", ""), ("8xV5E", ""), ("", "1xT4")):
        with pytest.raises(UsageError, match="takes no"):
            machine(gpu=gpu, tpu=tpu)
    with pytest.raises(UsageError, match="exclude"):
        machine(gpu="1xT4", tpu="8xV3")


def test_the_table_agrees_with_itself() -> None:
    table = job_spec.table()
    assert {name for takes in table.machines.values() for name in takes} <= set(table.accelerators)
    assert {region for regions in table.places.values() for region in regions} <= set(table.regions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", table.date) and table.source.startswith("https://")


# --- labels ---


def test_labels_are_as_caliban_makes_them() -> None:
    made, left_out = job_spec.labels(
        "k1", "Brave Otter", given=[("Team", "Vision!")], parameters=(("lr", 0.001), ("Use.Bias", True), ("2d", "A b"))
    )
    assert made == {
        "ocicaliban-job": "k1", "ocicaliban-attempt": "1", "ocicaliban-group": "braveotter", "team": "vision",
        "lr": "0_001", "use_bias": "true", "k2d": "ab",
    }  # fmt: skip
    assert left_out == ()


@given(PARAMETERS)
def test_labels_are_always_what_the_service_takes(parameters: Parameters) -> None:
    made, left_out = job_spec.labels("k1", "g", parameters=parameters)
    assert len(made) <= job_spec.MOST_LABELS
    assert len(made) - 3 + len(left_out) == len(parameters)
    for key, value in made.items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)


@given(st.lists(st.text(alphabet="aA.", min_size=1, max_size=70), max_size=30, unique=True))
def test_parameters_that_come_to_the_same_key_all_stay(names: list[str]) -> None:
    made, left_out = job_spec.labels("k1", "g", parameters=tuple((name, name) for name in names))
    assert len(made) == 3 + len([name for name in names if job_spec.label_key(name)])
    assert set(left_out) == {name for name in names if not job_spec.label_key(name)}


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ([("a.b", "1"), ("a_b", "2")], "collides with --label a.b"),
        ([("ocicaliban-job", "x")], "collides with the job's key"),
        ([("!!", "x")], "no letter or digit"),
        ([(f"l{number}", "x") for number in range(62)], "more than Vertex AI takes"),
    ],
)
def test_a_label_of_the_users_that_would_be_lost_is_an_error(given_: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        job_spec.labels("k1", "g", given=given_)


# --- the job ---


def plain(**changes: object) -> job_spec.Options:
    return job_spec.Options(machine=job_spec.Machine(type="n1-standard-4"), **changes)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--lr", "0.1"), (("lr", "0.1"),)),
        (("--lr=0.1", "-n", "3"), (("lr", "0.1"), ("n", "3"))),
        (("--fast", "--lr", "-0.1", "file"), (("fast", ""), ("lr", "-0.1"))),
        (("--fast",), (("fast", ""),)),
        (("train", "-", "--"), ()),
    ],
)
def test_what_looks_like_a_parameter_among_the_arguments(
    args: tuple[str, ...], found: tuple[tuple[str, str], ...]
) -> None:
    assert job_spec.argued(args) == found


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
        job_spec.custom_job(
            job(), IMAGE, job_spec.Options(machine=job_spec.Machine(type="t", topology="1x1"), replicas=2)
        )


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
    with pytest.raises(UsageError, match="no folder in Cloud Storage"):
        spec(output="/data/results")


@given(PARAMETERS, st.text())
def test_any_job_can_be_written_as_json(parameters: Parameters, group: str) -> None:
    made, _ = job_spec.custom_job(job(parameters, group=group), IMAGE, plain())
    assert json.loads(json.dumps(made)) == made
    assert len(str(made["display_name"])) <= 128


def test_states_are_told_in_our_words() -> None:
    def status(state: str) -> str:
        return job_spec.Seen(key="k", attempt=1, name="n", state=state).status

    assert [status(state) for state in ("QUEUED", "PENDING", "RUNNING", "CANCELLING")] == [
        "pending", "pending", "running", "running",
    ]  # fmt: skip
    assert [status(state) for state in ("SUCCEEDED", "FAILED", "CANCELLED", "NEW_ONE")] == [
        "succeeded", "failed", "stopped", "pending",
    ]  # fmt: skip
