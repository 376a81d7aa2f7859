"""Ask the Python in a base image for its version and its C library."""

from __future__ import annotations

import os

from ocicaliban.containers import buildah, workspace
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.model.image import Image

_PROBE = """
import platform, sysconfig, venv
print(platform.python_version(), sysconfig.get_config_var("HOST_GNU_TYPE") or "?", platform.libc_ver()[1])
"""


def python_and_libc(image: Image, reference: str) -> tuple[str, str]:
    """Return the versions of the Python in the image ("3.11.2") and of its C library ("2.36").

    Raises OcicalibanError if there is no Python with venv, or if its C library is not glibc.
    """
    name = f"ocicaliban-base-{os.getpid()}"
    with workspace.open_workspace() as folder, workspace.working_container(folder, name):
        buildah.make_container(image.id, name)
        probe = ("python3", "-c", _PROBE)
        try:
            # buildah's chroot isolation loses what a command prints about once in some hundred runs.
            said = buildah.run_in_chroot(name, probe) or buildah.run_in_chroot(name, probe)
        except ToolError as exc:
            if "No module named 'venv'" in exc.stderr:
                what, hint = "Python without its module venv", "add it: on Debian it is the package python3-venv"
            else:
                what, hint = "no python3 that starts", "choose a base with Python in it"
            why = exc.stderr.splitlines()[-1] if exc.stderr else ""
            raise ToolError(f"the base image {reference} has {what}\n{why}".rstrip(), hint, stderr=exc.stderr) from exc
    version, host, libc, *_ = [*said.rpartition("\n")[2].split(), "", "", ""]
    if not version[:1].isdigit():
        raise OcicalibanError(f"the python3 of the base image {reference} printed no version", "run the command again")
    if "musl" in host:
        raise OcicalibanError(
            f"the base image {reference} uses musl (Alpine), on which most wheels of Python packages do not run",
            "choose one with glibc, for example docker.io/library/python:3.12-slim-bookworm",
        )
    return version, libc
