"""Divide the options of a command into panels, for its help: a long list of options is hard to search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_PANELS = {
    "Build": (
        *("mode", "image_id", "image_tag", "mount", "no_cache", "extras", "with_groups", "dirs", "allow_secrets"),
        *("repository", "tls_verify", "tag", "compression"),
    ),
    "GPU": ("gpu_wanted", "gpus", "share_gpus", "gpus_per_job", "gpu_spec", "nogpu", "tpu_spec"),
    "Sweep and jobs": (
        *("experiment_config", "sweep_format", "group", "jobs", "fail_fast", "retries", "out", "watch"),
        *("output_dir", "label", "name", "force", "yes", "max_restarts", "timeout", "replicas"),
    ),
    "Container": (
        *("env", "env_file", "volume", "publish", "shm_size", "workdir", "cpus", "memory", "podman_args", "cloud_key"),
        *("bare", "shell"),
    ),
    "Machines": ("project_id", "region", "machine_type", "service_account", "network", "boot_disk", "spot"),
    "Slurm": (
        *("target", "partition", "account", "qos", "time", "nodes", "gres", "constraint", "slurm_args", "runtime"),
        *("grace", "wait"),
    ),
}
"""The names of the parameters in each panel; the rest is in a panel that is just called Options."""

_REST = "Options"
_FEWEST = 15
"""Options of a command that need no panels."""


def sections(params: Iterable[Any], ctx: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the sections of a command's help: their titles, and lines of two words each."""
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, tuple[str, str]]] = []
    for param in params:
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if param.param_type_name == "argument":
            arguments.append(record)
        else:
            options.append((param.name or "", record))
    found = {title: [line for name, line in options if name in names] for title, names in _PANELS.items()}
    placed = {name for names in _PANELS.values() for name in names}
    rest = [line for name, line in options if name not in placed]
    if len(options) <= _FEWEST:
        found, rest = {}, [line for _, line in options]
    titled = [(title, lines) for title, lines in found.items() if lines]
    return [each for each in (("Arguments", arguments), *titled, (_REST, rest)) if each[1]]
