"""What a command asks the planner for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from ocicaliban.gpu import cdi
from ocicaliban.model.recipe import Variant
from ocicaliban.project.lockfile import Lock


@frozen(kw_only=True)
class PlanRequest:
    """Which project to plan, for which mode, and how.

    `root` is the project's folder, and `module` what a container starts, as seen from `folder`, relative to the root.
    `gpus` are the GPUs of this machine that its containers use; with `gpu_elsewhere` the image is for another machine
    that has a GPU. `extras`, `groups` (dependency groups), `dirs`, and
    `allow_secrets` (files that may contain credentials) are added to those of the project's configuration.
    With `mount` the container sees the project's folder, not a copy of it. `shell_name` is the shell for a mode that
    has one; the user's own if empty. `settings` are parameters of recipes, by recipe; they take precedence over the
    project's configuration.

    Without `resolve`, planning pulls, creates and writes nothing: a base image that is not in the lock stays
    unresolved in the plan, and so do the dependencies. With `fresh`, such a base image is pulled or made again, even
    if the store has one. Without `contents`, planning reads nothing that an image would hold, neither files nor
    dependencies; only the launch of the plan is of use then. With a `lock`, this one counts instead of the project's
    file, and nothing is written. An image that runs only `elsewhere` gets nothing of the tables `run`.
    """

    root: Path
    mode: str
    module: str = ""
    folder: str = ""
    gpus: tuple[cdi.Device, ...] = ()
    gpu_elsewhere: bool = False
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    allow_secrets: tuple[str, ...] = ()
    mount: bool = False
    shell_name: str = ""
    settings: Mapping[str, Mapping[str, object]] = field(factory=dict)
    resolve: bool = True
    fresh: bool = False
    contents: bool = True
    lock: Lock | None = None
    elsewhere: bool = False

    @property
    def variant(self) -> Variant:
        """Whether the image is for a machine with a GPU."""
        return "gpu" if self.gpus or self.gpu_elsewhere else "cpu"
