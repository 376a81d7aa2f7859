"""Ask the Python in a base image for its version, its commands and its C library."""

from __future__ import annotations

import os

from attrs import frozen

from ocicaliban.containers import buildah, workspace
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.model.image import Image

_PROBE = """
import platform, shutil, subprocess, sysconfig, venv
def is_python_3(name):
    path = shutil.which(name)
    return bool(path) and not subprocess.call([path, "-c", "import sys; sys.exit(sys.version_info[0] != 3)"], stderr=-3)
missing = [name for name in ("python", "python3") if not is_python_3(name)] or ["-"]
host = sysconfig.get_config_var("HOST_GNU_TYPE") or "?"
print(platform.python_version(), host, platform.libc_ver()[1] or "-", missing[0])
"""
_GLIBC = ("getconf", "GNU_LIBC_VERSION")


@frozen(kw_only=True)
class Probed:
    """What an image has: the versions of its Python and its glibc, and the command `python` or `python3` it lacks."""

    python: str = ""
    libc: str = ""
    missing: str = ""


class NoPython(ToolError):
    """The base image has no Python that can be used."""


def probe(image: Image, reference: str, *, own_python: bool = True) -> Probed:
    """Return what the image has.

    Raises NoPython if there is no Python with venv, unless `own_python` is False, and OcicalibanError if its C library
    is not glibc.
    """
    name = f"ocicaliban-base-{os.getpid()}"
    with workspace.open_workspace() as folder, workspace.working_container(folder, name):
        buildah.make_container(image.id, name)
        try:
            said = _said_by_python(name)
        except ToolError as exc:
            if not own_python and (libc := _glibc(name)):
                return Probed(libc=libc)
            raise _no_python(reference, exc) from exc
    version, host, libc, missing, *_ = [*said.rpartition("\n")[2].split(), "", "", "", ""]
    if not version[:1].isdigit():
        raise OcicalibanError(f"the python3 of the base image {reference} printed no version", "run the command again")
    if "musl" in host:
        raise OcicalibanError(
            f"the base image {reference} uses musl (Alpine), on which most wheels of Python packages do not run",
            "choose one with glibc, for example docker.io/library/python:3.12-slim-bookworm",
        )
    return Probed(python=version, libc=libc.strip("-"), missing=missing.strip("-"))


def _said_by_python(name: str) -> str:
    """Return what the probe prints in a working container. Raises ToolError if neither command runs it."""
    # buildah's chroot isolation loses what a command prints about once in some hundred runs.
    for last, command in ((False, "python3"), (True, "python")):
        argv = (command, "-c", _PROBE)
        try:
            return buildah.run_in_chroot(name, argv) or buildah.run_in_chroot(name, argv)
        except ToolError as exc:
            if last or "No module named 'venv'" in exc.stderr:
                raise
    raise AssertionError


def _glibc(name: str) -> str:
    """Return the version of the glibc in a working container, "" if it has another C library."""
    try:
        said = buildah.run_in_chroot(name, _GLIBC) or buildah.run_in_chroot(name, _GLIBC)
    except ToolError:
        return ""
    return said.removeprefix("glibc ").strip() if said.startswith("glibc ") else ""


def _no_python(reference: str, exc: ToolError) -> NoPython:
    if "No module named 'venv'" in exc.stderr:
        what, hint = "Python without its module venv", "add it: on Debian it is the package python3-venv"
    else:
        what, hint = "no python3 that starts", "choose a base with Python in it"
    why = exc.stderr.splitlines()[-1] if exc.stderr else ""
    return NoPython(f"the base image {reference} has {what}\n{why}".rstrip(), hint, stderr=exc.stderr)
