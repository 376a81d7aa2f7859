"""The frozen types that everything else speaks in; imports nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import field, frozen

Variant = Literal["cpu", "gpu"]
ParamType = Literal["string", "list", "bool", "int"]
Value = str | bool | int | tuple[str, ...]


@frozen(kw_only=True)
class Param:
    """One declared parameter of a recipe; `example` is a value as one writes it in TOML, for people to read."""

    type: ParamType = "string"
    required: bool = False
    default: Value | None = None
    sort: bool = False
    help: str = ""
    example: str = ""


@frozen(kw_only=True)
class StepTemplate:
    """A step as a recipe's file declares it, with `${param}` still in its strings.

    `do` is the closed vocabulary: `run` (a script in the container), `copy` (a tree of files into the
    image), `configure` (the image's OCI config).
    """

    do: Literal["run", "copy", "configure"]
    when: str = ""
    script: str = ""
    env: dict[str, str] = field(factory=dict)
    files: dict[str, str] = field(factory=dict)
    cache: tuple[str, ...] = ()
    tools: tuple[Literal["uv"], ...] = ()
    secrets: tuple[str, ...] | str = ()
    tree: str = ""
    to: str = ""
    path: tuple[str, ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] | str = ()
    ports: tuple[str, ...] = ()


@frozen(kw_only=True)
class LaunchTemplate:
    """What a recipe adds to the launch of a container."""

    when: str = ""
    env: dict[str, str] = field(factory=dict)
    mounts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    devices: tuple[Literal["gpu"], ...] = ()
    command: tuple[str, ...] | str = ()
    workdir: str = ""


@frozen(kw_only=True)
class Recipe:
    """A layer recipe: `layers/NAME/layer.toml` and the scripts beside it."""

    name: str
    summary: str
    after: tuple[str, ...] = ()
    provides: str = ""
    each: str = ""
    params: dict[str, Param] = field(factory=dict)
    steps: tuple[StepTemplate, ...] = ()
    launch: LaunchTemplate = field(factory=LaunchTemplate)
    scripts: dict[str, str] = field(factory=dict)
    origin: str = "built-in"


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
class Entry:
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
    entries: tuple[Entry, ...]

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
class Push:
    """The table `push` of a configuration: the `repository` that images go to."""

    repository: str = ""


@frozen(kw_only=True)
class Project:
    """A folder of research code and what its configuration says."""

    root: Path
    layers: dict[str, dict[str, object]] = field(factory=dict)
    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)
    push: Push = field(factory=Push)


@frozen(kw_only=True)
class Snapshot:
    """All that planning must know of the world, read beforehand.

    `source` is a tree's digest; `parts` the same divided (see `snapshot.parts`), each with its folder, the last one
    with none, or nothing where it is not; `data` folders with theirs; `requirements` the groups of locked
    dependencies, each with its label (see `weights`); `cuda_libraries` the folders in which CUDA's libraries are found
    (see `cuda`); `jupyter` what a notebook's server needs beside the requirements; `shell` the package of the shell
    that is wanted beside bash.
    """

    variant: Variant
    base: Base
    source: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    requirements: tuple[tuple[str, str], ...] = ()
    cuda_libraries: str = ""
    jupyter: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    shell: str = ""


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


Scalar = str | int | float | bool
"""A parameter's value, as a sweep file can hold it."""

Parameters = tuple[tuple[str, Scalar], ...]
"""The parameters of one job, in the order in which they are given to its script."""

Status = Literal["queued", "running", "succeeded", "failed", "stopped", "lost"]
"""What has become of a job or of one attempt at it; `lost` is one whose container vanished without a result."""

ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "stopped", "lost"})
"""The statuses that only a new attempt changes."""


@frozen(kw_only=True)
class JobSpec:
    """A job to be: its parameters, and all arguments of its script, those of the parameters at their end."""

    parameters: Parameters = ()
    args: tuple[str, ...] = ()


@frozen(kw_only=True)
class Submission:
    """One `run`: what its jobs have in common.

    `launch` is how they start, and `options` what `run` was told, as far as another image of the same needs it:
    neither holds a secret value. `commit` is git's HEAD in the project's folder, `dirty` whether files there differed
    from it. `created` is in seconds since 1970.
    """

    id: int = 0
    group: str
    user: str
    host: str
    target: str = "local"
    project: str
    mode: str
    module: str = ""
    image: str = ""
    plan_key: str = ""
    commit: str = ""
    dirty: bool = False
    launch: Launch = field(factory=Launch)
    options: dict[str, object] = field(factory=dict)
    created: float = 0.0


@frozen(kw_only=True)
class Attempt:
    """One container that ran a job, or shall: its name, times (seconds since 1970) and log, and why it failed."""

    number: int
    handle: str
    status: Status = "running"
    started: float = 0.0
    ended: float | None = None
    exit_code: int | None = None
    reason: str = ""
    log: str = ""


@frozen(kw_only=True)
class Job:
    """One job of the history. `key` names it for the world: no other job has it, on any machine."""

    id: int
    key: str
    submission: Submission
    parameters: Parameters = ()
    args: tuple[str, ...] = ()
    status: Status = "queued"
    out: str = ""
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The newest attempt; None before the first."""
        return self.attempts[-1] if self.attempts else None
