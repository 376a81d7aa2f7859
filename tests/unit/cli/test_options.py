"""How a command's parameters become a request: each field by its name, with its type."""

from __future__ import annotations

import typing
from collections.abc import Callable

import attrs
import pytest

from ocicaliban.app import requests
from ocicaliban.app.requests import (
    BuildRequest,
    CleanRequest,
    CloudRequest,
    EmulatorRequest,
    ImageRequest,
    JobsRequest,
    LaunchRequest,
    LockRequest,
    MachinesRequest,
    NotebookRequest,
    PublishRequest,
    PushRequest,
    ReportRequest,
    ReproduceRequest,
    RunRequest,
    SearchRequest,
    SlurmRequest,
    StatusRequest,
)
from ocicaliban.cli import clean, cloud, dev, image, jobs, lock, notebook, options, publish, push, report, run, shell
from ocicaliban.errors import UsageError

FOUND = {"folder"}  # what a use case finds out by itself
GIVEN = {"tls_verify"}  # texts that a command makes into something else by itself

OF_PODMAN = ("env", "env_file", "volume", "publish", "shm_size", "workdir")
"""They are added to podman_args."""

JOBS_ALONE = {"qos", "constraint", "nodes", "grace", "wait"}  # what a shell has in the settings, or not at all

COMMANDS: dict[Callable[..., None], tuple[dict[type, set[str]], set[str]]] = {
    # The requests of each command, each with the fields that the command has no option for, and the parameters that
    # the command needs itself.
    image.build: ({BuildRequest: {"shell", "settings"}}, {"tag", "as_json", "cloud_key"}),
    image.plan: (
        {BuildRequest: {"shell", "settings", "mount", "no_cache"}},
        {"as_json", "containerfile", "diff"},
    ),
    lock.lock: (
        {
            LockRequest: {
                *("shell", "settings", "mount", "no_cache"),
                *("mode", "module", "dirs", "allow_secrets", "gpus"),
            }
        },
        {"as_json"},
    ),
    run.run: (
        {
            LaunchRequest: {"shell", "settings", "lived_in", "gpu_elsewhere", "caches"},
            JobsRequest: set(),
            SearchRequest: set(),
            SlurmRequest: set(),
        },
        {"context", "experiment_config", "sweep_format", "target", "watch", *OF_PODMAN},
    ),
    publish.publish: ({PublishRequest: set()}, {"name", "dry_run", "yes", "as_json"}),
    publish.reproduce: ({ReproduceRequest: set()}, {"yes", "as_json", "rebuild"}),
    shell.shell: (
        {
            LaunchRequest: {"mode", "module", "settings", "mount", "lived_in", "gpu_elsewhere", "dry_run", "caches"},
            SlurmRequest: JOBS_ALONE,
        },
        {"context", "bare", "target", *OF_PODMAN},
    ),
    notebook.notebook: (
        {
            LaunchRequest: {
                *(
                    "mode",
                    "module",
                    "dirs",
                    "mount",
                    "shell",
                    "settings",
                    "image_id",
                    "lived_in",
                    "gpu_elsewhere",
                    "dry_run",
                    "caches",
                ),
            },
            NotebookRequest: set(),
            SlurmRequest: JOBS_ALONE,
        },
        {"open_browser", "detach", "listed", "as_json", "stopped", "target", *OF_PODMAN},
    ),
    cloud.cloud: (
        {CloudRequest: {"gpu"}, MachinesRequest: set()},
        {"context", "experiment_config", "sweep_format", "mount", "dry_run", "yes"},
    ),
    push.push: (
        {BuildRequest: {"shell", "settings", "mount"}, PushRequest: set()},
        {"image_id", "as_json"},
    ),
    jobs.status: ({StatusRequest: set()}, {"name", "watch", "as_json", "disk"}),
    report.report: ({ReportRequest: set()}, {"name", "as_json", "csv", "html", "serve", "port", "to"}),
    clean.clean: ({CleanRequest: set()}, set()),
    dev.vertex_emulator: ({EmulatorRequest: set()}, {"env_file"}),
}


def hints(command: Callable[..., None]) -> dict[str, object]:
    """Return the types of a command's parameters."""
    found = typing.get_type_hints(command)
    found.pop("return")
    found.pop("debug", None)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_field_is_a_parameter_of_the_same_type_and_each_parameter_is_used(command: Callable[..., None]) -> None:
    kinds, own = COMMANDS[command]
    parameters = hints(command)
    used = set(own)
    for kind, without in kinds.items():
        fields = attrs.fields_dict(attrs.resolve_types(kind))
        assert without <= {*fields} and not without & {*parameters}, "a field that the command has an option for"
        for name, field in fields.items():
            if name in without or (issubclass(kind, ImageRequest) and name in FOUND):
                continue
            assert name in parameters, f"{kind.__name__}.{name} has no option"
            wanted = list[str] | None if field.type == tuple[str, ...] else field.type
            assert name in GIVEN or parameters[name] == wanted, f"{kind.__name__}.{name}"
            used.add(name)
    assert used == {*parameters}, "a parameter that nothing takes"


def test_every_request_is_filled_by_a_command() -> None:
    every = {value for value in vars(requests).values() if attrs.has(value)}
    filled = {kind for kinds, _ in COMMANDS.values() for kind in kinds}
    assert every - filled == {requests.ImageRequest, RunRequest}


def test_a_list_becomes_a_tuple_and_what_is_missing_the_default() -> None:
    given = {"mode": "run", "extras": ["a", "b"], "dirs": None, "gpus": None, "unknown": 1}
    assert options.request(LaunchRequest, given) == LaunchRequest(mode="run", extras=("a", "b"))
    assert options.request(JobsRequest, {"group": "g", "cpus": None}, group="h", out="/o") == JobsRequest(
        group="h", out="/o"
    )


def test_a_truth_is_written_as_podman_does() -> None:
    assert options.truth("--tls-verify", "true") and not options.truth("--tls-verify", "false")
    with pytest.raises(UsageError, match="--tls-verify 'maybe' is neither true nor false"):
        options.truth("--tls-verify", "maybe")
