"""What a job's container is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban.containers.command_line import ContainerOptions, create_argv
from ocicaliban.containers.podman_args import require_values, without_values
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.model.resources import Resources
from ocicaliban.targets.local import container_spec, runner
from ocicaliban.targets.local.container_spec import (
    JobContainer,
    api_spec,
    check_given,
    check_resources,
    for_job,
    labels_of,
)
from tests.cdi_specs import device

SUBMISSION = Submission(target="local", id=3, group="p-calm-otter", user="u", host="h", project="/p", mode="run")
JOB = Job(
    id=12,
    key="k12",
    submission=SUBMISSION,
    parameters=(("lr", 0.1), ("name", "a b")),
    out="/r/a:b",
    args=("--lr", "0.1"),
)
ATTEMPT = Attempt(number=2, handle="oc-k12-2", log="/l/12.2.log")
LAUNCH = Launch(command=("python3", "-m", "t"), env=(("A", "1"),), mounts=("/p:/usr/app:ro",), workdir="/usr/app")


def spec(launch: Launch = LAUNCH, **changes: Any) -> dict[str, Any] | None:
    environ = changes.pop("environ", {})
    container = JobContainer(
        image="1d", launch=launch, args=JOB.args, attempt=ATTEMPT, labels=labels_of(JOB, ATTEMPT), **changes
    )  # fmt: skip
    return api_spec(container, environ)


def test_a_job_knows_itself_and_its_folder() -> None:
    launch = for_job(LAUNCH, JOB)
    env = dict(launch.env)
    assert (env["A"], env["OCICALIBAN_JOB"], env["OCICALIBAN_GROUP"]) == ("1", "12", "p-calm-otter")
    assert json.loads(env["OCICALIBAN_PARAMETERS"]) == {"lr": 0.1, "name": "a b"}
    assert launch.mounts == ("/p:/usr/app:ro", "/r/a:b:/out")


def test_parameters_that_are_too_long_for_a_variable_are_in_a_file(tmp_path: Path) -> None:
    long = evolve(JOB, parameters=(("a", "x" * 70_000), ("b", "y" * 70_000)))
    attempt = evolve(ATTEMPT, log=str(tmp_path / "12.log"))
    assert not runner._parameters_file(JOB, attempt)
    path = runner._parameters_file(long, attempt)
    assert json.loads(Path(path).read_text()) == dict(long.parameters)
    launch = for_job(LAUNCH, long, parameters_file=path)
    env = dict(launch.env)
    assert "OCICALIBAN_PARAMETERS" not in env and max(map(len, env.values())) < 1000
    assert f"{path}:{env['OCICALIBAN_PARAMETERS_FILE']}:ro" in launch.mounts


def test_gpus_that_others_may_use_are_told_apart() -> None:
    shared = evolve(JOB, submission=evolve(SUBMISSION, options={"share_gpus": True}))
    gpus = (device("0"), device("1"))
    assert labels_of(JOB, ATTEMPT, gpus)["ocicaliban.devices"] == "acme.example/gpu=0,acme.example/gpu=1"
    assert "ocicaliban.shared" not in labels_of(JOB, ATTEMPT, gpus)
    assert labels_of(shared, ATTEMPT, gpus)["ocicaliban.shared"] == "true"
    assert "ocicaliban.shared" not in labels_of(shared, ATTEMPT)


def test_what_is_sent_to_the_service() -> None:
    body = spec(for_job(LAUNCH, JOB))
    assert body is not None
    assert body["name"] == "oc-k12-2" and body["image"] == "1d"
    assert body["entrypoint"] == ["python3"] and body["command"] == ["-m", "t", "--lr", "0.1"]
    assert body["log_configuration"]["path"] == "/l/12.2.log.conmon"
    assert [(mount["source"], mount["destination"], mount["options"]) for mount in body["mounts"]] == [
        ("/p", "/usr/app", ["ro"]),
        ("/r/a:b", "/out", []),
    ]
    assert body["labels"] == {
        "ocicaliban.job": "k12",
        "ocicaliban.attempt": "2",
        "ocicaliban.group": "p-calm-otter",
        "ocicaliban.submission": "3",
    }
    assert "devices" not in body and "resource_limits" not in body


def test_an_image_that_has_its_own_command_keeps_it() -> None:
    body = spec(Launch())
    assert body is not None and "entrypoint" not in body and body["command"] == ["--lr", "0.1"]


def test_limits_and_devices() -> None:
    body = spec(resources=Resources(cpus=1.5, memory=1 << 30), device_options=("--device", "nvidia.com/gpu=0"))
    assert body is not None
    assert body["resource_limits"] == {
        "cpu": {"period": 100000, "quota": 150000},
        "memory": {"limit": 1 << 30, "swap": 1 << 30},
    }
    assert body["devices"] == [{"path": "nvidia.com/gpu=0"}]


def test_a_proxy_of_ours_goes_along_and_nothing_else_of_our_environment() -> None:
    body = spec(environ={"https_proxy": "http://proxy:1", "TOKEN": "t"})
    assert body is not None and body["env"] == {"https_proxy": "http://proxy:1", "A": "1"}


@pytest.mark.parametrize("mount", ["/a:/b:O,U", "/a:/b:ro,Z", "name:/b", "./a:/b", "/b"])
def test_what_the_service_cannot_express_goes_to_the_command_line(mount: str) -> None:
    assert spec(evolve(LAUNCH, mounts=(mount,))) is None


def test_devices_that_podman_does_not_know_by_name_go_to_the_command_line() -> None:
    assert spec(device_options=("--device", "/dev/null:/dev/gpu0:rwm")) is None
    assert spec(device_options=("-v", "/a:/b", "--env", "X=1")) is None


def test_the_command_line_that_makes_a_container() -> None:
    argv = create_argv("1d", LAUNCH, ("--lr", "0.1"), ContainerOptions(name="n", extra=("--label", "a=b")))
    assert " ".join(argv) == (
        "podman create --init --pull=never --name n --network host --cap-drop all --security-opt no-new-privileges "
        "--tz local "
        "--env A=1 -v /p:/usr/app:ro "
        "--workdir /usr/app --label a=b --entrypoint python3 1d -m t --lr 0.1"
    )


def test_limits_are_refused_where_the_cgroups_cannot_keep_them() -> None:
    check_resources(Resources(), lambda: pytest.fail("nobody asked"))
    check_resources(Resources(cpus=1, memory=1), lambda: ("cpu", "memory", "pids"))
    with pytest.raises(UsageError, match=r"--memory .* no controller 'memory'") as raised:
        check_resources(Resources(cpus=1, memory=1), lambda: ("cpu",))
    assert "Delegate" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("-e A=1 --env B=2=3 --env=C=4", "-e A --env B --env=C"),
        ("-eA=1 -e=B=2", "-e A -e B"),
        ("-ite A=1 -tieB=2", "-ite A -tie B"),
        ("-e A --env=B --env X*", "-e A --env=B --env X*"),
        ("--env-file f --entrypoint e=1 -v /a:/b -e", "--env-file f --entrypoint e=1 -v /a:/b -e"),
    ],
)
def test_values_of_variables_are_left_out(given: str, kept: str) -> None:
    words = tuple(given.split())
    assert without_values(words) == tuple(kept.split())
    assert without_values(without_values(words)) == without_values(words)


def test_a_value_that_looks_like_options_is_left_out_too() -> None:
    assert without_values(("-e", "A=-e B=2", "x")) == ("-e", "A", "x")


def test_a_variable_whose_value_is_gone_is_named() -> None:
    require_values(("-e", "A", "--env=B=1", "-e", "X*"), {"A": ""})
    with pytest.raises(UsageError, match="variable SECRET, which is not set"):
        require_values(("-e", "A=1", "--env", "SECRET"), {})


@pytest.mark.parametrize("given", [("--rm",), ("-e", "A", "--name=x"), ("--restart", "always"), ("--replace=true",)])
def test_what_would_lose_a_job_cannot_be_given(given: tuple[str, ...]) -> None:
    check_given(("-v", "/rm:/x", "--cap-drop", "all"))
    with pytest.raises(UsageError, match="cannot be given"):
        check_given(given)


def test_a_folder_in_place_of_a_layer_gets_an_overlay() -> None:
    body = spec(evolve(LAUNCH, mounts=("/p:/usr/app:O", "/data:/data:ro")))
    assert body is not None
    assert body["overlay_volumes"] == [{"source": "/p", "destination": "/usr/app"}]
    assert [mount["destination"] for mount in body["mounts"]] == ["/data"]


@pytest.mark.parametrize(
    ("mounts", "given", "own"),
    [
        (("/data:/out",), (), True),
        (("/data:/out/:ro",), (), True),
        (("/out:/data",), (), False),
        (("/data:/outside",), (), False),
        (("/data:/a/out",), (), False),
        ((), ("-v", "/home/ada/o:/out"), True),
        ((), ("--volume=/o:/out:rw",), True),
        ((), ("--volume=/out:/data",), False),
        ((), ("--mount", "type=bind,src=/o,target=/out"), True),
        ((), ("--mount=type=tmpfs,dst=/out,ro",), True),
        ((), ("--mount", "type=bind,src=/out,target=/o"), False),
    ],
)
def test_who_mounts_something_at_out_has_it(mounts: tuple[str, ...], given: tuple[str, ...], own: bool) -> None:
    assert container_spec.has_own_out(Launch(mounts=mounts), given) == own


@pytest.mark.parametrize(
    ("mounts", "env", "given", "kept"),
    [
        ((), (), (), True),
        (("/p:/usr/app",), (("A", "1"),), ("-v", "/m:/root/.cache/huggingface"), True),
        ((), (), ("-v", "/mine:/root/.cache"), False),
        ((), (), ("--mount", "type=bind,source=/x,target=/root"), False),
        (("/x:/root/:ro",), (), (), False),
        ((), (("HOME", "/h"),), (), False),
        ((), (), ("--env", "HOME=/home/me"), False),
    ],
)
def test_caches_are_kept_unless_the_home_is_somebody_elses(
    mounts: tuple[str, ...], env: tuple[tuple[str, str], ...], given: tuple[str, ...], kept: bool
) -> None:
    mount = container_spec.caches_mount(Launch(mounts=mounts, env=env), given, Path("/c/home"))
    assert mount == ("/c/home:/root/.cache" if kept else "")
