"""Notebook servers: what one was started with, what it is called, and whether its packages are still current.

A server uses the host's network and listens on 127.0.0.1: other interfaces refuse connections, there is no proxy in
between, and a kernel reaches what a job reaches. podman knows which servers run; nothing else is written down.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.model.image import Launch, Plan

ADDRESS = "127.0.0.1"
"""Not `localhost`, which may resolve to ::1 first: another user could listen there and receive the token."""

LABEL = "ocicaliban.notebook"
"""The label of a server's container; its value is a record of the settings."""

_INPUT = "jupyter"
"""The input of the recipe that starts the server. A job does not have its layer."""


class ServerEnded(OcicalibanError):
    """A server ended before it answered, or with an error."""


@frozen(kw_only=True)
class NotebookSettings:
    """What a server was started with.

    `interface` is "lab" or "notebook"; `environment` is the key of the layers that a job has too (`environment_key`);
    `version` is the Jupyter version that was asked for, or "".
    """

    project: str
    port: int
    interface: str
    environment: str
    version: str
    variant: str
    extras: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def to_label(self) -> str:
        """Return these settings as the value of a container's label."""
        return json.dumps(
            {
                "project": self.project,
                "port": self.port,
                "interface": self.interface,
                "environment": self.environment,
                "version": self.version,
                "variant": self.variant,
                "extras": list(self.extras),
                **({"groups": list(self.groups)} if self.groups else {}),
            }
        )

    @classmethod
    def from_label(cls, label: str) -> NotebookSettings:
        """Return the settings in the value of a container's label. Raises ValueError for a value that is not ours."""
        try:
            held = parse_json(label)
            made = cls(
                project=held["project"],
                port=held["port"],
                interface=held["interface"],
                environment=held["environment"],
                version=held["version"],
                variant=held["variant"],
                extras=tuple(held["extras"]),
                groups=tuple(held.get("groups", ())),
            )
        except (LookupError, TypeError, AttributeError) as fault:
            raise ValueError(f"it is not of a notebook: {label}") from fault
        words = (made.project, made.interface, made.environment, made.version, made.variant, *made.extras, *made.groups)
        if type(made.port) is not int or not all(isinstance(word, str) for word in words):
            raise ValueError(f"it is not of a notebook: {label}")
        return made


@frozen(kw_only=True)
class NotebookServer:
    """A server, its container and its access token; `state` is podman's word for the container's state."""

    container: str
    settings: NotebookSettings
    token: str = field(repr=False)
    state: str = "running"

    @property
    def name(self) -> str:
        """The name for users: the project's folder and the port."""
        return f"{Path(self.settings.project).name}-{self.settings.port}"

    @property
    def url(self) -> str:
        """The URL for a browser, with the token."""
        page = "lab" if self.settings.interface == "lab" else "tree"
        return f"http://{ADDRESS}:{self.settings.port}/{page}?token={self.token}"


def environment_key(plan: Plan) -> str:
    """Return the key of the layers that hold the packages of a job: the last one below Jupyter's that installs any."""
    key = plan.base_key
    for layer in plan.layers:
        if _INPUT in layer.kinds:
            break
        if layer.runs:
            key = layer.key
    return key


def outdated(servers: Iterable[NotebookServer], current: NotebookSettings) -> tuple[NotebookServer, ...]:
    """Return the servers of the same project whose packages differ from those of one started now."""
    return tuple(
        server
        for server in servers
        if (server.settings.project, server.settings.variant, server.settings.extras, server.settings.groups)
        == (current.project, current.variant, current.extras, current.groups)
        and server.settings.environment != current.environment
    )


def interface(launch: Launch) -> str:
    """Return "lab" or "notebook". Raises UsageError if the mode does not start Jupyter."""
    command = launch.command[0] if launch.command else ""
    if not command.startswith("jupyter-"):
        raise UsageError("the mode 'notebook' lists no recipe 'jupyter'", 'add "jupyter" to its list')
    return command.removeprefix("jupyter-")
