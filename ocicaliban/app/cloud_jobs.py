"""What cloud, resume and resubmit do with jobs for Vertex AI: their image goes to the registry, they to the service."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.jobs import records
from ocicaliban.jobs.records import key
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ocicaliban.build.planner import PlannedImage
    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep
    from ocicaliban.model.job import Job, JobSpec, Submission
    from ocicaliban.targets.backend import BatchBackend, Connection
    from ocicaliban.targets.vertex.client import VertexClient
    from ocicaliban.targets.vertex.options import Options


@frozen(kw_only=True)
class Submitting:
    """What `cloud` was told of the image and of where it goes."""

    mode: str = field(metadata=key("mode"))
    module: str = field(metadata=key("module"))
    project_id: str = field(metadata=key("project_id"))
    region: str = field(metadata=key("region"))
    repository: str = field(metadata=key("repository"))
    image_tag: str = field(default="", metadata=key("image_tag"))
    group: str = field(default="", metadata=key("group"))
    extras: tuple[str, ...] = field(default=(), metadata=key("extras"))
    dirs: tuple[str, ...] = field(default=(), metadata=key("dirs"))
    no_cache: bool = field(default=False, metadata=key("no_cache"))
    cloud_key: str = field(default="", metadata=key("cloud_key"))
    tls_verify: bool = field(default=True, metadata=key("tls_verify"))
    gpu: bool = field(default=True, metadata=key("gpu"))


def _first(points: Sweep | None, args: tuple[str, ...], asked: Submitting) -> Job:
    """The first job as it would be, for a look at it."""
    from ocicaliban.jobs import expansion
    from ocicaliban.model.job import Job, JobSpec, Submission

    spec = next(expansion.specs(points, args)) if points else JobSpec(args=args)
    made = Submission(
        group=asked.group or "group", user="", host="", project=str(Path.cwd()), mode=asked.mode, module=asked.module
    )
    return Job(id=0, key="0" * 12, submission=made, parameters=spec.parameters, args=spec.args)


_NO_DIGEST = f"image@sha256:{'0' * 64}"


def check(points: Sweep | None, options: Options, args: tuple[str, ...], asked: Submitting) -> Job:
    """The first job as it would be. Raises UsageError for what no job can be, before anything slow."""
    from ocicaliban.targets.vertex import job_spec

    first = _first(points, args, asked)
    job_spec.custom_job(first, _NO_DIGEST, options)
    return first


def _planned(asked: Submitting, first: Job, *, resolve: bool) -> PlannedImage:
    from ocicaliban.app import launch as start
    from ocicaliban.build import planner
    from ocicaliban.build.request import PlanRequest
    from ocicaliban.targets.vertex import job_spec

    request = PlanRequest(
        root=Path.cwd(),
        mode=asked.mode,
        module=asked.module,
        gpu_elsewhere=asked.gpu,
        extras=asked.extras,
        dirs=asked.dirs,
        resolve=resolve,
        fresh=asked.no_cache,
    )
    planned = planner.plan_project(request, TERMINAL)
    job_spec.check_platform(planned.plan.base.platform)
    if planned.plan.launch.mounts:
        hint = 'take "source-copy" into its list instead of "source-mount"'
        raise UsageError(f"the mode '{asked.mode}' mounts folders of this machine, which the cloud has not", hint)
    if not first.args:
        start.check_starts(planned, asked.module)
    return planned


def dry_run(asked: Submitting, options: Options, points: Sweep | None, args: tuple[str, ...], first: Job) -> None:
    """Print the layers of the image, and each job as the service would get it; `first` is a job as all will be.

    What is not known yet is made up: the image's digest (unless it is there), and the jobs' numbers and keys.
    """
    from ocicaliban.app.images import chosen, state
    from ocicaliban.build import plan_view
    from ocicaliban.jobs import expansion
    from ocicaliban.model.job import JobSpec
    from ocicaliban.targets.vertex import job_spec

    command: tuple[str, ...] = ()
    if asked.image_tag:
        image, entry, command = _found(asked, first)
    else:
        planned = _planned(asked, first, resolve=False)
        image, entry = _NO_DIGEST, planned.plan.entrypoint
        with contextlib.suppress(UsageError):  # nothing goes there yet
            image = f"{chosen(Path.cwd(), asked.repository)}@{_NO_DIGEST.partition('@')[2]}"
        for line in plan_view.stack_lines(planned.plan, *state(planned)):
            print(f"# {line}")
    options = evolve(options, entrypoint=entry, command=command)
    for number, spec in enumerate(expansion.specs(points, args) if points else [JobSpec(args=args)], start=1):
        # The key is made when it is submitted; here only that each job has one of its own shall be seen.
        job = evolve(first, id=number, key=f"{number:012}", parameters=spec.parameters, args=spec.args)
        print(json.dumps(job_spec.custom_job(job, image, options)[0]))


def _accelerators() -> set[str]:
    """Those of the table, and none: any other one the library may not know."""
    from ocicaliban.targets.vertex import machines

    return {"", *machines.table().accelerators.values()}


_MUCH = 50_000_000  # bytes


def _is_slow(planned: PlannedImage) -> bool:
    """Whether more than a few files are to be put into the image: then what can fail is looked at before."""
    from ocicaliban.build import base_image
    from ocicaliban.containers import image_store

    known = image_store.images()
    if base_image.present(planned.plan.base) is None:
        return True
    missing = [layer for layer in planned.plan.layers if image_store.find_layer(layer.name, layer.key, known) is None]
    much = sum(entry.size for tree in planned.trees.values() for entry in tree.entries) > _MUCH
    return any(layer.runs or much for layer in missing)


def submit(asked: Submitting, options: Options, points: Sweep | None, args: tuple[str, ...], first: Job) -> int:
    """Build, push, submit; returns the exit code. `first` is a job as all will be."""
    from ocicaliban.history import access
    from ocicaliban.jobs import expansion, group_names
    from ocicaliban.model.job import JobSpec
    from ocicaliban.targets.vertex import backend

    with access.open(reporter=TERMINAL) as known:
        made, at, options = prepared(asked, options, first)
        count = expansion.count(points) if points else 1

        def specs() -> Iterator[JobSpec]:
            return iter(expansion.specs(points, args) if points else [JobSpec(args=args)])

        if begun := _broken_off(known, made, count, specs):
            return _go_on(known, begun, at)
        made = known.submit(evolve(made, group=asked.group or group_names.new(Path.cwd())), specs())
        TERMINAL.say(f"{made.group}: {count} job{'s' if count > 1 else ''} to {asked.region}")
        return send(known, made, backend.BACKEND, at)


def _broken_off(
    known: History, made: Submission, count: int, specs: Callable[[], Iterable[JobSpec]]
) -> Submission | None:
    """The submission that this very command has begun before, with the same image, where it did not come to its end.

    Jobs wait of which the service has some perhaps, or it has all, and the command was killed before it could tell. Who
    has stopped jobs of it since wants them anew. Raises UsageError where another process is at it.
    """
    from ocicaliban.jobs import lease
    from ocicaliban.model.job import under_way

    def alike(one: Submission) -> bool:
        kept = ("target", "host", "project", "mode", "module", "image")
        same = all(getattr(one, name) == getattr(made, name) for name in kept)
        return same and json.dumps(one.options, sort_keys=True) == json.dumps(made.options, sort_keys=True)

    for one in filter(alike, known.submissions(group=made.group, user=made.user)):
        counts = known.counts(submission=one.id)
        if not counts["queued"] + under_way(counts) or sum(counts.values()) != count:
            continue
        jobs = sorted(known.jobs(submission=one.id), key=lambda job: job.id)
        same = (
            (job.parameters, job.args) == (spec.parameters, spec.args) for job, spec in zip(jobs, specs(), strict=True)
        )
        if len(jobs) != count or not all(same):
            continue
        if lease.is_held(one, patience=lease.ENDING):
            raise UsageError(
                f"another ocicaliban submits the same to '{one.group}' at this moment",
                "wait for it, or end it; with a --group of another name they are submitted a second time",
            )
        counts = known.counts(submission=one.id)  # it may have come to its end meanwhile
        if not counts["stopped"] and (counts["queued"] or (under_way(counts) and lease.was_abandoned(one))):
            return one
    return None


def _go_on(known: History, begun: Submission, at: VertexClient) -> int:
    """Submit what is left of what this command has begun before; returns the exit code."""
    from ocicaliban.execution import reconcile
    from ocicaliban.jobs import lease
    from ocicaliban.targets.vertex import backend

    reconcile.catch_up(known, TERMINAL, group=begun.group)
    counts = known.counts(submission=begun.id)
    if count := counts["queued"]:
        left = f"the {count} jobs that are left go out now" if count > 1 else "the job that is left goes out now"
        TERMINAL.say(
            f"{begun.group}: this command has begun it before; {left}"
            f" (to begin anew instead: ocicaliban stop --group {begun.group})"
        )
        return send(known, begun, backend.BACKEND, at, begun=True)
    with lease.held(begun):  # from now on it is not one that was killed
        states = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        TERMINAL.say(
            f"{begun.group}: this command had submitted all of it before it was killed ({states}), and nothing is sent"
            " twice; run once more it begins anew"
        )
    print(begun.group)
    return 0


def prepared(asked: Submitting, options: Options, first: Job) -> tuple[Submission, VertexClient, Options]:
    """What the jobs have in common, with their image in the registry, and the connection to the service.

    What can be refused is asked before anything slow, of a job such as `first`: nothing that takes long is built, and
    nothing pushed, before the service has said that it would take jobs. Raises OcicalibanError where it will not.
    """
    from ocicaliban.app import launch as start
    from ocicaliban.app.images import chosen
    from ocicaliban.formats.text import amount
    from ocicaliban.jobs import provenance
    from ocicaliban.model.image import Launch
    from ocicaliban.model.job import Submission
    from ocicaliban.project import git
    from ocicaliban.registry import push as pushing
    from ocicaliban.registry.reference import Destination
    from ocicaliban.system import threads
    from ocicaliban.targets.vertex import backend, job_spec
    from ocicaliban.targets.vertex import options as vertex_options

    def connected() -> VertexClient:
        from ocicaliban.targets.vertex import client

        at = client.connect(asked.project_id, asked.region, key_file=asked.cloud_key)
        at.check(job_spec.custom_job(first, _NO_DIGEST, options)[0])
        return at

    launch, key, command = Launch(), "", tuple[str, ...]()
    connecting = threads.start(connected)
    if asked.image_tag:
        reference, entry, command = _found(asked, first)
    else:
        to = Destination(
            repository=chosen(Path.cwd(), asked.repository), tls_verify=asked.tls_verify, key_file=asked.cloud_key
        )
        registry = pushing.connect(to, TERMINAL)
        planned = _planned(asked, first, resolve=True)
        if asked.no_cache or _is_slow(planned) or options.machine.accelerator not in _accelerators():
            connecting.result()
        image = start.built(planned, asked.no_cache)
        start.record_built(planned)

        def first_the_service() -> None:
            connecting.result()

        pushed = pushing.push(image, to, registry, before=first_the_service, reporter=TERMINAL)
        connecting.result()  # who is refused shall not read of a success first
        TERMINAL.say(f"pushed {pushed.reference}: sent {amount(pushed.sent)}, {amount(pushed.saved)} were there")
        reference = pushed.reference
        launch, key, entry = planned.plan.launch, planned.plan.key, planned.plan.entrypoint
    at = connecting.result()
    kept = evolve(asked, project_id=at.project)
    options = evolve(options, entrypoint=entry, command=command)
    made = Submission(
        group=asked.group,
        user=provenance.user(),
        host=provenance.host(),
        target=backend.TARGET,
        project=str(Path.cwd()),
        mode=asked.mode,
        module=asked.module,
        image=reference,
        plan_key=key,
        launch=launch,
        options={**records.to_record(kept), vertex_options.KEY: vertex_options.to_record(options)},
    )
    commit, dirty = git.head(Path.cwd())
    return evolve(made, commit=commit, dirty=dirty), at, options


def _found(asked: Submitting, first: Job) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The image that `--image-tag` names, by its digest, and what is started in it: the module, or its entry point; and
    the command that it has for a job without arguments.

    Raises OcicalibanError where the registry has it not, or a job such as `first` would start nothing.
    """
    from ocicaliban.project import entry_point
    from ocicaliban.registry import lookup
    from ocicaliban.registry.reference import Destination, check_tag, parse_repository

    entry = entry_point.entry_command(Path.cwd(), asked.module)
    name, at, digest = asked.image_tag.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        head, tag = name, "latest"
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise UsageError(f"--image-tag {asked.image_tag}: {digest} is no digest", "sha256: and 64 hexadecimal digits")
    target = Destination(
        repository=parse_repository(head),
        tag=check_tag(tag),
        tls_verify=asked.tls_verify,
        key_file=asked.cloud_key,
    )
    found = lookup.find_image(target, digest or tag, TERMINAL)
    if not found:
        raise UsageError(
            f"--image-tag {asked.image_tag}: the registry has no such image",
            "is it deleted, or misspelt? without --image-tag one is built and pushed",
        )
    starts = entry_point.starts_something(found.entrypoint, first.args or found.command)
    if not entry and found.has_config and not starts:
        hint = "give the MODULE that it shall start"
        raise UsageError(f"--image-tag {asked.image_tag}: the image has no entry point", hint)
    reference = f"{target.repository}@{found.digest}"
    return (reference, entry, ()) if entry else (reference, found.entrypoint, found.command)


def check_image(made: Submission, asked: Submitting, *, waiting: bool = False) -> None:
    """Raise UsageError where the image of jobs that shall be submitted again is in its registry no more.

    `waiting` tells that these jobs were never submitted.
    """
    from ocicaliban.app import launch as start
    from ocicaliban.registry import lookup
    from ocicaliban.registry.reference import Destination, parse_repository

    name, _, digest = made.image.partition("@")
    target = Destination(repository=parse_repository(name), tls_verify=asked.tls_verify, key_file=asked.cloud_key)
    if not lookup.find_image(target, digest, TERMINAL):
        hint = start.rebuilding(made.group, waiting=waiting)
        if asked.image_tag:
            hint = "push it again, or submit anew with another --image-tag"
        raise UsageError(f"the image of {made.group} is not in {name} any more", hint)


def send(
    known: History,
    made: Submission,
    batch: BatchBackend,
    connection: Connection,
    *,
    begun: bool = False,
    settle: bool = False,
) -> int:
    """Submit what is queued of a submission; returns the exit code.

    `begun` tells that somebody was at this submission before, and may have been killed; `settle` that some of these
    jobs may be on their way for another reason.
    """
    from ocicaliban.targets.backend import Refused

    count = known.counts(submission=made.id)["queued"]
    taken = 0
    with TERMINAL.counting(f"{made.group}: submitted", count) as one:

        def accepted(job: Job, page: str) -> None:
            nonlocal taken
            taken += 1
            one()
            if count == 1:
                TERMINAL.say(f"job {job.id}: {page}")

        try:
            batch.submit(known, made, accepted, TERMINAL, connection=connection, settle=begun or settle)
        except Refused as fault:
            waiting = known.jobs(submission=made.id)
            if begun or taken or any(job.status != "queued" for job in waiting):
                _say_left(made, taken, count)
                raise
            known.stop_queued(job.id for job in waiting)
            again = f"ocicaliban resubmit --group {made.group} asks for the same again"
            raise Refused(
                f"{fault.message}\nnothing of {made.group} was submitted", f"{fault.hint}; {again}"
            ) from fault
        except BaseException:
            _say_left(made, taken, count)
            raise
    if withdrawn := count - taken:
        TERMINAL.say(f"{made.group}: {withdrawn} of {count} were stopped meanwhile")
    TERMINAL.say(f"  to see them: ocicaliban status --group {made.group}")
    print(made.group)
    return 0


def _say_left(made: Submission, taken: int, count: int) -> None:

    TERMINAL.say(
        f"{made.group}: {taken} of {count} jobs were submitted; the others wait:"
        f" ocicaliban resume {made.group}, or stop --group {made.group}"
    )


def again(made: Submission) -> tuple[Submitting, Options]:
    """What `cloud` was told, from the history. Raises UsageError where another version wrote that otherwise."""
    from ocicaliban import google_auth
    from ocicaliban.targets.vertex import options as vertex_options

    asked = records.requested(made, Submitting)
    return evolve(asked, cloud_key=google_auth.recorded(asked.cloud_key)), vertex_options.recorded(made)
