"""Build the project's image; what all use cases share that need one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from attrs import frozen

from ocicaliban.app import consent, place
from ocicaliban.app.requests import BuildRequest
from ocicaliban.build import builder, environment_view, last_build, local_image, planner
from ocicaliban.build.local_image import LocalImage
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import buildah, podman
from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi, selection
from ocicaliban.model.image import Image
from ocicaliban.reporter import TERMINAL, Reporter

# The grammar of a reference in the OCI distribution spec, with a port and without a digest.
_TAG = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?")


@frozen(kw_only=True)
class Built:
    """An image, the key of its plan, and the environment that the project declares, as values for JSON."""

    image: Image
    key: str
    environment: Mapping[str, object]


def build(request: BuildRequest, tag: str = "") -> Built:
    """Build the image of the project in the current folder, and name it `tag` as well, if given.

    Raises UsageError if the tag is not a valid name, OcicalibanError if the build fails.
    """
    note_root()
    if tag and not _TAG.fullmatch(tag):
        raise UsageError(
            f"--tag '{tag}' is not a valid image name", "use lower case, as in digits:v1 or ghcr.io/me/digits:v1"
        )
    whole = plan_and_build(request)
    if tag:
        buildah.tag(whole.image.id, tag)
    return whole


def plan_and_build(request: BuildRequest) -> Built:
    """Plan the image of the project in the current folder, build what is missing, and record what was built."""
    request = place.entered(request, TERMINAL)
    planned = planner.plan_project(plan_request(request, choose_gpus(request)), TERMINAL)
    image = built(planned, no_cache=request.no_cache)
    record_built(planned)
    described = environment_view.as_json(planned.environment, planned.packages, planned.python, planned.python_reason)
    return Built(image=image, key=planned.plan.key, environment=described)


def choose_gpus(request: BuildRequest, reporter: Reporter = TERMINAL) -> tuple[cdi.Device, ...]:
    """Return the GPUs that a request asks for. Raises OcicalibanError if there are none, but some are asked for."""
    return selection.choose_gpus(request.gpu_wanted, request.gpus, reporter)


def plan_request(request: BuildRequest, gpus: tuple[cdi.Device, ...]) -> PlanRequest:
    """Return what the planner is asked for an image for these GPUs and the project in the current folder."""
    return PlanRequest(
        root=place.project_root(),
        mode=request.mode,
        module=request.module,
        folder=request.folder,
        gpus=gpus,
        extras=request.extras,
        groups=request.with_groups,
        dirs=place.in_project(request, request.dirs),
        allow_secrets=place.in_project(request, request.allow_secrets),
        mount=request.mount,
        shell_name=request.shell,
        settings=request.settings,
        fresh=request.no_cache,
    )


def note_root() -> None:
    """Tell a user who is root that ocicaliban does not need it."""
    if os.geteuid() == 0:
        TERMINAL.note("running as root; ocicaliban needs no root, run it as an ordinary user")


def built(planned: PlannedImage, *, no_cache: bool) -> Image:
    """Build the layers of a plan that are missing and return its image.

    Raises OcicalibanError if a step fails, UsageError if the project wants what it is not allowed.
    """
    consent.require(planned, build=True)
    return builder.build(planned.plan, planned.build_context, reporter=TERMINAL, cache=not no_cache)


def built_here(planned: PlannedImage, *, no_cache: bool) -> LocalImage:
    """Make what a container of a plan needs on this machine, and return it; see `built`."""
    consent.require(planned, build=True)
    return local_image.build(planned.plan, planned.build_context, reporter=TERMINAL, cache=not no_cache)


def record_built(planned: PlannedImage, local: LocalImage | None = None) -> None:
    """Record what was built, and is there for containers on this machine; the next plan tells what has changed."""
    last_build.save(planned.project.root, planned.plan, planned.trees, local.held if local else ())


def image_called(name: str) -> Image:
    """Return the image of the local store that has this id or name. Raises UsageError if there is none."""
    identity = podman.image_id(name)
    if not identity:
        hint = "`podman images` lists the images; `ocicaliban build` makes one"
        raise UsageError(f"there is no image '{name}'", hint)
    return Image(id=identity, digest="", key="")
