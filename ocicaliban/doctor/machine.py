"""Read from this machine what the checks examine; nothing is read before a check needs it."""

from __future__ import annotations

import functools
import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.errors import OcicalibanError
from ocicaliban.project import user_config
from ocicaliban.system import process

TIMEOUT = 20.0
"""Seconds that a tool may take to answer; `podman info` takes a few with a new image store."""


class Machine:
    """This machine, and the user who runs the checks."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.environ = environ
        self.uid = os.geteuid()

    @functools.cached_property
    def user(self) -> str:
        """The user's name, or the uid if it has no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @functools.cached_property
    def podman_info(self) -> str | OcicalibanError:
        """What `podman info` reports, as JSON, or why it fails."""
        return self.answer("podman", "info", "--format", "json")

    @functools.cached_property
    def settings(self) -> user_config.UserConfig | OcicalibanError:
        """The user's settings for all projects, or why they cannot be read."""
        try:
            return user_config.load_user_config()
        except OcicalibanError as error:
            return error

    @property
    def spec_dirs(self) -> tuple[str, ...]:
        """The folders with CDI specs that the user's settings add; none if the settings cannot be read."""
        return () if isinstance(self.settings, OcicalibanError) else self.settings.cdi_spec_dirs

    def answer(self, name: str, *args: str) -> str | OcicalibanError:
        """Return what a tool prints, or why it fails."""
        try:
            return process.run((process.tool(name), *args), doing=f"`{' '.join((name, *args))}` fails", limit=TIMEOUT)
        except OcicalibanError as error:
            return error

    def program(self, name: str) -> str | None:
        """Return the path of a program, or None."""
        return process.on_path(name)

    def subids(self, name: str) -> str:
        """Return the text of /etc/subuid or /etc/subgid, or a directory service's ranges in the same form."""
        nsswitch = _text(Path("/etc/nsswitch.conf"))
        if self.program("getsubids") and re.search(r"^subid:(?!\s*files\s*$)", nsswitch, re.M):
            said = self.answer("getsubids", *(("-g",) if name == "subgid" else ()), self.user)
            if isinstance(said, str):
                return "\n".join(":".join(line.split()[1:]) for line in said.splitlines())
        return _text(Path("/etc", name))


def free_bytes(path: Path) -> int | None:
    """Return the free bytes of the file system under `path`, which need not exist; None if unknown."""
    for place in (path, *path.parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return status.f_bavail * status.f_frsize
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
