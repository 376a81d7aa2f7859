"""The image of jobs in the cloud: build and push it, or look it up in its registry."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from attrs import evolve, field, frozen

from ocicaliban.app import build, launch, place, submissions
from ocicaliban.app.push import repository_of, say_pushed
from ocicaliban.app.requests import CloudRequest
from ocicaliban.build import base_image, planner
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import image_store
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Job, Submission
from ocicaliban.project import entry_point
from ocicaliban.registry import lookup, push
from ocicaliban.registry.reference import Destination, check_tag, parse_repository
from ocicaliban.reporter import TERMINAL, Making, Reporter
from ocicaliban.targets.backend import Request, require
from ocicaliban.targets.vertex import backend

_LARGE = 50_000_000  # bytes


@frozen(kw_only=True)
class CloudImage:
    """An image in a registry: its name by digest, and what it starts.

    `entrypoint` comes before a job's arguments, and `command` takes the place of the arguments of a job that has none.
    `launch` and `plan_key` are empty for an image that was not built here.
    """

    reference: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    launch: Launch = field(factory=Launch)
    plan_key: str = ""


class _Waiting(Reporter):
    """Reports at the terminal. Whatever takes a while, and so is shown, begins after `wait`."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__(TERMINAL.say)
        self._wait = wait

    @contextlib.contextmanager
    def making(self, what: str, doing: str = "building", *, done: str = "built", taken: int = 0) -> Iterator[Making]:
        """Show that `what` is being made, once the service takes such jobs."""
        self._wait()
        with super().making(what, doing, done=done, taken=taken) as made:
            yield made


def plan(request: CloudRequest, first: Job, *, resolve: bool, reporter: Reporter = TERMINAL) -> PlannedImage:
    """Plan the image for jobs like `first`; without `resolve` nothing is pulled or written.

    Raises UsageError if the service's machines cannot run it.
    """
    asked = PlanRequest(
        root=place.project_root(),
        mode=request.mode,
        module=request.module,
        folder=request.folder,
        gpu_elsewhere=request.gpu,
        extras=request.extras,
        groups=request.with_groups,
        dirs=place.in_project(request, request.dirs),
        allow_secrets=place.in_project(request, request.allow_secrets),
        resolve=resolve,
        fresh=request.no_cache,
        elsewhere=True,
    )
    planned = planner.plan_project(asked, reporter)
    submission = evolve(first.submission, mode=request.mode, launch=planned.plan.launch)
    job = evolve(first, submission=submission)
    require(backend.BACKEND, Request(job=job, platform=planned.plan.base.platform))
    if not first.args:
        launch.check_starts(planned, request.module)
    return planned


def build_and_push(request: CloudRequest, first: Job, wait: Callable[[], None], *, at_once: bool) -> CloudImage:
    """Build the image for jobs like `first` and push it.

    `wait` returns when the service has said that it takes such jobs, and raises what it says otherwise. It is called
    before anything slow, with `at_once` before the build in any case.
    """
    target = Destination(
        repository=repository_of(place.project_root(), request.repository),
        tls_verify=request.tls_verify,
        key_file=request.cloud_key,
    )
    registry = push.connect(target, TERMINAL)
    planned = plan(request, first, resolve=True, reporter=_Waiting(wait))
    if at_once or request.no_cache or _is_slow(planned):
        wait()
    image = build.built(planned, no_cache=request.no_cache)
    build.record_built(planned)
    pushed = push.push(image, target, registry, before=wait, reporter=TERMINAL)
    wait()  # a refusal must not come after a message of success
    say_pushed(pushed)
    return CloudImage(
        reference=pushed.reference,
        entrypoint=planned.plan.entrypoint,
        launch=planned.plan.launch,
        plan_key=planned.plan.key,
    )


def _is_slow(planned: PlannedImage) -> bool:
    """Whether the build does more than put a few files into an image."""
    known = image_store.images()
    if base_image.present(planned.plan.base) is None:
        return True
    missing = [layer for layer in planned.plan.layers if image_store.find_layer(layer.name, layer.key, known) is None]
    large = sum(entry.size for tree in planned.trees.values() for entry in tree.entries) > _LARGE
    return any(layer.runs or large for layer in missing)


def look_up(request: CloudRequest, first: Job) -> CloudImage:
    """Return the image that --image-tag names. It starts the module, or else what the image itself starts.

    Raises OcicalibanError if the registry does not have it, or a job like `first` would start nothing.
    """
    entry = entry_point.entry_command(place.project_root(), request.module, request.folder)
    target, name = _tagged(request)
    found = lookup.find_image(target, name, TERMINAL)
    if not found:
        raise UsageError(
            f"--image-tag {request.image_tag}: the registry has no such image",
            "check the name, or leave --image-tag out to build and push an image",
        )
    if (
        not entry
        and found.has_config
        and not entry_point.starts_something(found.entrypoint, first.args or found.command)
    ):
        raise UsageError(
            f"--image-tag {request.image_tag}: the image has no entry point", "give the MODULE that it must start"
        )
    reference = f"{target.repository}@{found.digest}"
    if entry:
        return CloudImage(reference=reference, entrypoint=entry)
    return CloudImage(reference=reference, entrypoint=found.entrypoint, command=found.command)


def _tagged(request: CloudRequest) -> tuple[Destination, str]:
    """Return where the image of --image-tag is, and its digest or else its tag. Raises UsageError."""
    name, at, digest = request.image_tag.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        head, tag = name, "latest"
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise UsageError(
            f"--image-tag {request.image_tag}: '{digest}' is not a digest", "sha256: and 64 hexadecimal digits"
        )
    target = Destination(
        repository=parse_repository(head),
        tag=check_tag(tag),
        tls_verify=request.tls_verify,
        key_file=request.cloud_key,
    )
    return target, digest or tag


def check(submission: Submission, request: CloudRequest, *, waiting: bool = False) -> None:
    """Raise UsageError if the image of a submission is not in its registry any more.

    `waiting` says that jobs wait for it, which were never submitted.
    """
    name, _, digest = submission.image.partition("@")
    target = Destination(repository=parse_repository(name), tls_verify=request.tls_verify, key_file=request.cloud_key)
    if lookup.find_image(target, digest, TERMINAL):
        return
    hint = submissions.rebuild_hint(submission.group, waiting=waiting)
    if request.image_tag:
        hint = "push it again, or submit new jobs with another --image-tag"
    raise UsageError(f"the image of {submission.group} is not in {name} any more", hint)
