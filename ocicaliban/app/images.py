"""What the store has of a planned image, and where an image is pushed to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocicaliban.build.planner import PlannedImage
    from ocicaliban.registry.reference import Repository


def state(planned: PlannedImage) -> tuple[dict[str, int], dict[str, str]]:
    """Of each layer that the store has its bytes, by key; of the others why they are missing, by name."""
    from ocicaliban.build import base_image, last_build
    from ocicaliban.containers import image_store

    known, sizes = image_store.images(), image_store.image_sizes()
    base = base_image.present(planned.plan.base)
    below = sizes.get(base.id, 0) if base else 0
    there = {planned.plan.base_key: below} if base else {}
    for layer in planned.plan.layers:
        if image := image_store.find_layer(layer.name, layer.key, known):
            whole = sizes.get(image.id, below)
            there[layer.key], below = whole - below, whole
    before = last_build.load(planned.project.root, planned.plan.mode)
    return there, last_build.reasons(planned.plan, planned.trees, before)


def chosen(root: Path, to: str) -> Repository:
    """The repository of the project in `root`: what `to` says, its configuration, or the user's.

    Raises UsageError where none says one, or it is none.
    """
    from ocicaliban.errors import UsageError
    from ocicaliban.project import config, user_config
    from ocicaliban.registry import reference

    if given := to or config.load_project(root).push.repository:
        return reference.parse_repository(given, root.name)
    if given := user_config.load_user_config().push.repository:
        # It holds for all projects, each of which needs an image of its own.
        return reference.parse_repository(given, root.name, prefix=True)
    hint = "--to REPOSITORY, for example ghcr.io/me/digits; or in ocicaliban.toml: [push] repository = '...'"
    raise UsageError("no repository to push to is named", hint)
