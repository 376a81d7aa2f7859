"""Steps, layers, plans and images: what planning makes and building turns into an image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Run:
    """Run a script as root inside the container; `files` are seen read-only while it runs."""

    script: str
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    cache: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


@frozen(kw_only=True)
class Copy:
    """Put the tree with this digest (see `Snapshot.trees`) into the image at `to`."""

    tree: str
    to: str


@frozen(kw_only=True)
class Configure:
    """Change the image's OCI config; `path` is put before the parent's PATH."""

    env: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


Step = Run | Copy | Configure


@frozen(kw_only=True)
class TreeEntry:
    """One path in a tree: a `file`, a `dir` or a `link`; `digest` of the contents, or the link's target."""

    path: str
    kind: Literal["file", "dir", "link"]
    digest: str = ""
    size: int = 0
    executable: bool = False


@frozen(kw_only=True)
class Tree:
    """The files of a folder as they enter an image; `digest` covers names, modes and contents."""

    root: Path
    digest: str
    entries: tuple[TreeEntry, ...]

    @property
    def size(self) -> int:
        """Bytes in all its files."""
        return sum(entry.size for entry in self.entries)


@frozen(kw_only=True)
class Base:
    """The image everything is built upon.

    `kind` says where it comes from; `digest` is empty while it is not resolved yet; `python` is the
    version of the interpreter inside ("3.11.2"), `libc` that of glibc ("2.36").
    """

    kind: Literal["registry", "local", "archive", "bootstrap"]
    reference: str
    digest: str = ""
    python: str = ""
    platform: str = ""
    libc: str = ""

    @property
    def machine(self) -> str:
        """The kernel's name for the processor, as wheels and markers have it."""
        return {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}.get(self.platform, "x86_64")


@frozen(kw_only=True)
class PlannedLayer:
    """A layer to be: its recipe's name, its expanded steps and its key (sha256, hex).

    `inputs` are the named digests that went into the key beside the parent's, to tell what changed.
    """

    name: str
    steps: tuple[Step, ...]
    key: str
    inputs: tuple[tuple[str, str], ...] = ()

    @property
    def runs(self) -> bool:
        """Whether something executes in it (a run layer), or only files and config are added (a tree layer)."""
        return any(isinstance(step, Run) for step in self.steps)


@frozen(kw_only=True)
class Launch:
    """How a container of the image starts; none of it is part of a layer's key."""

    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    workdir: str = ""


@frozen(kw_only=True)
class Plan:
    """A stack of content-addressed layers upon a base, and how to launch it."""

    mode: str
    base: Base
    base_key: str
    layers: tuple[PlannedLayer, ...]
    launch: Launch

    @property
    def key(self) -> str:
        """The key of the whole image: its topmost layer's, or the base's."""
        return self.layers[-1].key if self.layers else self.base_key

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """What a container starts before its arguments, by its launch or a layer; nothing where the base says it."""
        steps = [step for layer in self.layers for step in layer.steps if isinstance(step, Configure)]
        return self.launch.command or next((step.entrypoint for step in reversed(steps) if step.entrypoint), ())


@frozen(kw_only=True)
class Image:
    """An image in the local store: `id` is its config's digest (hex), `digest` its manifest's.

    `former` are names that it once had; another image may have them now.
    """

    id: str
    digest: str
    key: str
    names: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
