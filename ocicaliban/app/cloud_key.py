"""The key file of --cloud-key."""

from __future__ import annotations

import os
from pathlib import Path

from ocicaliban.containers import command_line
from ocicaliban.errors import UsageError

_INSIDE = "/run/secrets/cloud-key.json"
"""Where a container sees the key file."""


def key_file(path: str) -> str:
    """Return the absolute path of --cloud-key's file, "" for none. Raises UsageError if there is no such file."""
    if not path:
        return ""
    file = Path(os.path.expanduser(path)).absolute()
    if not file.is_file():
        raise UsageError(f"--cloud-key: there is no file {file}", "give the path of a service account's JSON key")
    return str(file)


def podman_options(path: str) -> tuple[str, ...]:
    """Return podman's options that give the key file to the container, and to no image. Raises UsageError."""
    file = key_file(path)
    if not file:
        return ()
    return *command_line.mount_option(f"{file}:{_INSIDE}:ro"), "--env", f"GOOGLE_APPLICATION_CREDENTIALS={_INSIDE}"
