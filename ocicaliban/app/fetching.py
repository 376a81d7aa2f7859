"""Fetch the image of a published experiment, and check that it is that one."""

from __future__ import annotations

from ocicaliban.app.published import Published
from ocicaliban.containers import buildah, image_store, workspace
from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import layouts
from ocicaliban.reporter import TERMINAL


def image(found: Published, *, tls_verify: bool) -> str:
    """Fetch the image of an experiment by its digest, unless the store has it, and return its id.

    Raises OcicalibanError if it is another one than the experiment says.
    """
    wanted = found.experiment.image_id.removeprefix("sha256:")
    if wanted in {each.id for each in image_store.images()}:
        return wanted
    with TERMINAL.making(found.image, "fetching", done="fetched"):
        if layouts.is_place(found.place):
            identity = _from_layout(found)
        else:
            identity = buildah.pull(found.image, tls_verify=tls_verify)
    if identity != wanted:
        raise OcicalibanError(
            f"{found.image} is the image {identity[:12]}, and the experiment ran in {wanted[:12]}", "do not use it"
        )
    return identity


def _from_layout(found: Published) -> str:
    """Import the image of an experiment in a layout, and return its id."""
    with workspace.open_workspace() as folder:
        name = f"ocicaliban/published/{found.experiment.image.removeprefix('sha256:')}"
        layouts.Layout(found.place).copy_image(found.experiment.image, folder / name)
        return buildah.pull_layout(folder, name, doing=f"the image {found.image} cannot be read")
