"""Read from this machine what the checks examine; nothing is read before a check needs it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.containers import own_store, user_ids
from ocicaliban.doctor import reach
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
        return user_ids.user_name(self.uid)

    @functools.cached_property
    def id_facts(self) -> user_ids.Facts:
        """What decides how many ids a container of the user can have; a directory service is asked again."""
        return user_ids.read_facts(self.user, self.uid, fresh=True)

    @functools.cached_property
    def store_facts(self) -> own_store.Facts | OcicalibanError:
        """What decides where images are stored, or what is wrong with the settings for it."""
        try:
            return own_store.read_facts(self.environ)
        except OcicalibanError as error:
            return error

    @functools.cached_property
    def store(self) -> own_store.OwnStore | OcicalibanError | None:
        """The image store that is set up for the user, None for podman's own; or why there is no place for one."""
        try:
            return own_store.set_up(self.environ)
        except OcicalibanError as error:
            return error

    @functools.cached_property
    def podman_info(self) -> str | OcicalibanError:
        """What `podman info` reports of the store that is used, as JSON, or why it fails."""
        if isinstance(self.store, OcicalibanError):
            return self.store
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

    def ask(self, url: str) -> float | str:
        """Ask an address for an answer, and return the seconds that it took, or what went wrong."""
        return reach.ask(url)

    def program(self, name: str) -> str | None:
        """Return the path of a program, or None."""
        return process.on_path(name)


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
