"""Steps, layers, plans and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from attrs import frozen


@frozen(kw_only=True)
class Run:
    """Run a script as root in the container, which sees `files` below /dev/oc while it runs.

    `trees` are folders that it sees too, each with the digest of the tree that is copied there for it. What it writes
    to such a folder is thrown away. `index` is the only package index that uv asks, "" if it asks all. A step that
    `loses_owners` may give files to other users than root, in a container that has no other user. What a step changes
    is in the folder `within`, if it says so. Of the entries of the file `singly`, each makes files of its own there,
    whatever the others are. `uv_settings` are lines of a uv.toml for the step.
    """

    script: str
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    cache: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    index: str = ""
    uv_settings: str = ""
    trees: tuple[tuple[str, str], ...] = ()
    loses_owners: bool = False
    within: str = ""
    singly: str = ""


@frozen(kw_only=True)
class Copy:
    """Copy the tree with this digest into the image, to the folder `to`."""

    tree: str
    to: str


@frozen(kw_only=True)
class Configure:
    """Change the image's OCI config. `path` is put in front of the PATH of the layer below."""

    env: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


Step = Run | Copy | Configure


@frozen(kw_only=True)
class TreeEntry:
    """A path in a tree. `digest` is that of a file's contents, or the target of a link.

    `text` replaces what the file on the disk has, unless it is "".
    """

    path: str
    kind: Literal["file", "dir", "link"]
    digest: str = ""
    size: int = 0
    executable: bool = False
    text: str = ""


@frozen(kw_only=True)
class Tree:
    """The files of a folder as they enter an image. `digest` covers their names, modes and contents."""

    root: Path
    digest: str
    entries: tuple[TreeEntry, ...]

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return sum(entry.size for entry in self.entries)


class MadeTree(Protocol):
    """A tree whose files do not exist before a layer needs them."""

    @property
    def digest(self) -> str:
        """What stands for the tree in keys."""

    @property
    def size(self) -> int:
        """About how many bytes are read to make it."""

    def make(self, folder: Path, warn: Callable[[str], None]) -> Tree:
        """Make the files in a new folder below `folder`, and return the tree. `warn` gets what the user must know."""


@runtime_checkable
class OfPackages(Protocol):
    """A tree that is made of packages."""

    @property
    def parts(self) -> Mapping[str, int]:
        """The bytes of each package that is fetched to make it, by name."""


@frozen(kw_only=True)
class Base:
    """The image below all layers.

    `kind` says where it comes from. `digest` is empty until it is resolved. `python` is the version of its interpreter
    ("3.11.2"), and `libc` that of its glibc ("2.36"). If that Python is not the image's own but one from uv, `archive`
    is its file in the release, and `archive_sha256` the file's digest. `missing` is the command that the image lacks,
    `python` or `python3`, if it has only the other one.
    """

    kind: Literal["registry", "local", "archive", "bootstrap"]
    reference: str
    digest: str = ""
    python: str = ""
    platform: str = ""
    libc: str = ""
    archive: str = ""
    archive_sha256: str = ""
    missing: str = ""

    @property
    def machine(self) -> str:
        """The processor as the kernel, wheels and markers name it, for example "x86_64"."""
        return {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}.get(self.platform, "x86_64")


@frozen(kw_only=True)
class PlannedLayer:
    """A layer of a plan: its recipe's name, with a label if the recipe makes several, its steps and its key.

    `inputs` are digests of the parts of the steps, by name, to tell later what has changed. `kinds` are the kinds of
    input that its recipe has, and what the recipe provides. `hint` says what the user can do if it cannot be made.
    """

    name: str
    steps: tuple[Step, ...]
    key: str
    inputs: tuple[tuple[str, str], ...] = ()
    kinds: tuple[str, ...] = ()
    hint: str = ""

    @property
    def runs(self) -> bool:
        """Whether it runs something (a run layer), or only adds files and configuration (a tree layer)."""
        return any(isinstance(step, Run) for step in self.steps)

    @property
    def loses_owners(self) -> bool:
        """Whether all its files belong to root, although its steps may give some to other users."""
        return any(isinstance(step, Run) and step.loses_owners for step in self.steps)


@frozen(kw_only=True)
class Launch:
    """How a container of the image starts. It is not part of any key.

    `capabilities` are what root may do in it; podman's names without `CAP_`, or "ALL".
    """

    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    workdir: str = ""
    capabilities: tuple[str, ...] = ()


@frozen(kw_only=True)
class Plan:
    """A stack of layers on a base image, and how to start a container."""

    mode: str
    base: Base
    base_key: str
    layers: tuple[PlannedLayer, ...]
    launch: Launch

    @property
    def key(self) -> str:
        """The key of the whole image: that of its top layer, or of the base image."""
        return self.layers[-1].key if self.layers else self.base_key

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """What a container starts, before its arguments; () if the base image decides."""
        steps = [step for layer in self.layers for step in layer.steps if isinstance(step, Configure)]
        return self.launch.command or next((step.entrypoint for step in reversed(steps) if step.entrypoint), ())


@frozen(kw_only=True)
class Image:
    """An image in the local store. `id` is its config's digest (hex), and `digest` its manifest's.

    `former` are names that it has had; another image may have them now.
    """

    id: str
    digest: str
    key: str
    names: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
