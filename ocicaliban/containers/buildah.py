"""buildah's command lines, and the few things we ask of it."""

from __future__ import annotations

import json
from pathlib import Path

from ocicaliban.containers import oci_layout
from ocicaliban.model.image import Configure

INPUTS = "/dev/oc"
"""Where a build step sees its inputs: /dev is a tmpfs during a build, so that no mount point stays in the layer."""


def from_argv(image: str, name: str) -> tuple[str, ...]:
    """Make a working container called `name` from an image id."""
    return ("buildah", "from", "--quiet", "--pull-never", "--name", name, image)


def run_argv(
    container: str, inputs: Path, mounts: tuple[str, ...], env: tuple[tuple[str, str], ...]
) -> tuple[str, ...]:
    """Run `inputs`/script with sh in a working container; `env` enters neither its config nor its history.

    It runs as root, whatever user the base names.
    """
    # Without history whatever BUILDAH_HISTORY says: the image would differ, and tell of the host.
    argv = ["buildah", "run", "--add-history=false", "--isolation", "rootless", "--user", "0", "--network", "host"]
    argv += ["-v", f"{inputs}:{INPUTS}:ro"]
    for mount in mounts:
        argv += ["-v", mount]
    for name, value in env:
        argv += ["--env", f"{name}={value}"]
    return (*argv, container, "--", "sh", f"{INPUTS}/script")


def config_argv(container: str, step: Configure, path: str) -> tuple[str, ...]:
    """Apply a configure step to a working container whose PATH is `path`."""
    argv = ["buildah", "config", "--add-history=false"]
    for name, value in step.env:
        # buildah expands variables; one that is not there, like "$", becomes its name.
        argv += ["--env", f"{name}={value.replace('$', '$$')}"]
    if step.path:
        argv += ["--env", f"PATH={':'.join([*step.path, path])}"]
    if step.workdir:
        argv += ["--workingdir", step.workdir]
    if step.entrypoint:
        argv += ["--entrypoint", json.dumps(list(step.entrypoint)), "--cmd", ""]
    for port in step.ports:
        argv += ["--port", port]
    return (*argv, container)


def commit_argv(container: str, name: str) -> tuple[str, ...]:
    """Commit a working container as an image called `name`, all its times fixed."""
    return ("buildah", "commit", "--quiet", "--format", "oci", "--timestamp", str(oci_layout.EPOCH), container, name)
