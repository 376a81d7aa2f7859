"""Publish a group's jobs: push their image, and attach to it what they were and what came of them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban import __version__
from ocicaliban.app import build, place, published_results, report, selection, sending, signed, submissions
from ocicaliban.app.published_results import JobFiles
from ocicaliban.app.push import repository_of
from ocicaliban.app.requests import JobsRequest, LaunchRequest, PublishRequest
from ocicaliban.app.sending import Sent
from ocicaliban.build import folder_store
from ocicaliban.containers import image_store, image_texts, podman_args
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.execution import reconcile
from ocicaliban.formats.text import amount
from ocicaliban.jobs import provenance, records
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.image import Image
from ocicaliban.model.job import ENDED, Job, Submission
from ocicaliban.project import credential_files, git
from ocicaliban.publish import documents, experiment, sbom
from ocicaliban.publish.documents import Document
from ocicaliban.publish.experiment import Experiment, PublishedJob, Resources
from ocicaliban.publish.signatures import PrivateKey
from ocicaliban.registry import layouts
from ocicaliban.registry.reference import Destination, check_tag
from ocicaliban.reporter import TERMINAL
from ocicaliban.reports.metrics import Metrics

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_CURVE_POINTS = 100_000  # of each curve; longer ones are thinned, as in a report

_UNKNOWN = f"sha256:{'0' * 64}"  # until the image is where it is published


@frozen(kw_only=True)
class Edition:
    """What is about to be published: the image, the jobs, and the text files.

    `place` is a registry's, or that of a layout on this machine. The image is whole with the folders of ours among the
    `mounts`, and `experiment` has no digests of it yet. `key` signs, if there is one; `crate` is where an
    RO-Crate goes. `commits` is how many are in the git bundle.
    """

    place: Destination | str
    tag: str
    image: Image
    experiment: Experiment
    jobs: tuple[PublishedJob, ...]
    others: tuple[Document, ...]
    mounts: tuple[str, ...] = ()
    results: tuple[JobFiles, ...] = ()
    key: PrivateKey | None = None
    crate: str = ""
    commits: int = 0

    def documents(self) -> tuple[Document, ...]:
        """Return all documents."""
        return documents.head(self.experiment), *self.others

    def listing(self) -> Iterator[str]:
        """Yield the lines that say what will be sent: the image, each document, each job's arguments."""
        size = image_store.image_sizes().get(self.image.id, 0)
        made = self.experiment
        place = self.place if isinstance(self.place, str) else self.place.repository
        yield f"to {place}, with the tag {self.tag}:"
        more = ", and the folders that its jobs had mounted as layers" if any(map(_is_ours, self.mounts)) else ""
        yield f"  image {self.image.id[:12]}, {amount(size)} unpacked{more}"
        for document in self.documents():
            yield f"  {document.title}, {amount(document.blob.size)}{self._warning(document)}"
        yield f"  {documents.CRATE_NAME}, and provenance.json: what these files are, and what they were made from"
        for each in self.results:
            yield f"  {each.title}, {amount(each.size)} unpacked: {', '.join(name for name, _ in each.files)}"
        if self.key:
            yield f"signed by the key {self.key.name}"
        if self.crate:
            yield f"and an RO-Crate on this machine: {self.crate}"
        source = f"commit {made.commit}{' and changed files' if made.dirty else ''}" if made.commit else "no git commit"
        yield f"with {source}{f' of {made.remote}' if made.remote else ''}; {made.machine.processor}"
        if made.env:
            yield f"with the variables {' '.join(shlex.quote(f'{name}={value}') for name, value in made.env)}"
        if made.options:
            yield f"without the values of podman's options that its jobs had: {', '.join(made.options)}"
        yield f"and {submissions.numbered(len(self.jobs))}, their parameters, metrics and durations:"
        for job in self.jobs:
            yield f"  {job.number} {job.status}: {' '.join(job.args) or 'no arguments'}"

    def _warning(self, document: Document) -> str:
        """Return what the user must know of a document before it goes out, "" for most."""
        if document.media_type != documents.BUNDLE:
            return ""
        commits = "the one commit" if self.commits == 1 else f"the whole history of {self.commits} commits"
        return f": {commits}, which was not searched for credentials"


def prepare(request: PublishRequest) -> Edition:
    """Collect what `publish` would send. Nothing is sent.

    Raises UsageError if the group cannot be published as it is: the message names the option that continues, or what
    must be done first. Raises OcicalibanError if something that would be sent holds a credential.
    """
    from ocicaliban.history import access

    build.note_root()
    to = _place(request)
    key = signed.private_key(request.sign_key) if request.sign_key else None
    if request.crate:
        sending.check_crate(request.crate)
    with access.open(reporter=TERMINAL) as history:
        request = evolve(request, group=selection.group_named(history, request.group))
        jobs = _jobs(history, request.group)
        made = _one_submission(request.group, jobs)
        made_from = _origin(history, made)
    image = _image(request.group, made)
    if any(job.submission.dirty for job in jobs) and not request.dirty:
        raise UsageError(
            f"{request.group} ran with files that are not in the commit {made.commit[:12]}",
            "commit them (`git status` shows them) and run again, or publish it so: --dirty",
        )
    if (given := _options(made, "podman_args")) and not request.without_options:
        raise UsageError(
            f"{request.group} ran with options for podman, which are not published: {', '.join(given)}",
            "put what its jobs need into the project, or publish it so: --without-options",
        )
    if made_from is None:
        TERMINAL.note(f"the lock, recipes and sweep file of {request.group} are not on record, and are left out")
    numbered = tuple(
        experiment.published_job(number, job, reported)
        for number, (job, reported) in enumerate(_reported(request, jobs), start=1)
    )
    bundle, commits = b"", 0
    if request.with_git:
        if not made.commit:
            raise UsageError(f"{request.group} has no git commit", "leave out --with-git")
        bundle = git.bundle(Path(made.project), made.commit)
        commits = git.count(Path(made.project), made.commit)
    edition = Edition(
        place=to,
        tag=check_tag(request.tag or request.group),
        image=image,
        experiment=_experiment(made, numbered, made_from),
        jobs=numbered,
        others=(*documents.others(numbered, made_from, bundle), _bill(image, made)),
        mounts=made.launch.mounts,
        results=published_results.found(jobs) if request.with_results else (),
        key=key,
        crate=request.crate,
        commits=commits,
    )
    _check_secrets(edition)
    return edition


def publish(edition: Edition) -> Sent:
    """Push the image, attach the experiment, and return the reference of the experiment by its digest.

    Raises OcicalibanError if the registry refuses. What was sent before an interruption is not sent again.
    """
    return sending.send(edition, edition.image)


# --- what is published ---


def _place(request: PublishRequest) -> Destination | str:
    """Return where to publish. Raises UsageError if that is not possible, or nothing is configured."""
    if layouts.is_place(request.repository):
        sending.check_layout(request.repository)
        return request.repository
    repository = repository_of(place.project_root(), request.repository)
    tag = check_tag(request.tag or "latest")
    return Destination(repository=repository, tag=tag, tls_verify=request.tls_verify)


def _bill(image: Image, made: Submission) -> Document:
    """Return the software in the image, and in the folders of ours that its containers mount."""
    found = image_texts.matching(image, sbom.PATTERNS)
    for mount in made.launch.mounts:
        source, _, rest = mount.partition(":")
        if _is_ours(mount):
            found |= image_texts.below(Path(source), rest.partition(":")[0], (".dist-info/METADATA",))
    data = sbom.materials(found, name=made.group, image=image.id, program=__version__)
    return Document(media_type=sbom.MEDIA_TYPE, title=documents.SBOM_NAME, data=data)


def _jobs(history: History, group: str) -> tuple[Job, ...]:
    """Return our jobs of a group. Raises UsageError if there are none, or if some have not ended."""
    reconcile.catch_up(history, group=group)
    submissions.of_group(history, group)
    jobs = history.jobs(group=group, user=provenance.user())
    if left := sum(job.status not in ENDED for job in jobs):
        raise UsageError(
            f"{submissions.numbered(left)} of {group} {'has' if left == 1 else 'have'} not ended",
            f"wait for them, or: ocicaliban stop --group {group}",
        )
    return jobs


def _one_submission(group: str, jobs: tuple[Job, ...]) -> Submission:
    """Return the submission that the jobs share. Raises UsageError if they ran in several images, or differently."""
    if (count := len({_files(job.submission) for job in jobs})) > 1:
        raise UsageError(
            f"the jobs of {group} ran in {count} images, and an experiment has one",
            f"ocicaliban resubmit --group {group} --all-jobs --rebuild runs all of them again in one",
        )
    if len({_start(job.submission) for job in jobs}) > 1:
        raise UsageError(
            f"the jobs of {group} started with different commands, options or limits",
            "run them as one sweep: ocicaliban run -g NAME --experiment-config SWEEP MODULE",
        )
    return jobs[-1].submission


def _origin(history: History, made: Submission) -> Origin | None:
    """Return what the image of a submission was made from; jobs that run again in it are a submission of their own."""
    known = history.submissions(group=made.group, user=made.user)
    same = [each.id for each in known if _files(each) == _files(made)]
    return next((found for each in reversed(same) if (found := history.origin(each))), None)


def _files(made: Submission) -> tuple[str, tuple[str, ...]]:
    """Return what decides the files that jobs see: their image, and the folders of ours that are mounted."""
    return made.image, tuple(mount for mount in made.launch.mounts if _is_ours(mount))


def _start(made: Submission) -> tuple[object, ...]:
    """Return what decides how jobs start, besides their files."""
    launch, options = made.launch, made.options
    names = (provenance.RUN_OPTIONS, "podman_args", "cpus", "memory", "gpus_per_job")
    asked = tuple(str(options.get(name, "")) for name in names)
    mounts = tuple(mount for mount in launch.mounts if not _is_ours(mount))
    return (launch.command, launch.env, launch.workdir, launch.capabilities, bool(launch.devices), mounts, *asked)


def _options(made: Submission, *keys: str) -> tuple[str, ...]:
    """Return the names of podman's options that the history has under some keys: the command line's, the settings'."""
    words = [word for key in keys for word in podman_args.split(str(made.options.get(key, "")))]
    return tuple(dict.fromkeys(word.partition("=")[0] for word in words if word.startswith("-")))


def _is_ours(mount: str) -> bool:
    """Return whether a mount is of a folder that takes the place of a layer, and so is published in the image."""
    return bool(folder_store.key_in(mount.partition(":")[0]))


def _image(group: str, made: Submission) -> Image:
    found = next((image for image in image_store.images() if image.id == made.image), None)
    if found is None:
        raise _gone(group, made.image)
    return found


def _gone(group: str, image: str) -> UsageError:
    return UsageError(f"the image {image[:12]} of {group} does not exist any more", submissions.rebuild_hint(group))


def _reported(request: PublishRequest, jobs: tuple[Job, ...]) -> Iterator[tuple[Job, Metrics]]:
    """Yield each job with what it reported. Raises UsageError if the results of some are gone."""
    found, complete = report.metrics_of(jobs, _CURVE_POINTS)
    gone = [job.id for job in jobs if found[job.id].missing and job.status == "succeeded"]
    if (gone or not complete) and not request.without_metrics:
        raise UsageError(
            f"the results of {submissions.numbered(len(gone) or len(jobs))} of {request.group} are gone",
            "run them again (ocicaliban resubmit --all-jobs), or publish the rest: --without-metrics",
        )
    for job in jobs:
        yield job, found[job.id]


def _experiment(made: Submission, jobs: tuple[PublishedJob, ...], made_from: Origin | None) -> Experiment:
    options: tuple[LaunchRequest, JobsRequest] | None = None
    if not made.options.get(made.target):
        options = records.requested(made, LaunchRequest, JobsRequest)
    asked = options[1] if options else JobsRequest()
    gpus = len(made.launch.devices) and (asked.gpus_per_job or len(made.launch.devices))
    return Experiment(
        group=made.group,
        created=experiment.iso(time.time()),
        image=_UNKNOWN,
        image_id=_UNKNOWN,
        mode=made.mode,
        module=made.module,
        command=made.launch.command,
        env=made.launch.env,
        workdir=made.launch.workdir,
        capabilities=made.launch.capabilities,
        options=_options(made, provenance.RUN_OPTIONS, "podman_args"),
        folders=tuple(_inside(mount) for mount in made.launch.mounts if not _is_ours(mount)),
        resources=Resources(cpus=asked.cpus or 0, memory=asked.memory, gpus=gpus),
        commit=made.commit,
        dirty=made.dirty,
        remote=made_from.remote if made_from else "",
        folder=git.folder_in_repository(Path(made.project)) if made.commit else "",
        mounted=any(map(_is_ours, made.launch.mounts)),
        build=_build(options[0]) if options and made_from and made_from.files else {},
        program=made_from.program if made_from else "",
        **({"machine": made_from.machine} if made_from else {}),
        jobs=len(jobs),
        sweep=made_from.sweep_name if made_from else "",
    )


def _build(asked: LaunchRequest) -> Mapping[str, object]:
    """Return what an image was made by, beside its mode and module, as far as it is not the default."""
    recorded = records.to_record(asked)
    usual = records.to_record(LaunchRequest(mode=asked.mode))
    known = (name for name in experiment.BUILT_BY if name in recorded and recorded[name] != usual.get(name))
    return {name: recorded[name] for name in known} | {"mode": asked.mode}


def _inside(mount: str) -> str:
    """Return where a container sees a folder, of podman's HOST:CONTAINER[:OPTIONS]."""
    return mount.split(":")[1] if ":" in mount else mount


def _check_secrets(edition: Edition) -> None:
    """Raise OcicalibanError if a document holds a credential."""
    args = "\n".join(word for job in edition.jobs for word in job.args)
    env = "\n".join(f"{name}={value}" for name, value in edition.experiment.env)
    texts = [
        ("its jobs", documents.job_lines(edition.jobs)),
        ("the arguments of its jobs", args.encode("utf-8", "replace")),
        ("the variables of its jobs", env.encode("utf-8", "replace")),
        *((each.title, each.data) for each in edition.documents() if each.media_type != documents.JOBS),
    ]
    for title, data in texts:
        if found := credential_files.credential_in(data, title):
            raise OcicalibanError(
                f"{title}, line {found.line}: {found.what}; nothing was sent",
                "a published experiment is for everybody: remove it, and run the jobs again",
            )
