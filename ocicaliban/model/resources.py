"""What a container gets of the machine: processors, memory, GPUs, and folders."""

from __future__ import annotations

import re

from attrs import frozen

from ocicaliban.errors import UsageError

_MEMORY = re.compile(r"(\d{1,18})([bkmg]?)")
_UNIT = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@frozen(kw_only=True)
class Resources:
    """What a job may use at most: `cpus` in cores, `memory` in bytes (None is no limit), and a number of `gpus`."""

    cpus: float | None = None
    memory: int | None = None
    gpus: int = 0

    @property
    def limited(self) -> bool:
        """Whether there is a limit of processors or memory."""
        return self.cpus is not None or self.memory is not None


def parse_resources(cpus: float | None, memory: str) -> Resources:
    """Return the resources for --cpus and --memory, such as "8g". Raises UsageError for an amount that is not valid."""
    if cpus is not None and not 0 < cpus < 1e6:
        raise UsageError(f"--cpus {cpus:g}: not a positive number of cores", "for example --cpus 1.5")
    if not memory:
        return Resources(cpus=cpus)
    size = parse_size(memory)
    if not size:
        raise UsageError(f"--memory {memory}: not an amount of memory", "for example --memory 8g or 500m")
    return Resources(cpus=cpus, memory=size)


def parse_size(text: str) -> int | None:
    """Return the bytes of a size such as "500m"; None for a text of another form."""
    match = _MEMORY.fullmatch(text.lower())
    return int(match[1]) * _UNIT[match[2]] if match else None


_MOUNT = re.compile(r"(.*):(/[^:]*)(?::([^/:]*))?", re.S)


@frozen(kw_only=True)
class Mount:
    """A folder or file of the machine, or a volume, as a container sees it at `target`; `options` are podman's."""

    source: str
    target: str
    options: tuple[str, ...] = ()

    @property
    def readonly(self) -> bool:
        """Whether the container cannot write to it."""
        return "ro" in self.options


def parse_mount(text: str) -> Mount | None:
    """Return the mount that `SOURCE:TARGET[:OPTIONS]` describes; None for a text of another form.

    The source may contain colons.
    """
    match = _MOUNT.fullmatch(text)
    if match is None:
        return None
    options = tuple(filter(None, (match[3] or "").split(",")))
    return Mount(source=match[1], target=match[2], options=options)
