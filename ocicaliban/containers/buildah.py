"""Run buildah: build a layer in a working container, and pull, tag and export images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ocicaliban.containers import cgroups, oci_layout, user_ids
from ocicaliban.model.image import Configure
from ocicaliban.system import process

INPUTS = "/dev/oc"
"""Where a build step sees its inputs: /dev is a tmpfs during a build, so the layer contains no mount point."""


# --- command lines (pure) ---


_ONE_USER = Path(__file__).with_name("one_user.json")
"""A seccomp profile in which calls that change owners and users succeed, and do nothing."""


def from_argv(image: str, name: str, *, one_user: bool = False) -> tuple[str, ...]:
    """Return the command that makes a working container called `name` of an image id.

    With `one_user` its steps may give files to other users, and become other users: nothing happens then. Packages
    with users of their own cannot be installed otherwise in a container that has one uid.
    """
    profile = ("--security-opt", f"seccomp={_ONE_USER}") if one_user else ()
    return ("buildah", "from", "--quiet", "--pull-never", *profile, "--name", name, image)


def run_argv(
    container: str, inputs: Path, mounts: tuple[str, ...], env: tuple[tuple[str, str], ...]
) -> tuple[str, ...]:
    """Return the command that runs `inputs`/script with sh in a working container.

    It runs as root whatever the base image's user is; `env` enters neither the image's config nor its history.
    """
    # Without history, whatever BUILDAH_HISTORY says: otherwise images would differ, and reveal facts about the host.
    argv = ["buildah", "run", "--add-history=false", "--isolation", "rootless", "--user", "0", "--network", "host"]
    argv += ["-v", f"{inputs}:{INPUTS}:ro"]
    for mount in mounts:
        argv += ["-v", mount]
    for name, value in env:
        argv += ["--env", f"{name}={value}"]
    return (*argv, container, "--", "sh", f"{INPUTS}/script")


def config_argv(container: str, step: Configure, path: str) -> tuple[str, ...]:
    """Return the command that applies a configure step to a working container whose PATH is `path`."""
    argv = ["buildah", "config", "--add-history=false"]
    for name, value in step.env:
        # buildah expands variables; it replaces an unset one, and "$", by its name.
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
    """Return the command that commits a working container as an image called `name`, with fixed times."""
    return ("buildah", "commit", "--quiet", "--format", "oci", "--timestamp", str(oci_layout.EPOCH), container, name)


def _in_namespace(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command of buildah, without newuidmap in podman's user namespace: buildah cannot make one itself."""
    if argv[0] != "buildah" or user_ids.mode() != "one uid without newuidmap":
        return argv
    # podman sets XDG_CONFIG_HOME, and then buildah 1.28 requires more in storage.conf.
    return ("podman", "unshare", "env", "-u", "XDG_CONFIG_HOME", *argv)


def _run(argv: tuple[str, ...], *, cwd: Path | None = None, whole: bool = False, doing: str = "") -> str:
    return process.run(_in_namespace(argv), cwd=cwd, whole=whole, doing=doing)


# --- working containers ---


def make_container(image: str, name: str, *, one_user: bool = False) -> None:
    """Make a working container called `name` of an image id; see `from_argv`."""
    _run(from_argv(image, name, one_user=one_user), whole=True)


def run_step(argv: tuple[str, ...], *, doing: str, hint: str) -> None:
    """Run a build step with a command line of `run_argv`; `doing` and `hint` go into the error."""
    process.run(_in_namespace(cgroups.in_cgroup2(argv)), doing=doing, hint=hint)


def run_in_chroot(container: str, command: Sequence[str]) -> str:
    """Return what a command prints in a working container, in chroot isolation, which starts fastest.

    With one uid that fails when it sets the groups, so a container is started.
    """
    if user_ids.one_uid():
        argv = ("buildah", "run", "--isolation", "rootless", "--network", "host", container, "--", *command)
        return process.run(_in_namespace(cgroups.in_cgroup2(argv)))
    return process.run(("buildah", "run", "--isolation", "chroot", container, "--", *command))


def configure(container: str, step: Configure, path: str) -> None:
    """Apply a configure step to a working container whose PATH is `path`."""
    _run(config_argv(container, step, path), whole=True)


def commit(container: str, name: str) -> None:
    """Commit a working container as an image called `name`."""
    _run(commit_argv(container, name), whole=True)


def remove_container(container: str) -> None:
    """Remove a working container; raises ToolError if there is none."""
    _run(("buildah", "rm", container), whole=True)


# --- images ---


def pull(reference: str, *, tls_verify: bool = True) -> str:
    """Pull an image from its registry, even if the store has one of this name; return its id.

    It tries twice: buildah's default is four times for six seconds before it reports an unreachable registry.
    """
    argv = ("buildah", "pull", "--quiet", "--policy", "always", "--retry", "1", "--retry-delay", "1s")
    verify = () if tls_verify else ("--tls-verify=false",)
    return _run((*argv, *verify, reference)).splitlines()[-1]


def pull_layout(folder: Path, layout: str, *, doing: str, whole: bool = False) -> str:
    """Import the OCI layout `layout`, a path relative to `folder`, into the store; return the image's id.

    libimage names the image after the relative path. With `whole` it finishes even if we are interrupted.
    """
    argv = ("buildah", "pull", "--quiet", f"oci:{layout}")
    return _run(argv, cwd=folder, whole=whole, doing=doing).splitlines()[-1]


def export_layout(image: str, folder: Path, layout: str, *, compression: str = "", doing: str) -> None:
    """Write an image into the OCI layout `layout`, a path relative to `folder`.

    buildah neither compresses nor writes a blob that the layout already has. An empty `compression` leaves the choice
    to containers.conf.
    """
    argv = ["buildah", "push", "--quiet", "--format", "oci"]
    if compression:
        argv += ["--compression-format", compression]
    _run((*argv, image, f"oci:{layout}"), cwd=folder, doing=doing)


def tag(image: str, name: str) -> None:
    """Give an image one more name."""
    _run(("buildah", "tag", image, name))
