"""Look up an image in a registry, and what a container of it starts."""

from __future__ import annotations

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import client
from ocicaliban.registry.reference import Destination
from ocicaliban.reporter import Reporter


@frozen(kw_only=True)
class RemoteImage:
    """An image in a registry: its digest, its entry point and command. `has_config` is False if these are unknown."""

    digest: str
    has_config: bool = False
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def find_image(destination: Destination, name: str, reporter: Reporter) -> RemoteImage | None:
    """Return the image that the tag or digest `name` stands for in the repository of `destination`, or None.

    No permission to push is needed. Raises OcicalibanError if the registry does not answer or does not let us read, or
    if the image is not for linux/amd64.
    """
    registry = client.client_for(destination, "pull", reporter)
    if not (digest := registry.resolve(name)):
        return None
    manifest, config = registry.image(digest)
    if "manifests" in manifest or (config and (config.get("os"), config.get("architecture")) != ("linux", "amd64")):
        raise OcicalibanError(
            f"{destination.repository}@{digest} has no image for linux/amd64",
            "cloud machines need one: build it with --platform linux/amd64, and push that",
        )
    section = config.get("config")
    entrypoint, command = (section.get(key) if isinstance(section, dict) else () for key in ("Entrypoint", "Cmd"))
    return RemoteImage(
        digest=digest,
        has_config=bool(config),
        entrypoint=tuple(map(str, entrypoint if isinstance(entrypoint, list) else ())),
        command=tuple(map(str, command if isinstance(command, list) else ())),
    )
