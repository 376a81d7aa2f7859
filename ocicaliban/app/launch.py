"""Prepare a container: plan, build what is missing, and give podman's command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from ocicaliban import replay
from ocicaliban.app import build, cloud_key, consent, place
from ocicaliban.app.requests import JobsRequest, LaunchRequest
from ocicaliban.build import base_image, planner, run_options
from ocicaliban.build.inputs import folders
from ocicaliban.build.local_image import LocalImage
from ocicaliban.build.planner import PlannedImage
from ocicaliban.containers import command_line, image_store, podman, podman_args
from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi
from ocicaliban.gpu import podman_options as gpu_options
from ocicaliban.jobs import log_file, provenance, records
from ocicaliban.model.image import Image, Launch
from ocicaliban.model.job import Submission
from ocicaliban.project import binder_files, entry_point, git, ignore_rules
from ocicaliban.reporter import TERMINAL, is_quiet
from ocicaliban.system import files, filesystems, process
from ocicaliban.targets import registry
from ocicaliban.targets.local import container_spec


@frozen(kw_only=True)
class Command:
    """podman's command line for the container `name` of the job with this `key`.

    `args` are its last words, `options` podman's own options, before `run`. `script` is what a shell must run first,
    in a dry run only.
    """

    argv: tuple[str, ...]
    name: str
    key: str
    args: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    script: str = ""


@frozen(kw_only=True)
class Start:
    """How a container starts: `args` go to its entry point, `extra` to podman before the user's own options.

    A `detached` one runs in the background, and stays when it has ended. One with the `key` of a
    job can be found by it, one of a `session` (the name of a command) by its GPUs. conmon writes what it prints into
    the file `log` too. A container without a name gets a new one.
    """

    args: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    detached: bool = False
    key: str = ""
    session: str = ""
    log: str = ""
    name: str = ""


@frozen(kw_only=True)
class PreparedLaunch:
    """A plan for a request, with the GPUs that it uses and the options that the user gives to podman.

    `given` are those of the settings and then those of the request, and `from_settings` the former alone.
    `own_options` says that some of these options come from the command line, or depend on its environment.
    `recording` has what was read for it. `start` are the words before the command of a person who works in the project
    (see `binder_files`). `left_out` are the files of the project that no image has, if a person works
    in the project's folder. `local` is what a container on this machine runs in, once it is there.
    """

    request: LaunchRequest
    planned: PlannedImage
    own_options: bool
    devices: tuple[cdi.Device, ...]
    given: tuple[str, ...]
    from_settings: tuple[str, ...]
    recording: replay.Recording
    start: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    local: LocalImage | None = None

    @property
    def summary(self) -> str:
        """The lines for the user: what the container runs on, and which files of the project a job would not see."""
        where = f"the GPU: {', '.join(device.qualified for device in self.devices)}" if self.devices else "the CPU"
        lines = [f"running on {where}"]
        if missed := [path for path in self.left_out if not ignore_rules.is_built_in(path)]:
            more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
            lines.append(
                f"note: left out of the image, so that no job sees it: {', '.join(missed[:3])}{more}"
                f" (ocicaliban plan --diff {self.request.mode} run)"
            )
        return "\n".join(lines)

    def image(self) -> Image:
        """Return the image of the request, or the plan's, and build what is missing of it."""
        if self.request.image_id:
            return Image(id=self.request.image_id, digest="", key="")
        return build.built(self.planned, no_cache=self.request.no_cache)

    def made_here(self) -> tuple[PreparedLaunch, Image]:
        """Return the launch and the image for a container on this machine, and build what is missing of it.

        Folders are mounted in place of the top layers, where that is possible.
        """
        if self.request.image_id:
            return self, self.image()
        local = build.built_here(self.planned, no_cache=self.request.no_cache)
        return evolve(self, local=local), local.image

    @property
    def starts(self) -> Launch:
        """How a container starts, with the folders that it mounts in place of layers."""
        launch = self.planned.plan.launch
        return evolve(launch, mounts=(*self.local.mounts, *launch.mounts)) if self.local else launch

    def record_built(self) -> None:
        """Record what was built, so that the next plan can tell what has changed."""
        if not self.request.image_id:
            build.record_built(self.planned, self.local)

    def command(self, image: Image, start: Start) -> Command:
        """Return podman's command line that starts `image`."""
        options, devices, script = _gpu_options(self.devices, self.request.dry_run)
        key = start.key or podman.new_key()
        name = start.name or podman.container_name(self.given, key)
        labels = {command_line.JOB: key} if start.key else {}
        if self.devices and (start.key or start.session):
            labels[command_line.DEVICES] = ",".join(device.qualified for device in self.devices)
        if self.devices and start.session:
            labels[command_line.SESSION] = start.session
        if command_line.DEVICES in labels and self.request.share_gpus:
            labels[command_line.SHARED] = "true"
        log = command_line.log_options(str(log_file.raw(start.log))) if start.log else ()
        shm = command_line.shared_memory_options(filesystems.shared_memory())
        caches = self._caches(start)
        container = command_line.ContainerOptions(
            name=name,
            terminal=(False, False) if start.detached else podman.terminal(),
            extra=(*command_line.label_options(labels), *shm, *log, *caches, *devices, *start.extra, *self.given),
            entrypoint=(*self.start, *start.entrypoint) if start.entrypoint else (),
        )
        argv = command_line.run_argv(image, self.starts, start.args, container, detached=start.detached)
        whole = (argv[0], *options, *argv[1:])
        return Command(argv=whole, name=name, key=key, args=start.args, options=options, script=script)

    def _caches(self, start: Start) -> tuple[str, ...]:
        """Return podman's options by which a container keeps its ~/.cache; the folder is there then."""
        folder = files.kept_caches()
        given = (*start.extra, *self.given)
        mount = container_spec.caches_mount(self.starts, given, folder) if self.request.caches else ""
        if not mount:
            return ()
        if not self.request.dry_run:
            try:
                files.make_folder(folder)
            except OSError:
                return ()  # a cache makes things fast, no more
        return command_line.mount_option(mount)

    def submission(self, image: Image, group: str, jobs: JobsRequest, *, alone: bool = False) -> Submission:
        """Return what the history keeps of a `run`: no secret, and git's part later (see `provenance.with_git`)."""
        request, plan = self.request, self.planned.plan
        launch = self.starts
        if request.image_id and (
            entry := entry_point.entry_command(self.planned.project.root, request.module, request.folder)
        ):
            launch = evolve(launch, command=entry)
        given = shlex.join(podman_args.without_values(podman_args.split(request.podman_args)))
        options: dict[str, object] = records.to_record(evolve(request, podman_args=given, dry_run=False), jobs)
        if self.from_settings:
            options[provenance.RUN_OPTIONS] = shlex.join(podman_args.without_values(self.from_settings))
        return Submission(
            group=group,
            user=provenance.user(),
            host=provenance.host(),
            target=registry.THIS_MACHINE,
            project=str(self.planned.project.root),
            mode=plan.mode,
            module=request.module,
            image=image.id,
            plan_key="" if request.image_id else plan.key,
            launch=launch,
            options={**options, **({provenance.ALONE: True} if alone else {})},
        )

    def remember(
        self,
        argv: list[str],
        image: Image,
        command: Command,
        job: Mapping[str, object] | None = None,
        gpus: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        """Record what was built, and keep what `replay` needs to run the command line `argv` again, if it may.

        `job` is what the history gets of each replay, and `gpus` what it must lease (see `gpu.lease`). `port` is the
        one that this run got.
        """
        request = self.request
        if request.image_id:
            return
        self.record_built()
        if request.no_cache or self.own_options:
            return
        searched = map(str, (*self.planned.searched_paths, *image_store.settings_files()))
        run = replay.Replayable(
            argv=argv,
            script=command.args,
            command=command.argv,
            key=command.key,
            image=image.id,
            images=image_store.index_file(),
            said="" if is_quiet() else self.summary,
            job=job or {},
            gpus=gpus,
            folders=self.local.folders if self.local else (),
            port=port,
            quiet=is_quiet(),
            caches=any(str(files.kept_caches()) in word for word in command.argv),
        )
        checkout = git.state_files(self.planned.project.root) if job else ()
        read = (*searched, process.tool("podman"), *command.options[1:], *checkout)
        replay.remember(run, self.recording, read=read, entries=self.planned.tree_paths())


def prepare(request: LaunchRequest, *, here: bool = True, only_build: bool = False) -> PreparedLaunch:
    """Plan a request for the project in the current folder.

    The tables `run` of the settings count if the container runs `here`. With `only_build`, no container starts, and the
    user need not allow what only a container has. Raises OcicalibanError if the project, the image or a GPU that it
    names does not exist or cannot be used.
    """
    own_options = bool(podman_options(request))
    if request.image_id:
        identity = build.image_called(request.image_id).id
        # A script gets the name. What is recorded must stay the same image whatever becomes of the name.
        request = request if request.dry_run else evolve(request, image_id=identity)
    if not request.dry_run:
        build.note_root()
    with replay.recording() as recording:
        reporter = TERMINAL.also(recording.note_line)
        request = place.entered(request, reporter)
        devices = build.choose_gpus(request, reporter)
        asked = evolve(
            build.plan_request(request, devices),
            gpu_elsewhere=request.gpu_elsewhere,
            resolve=not request.dry_run and not request.image_id,
            contents=not request.image_id,
            elsewhere=not here,
        )
        planned = planner.plan_project(asked, reporter)
        if not request.dry_run:
            consent.require(planned, build=only_build)
        left_out = folders.left_out(planned.project, asked.dirs) if request.lived_in else ()
        words = _start(planned, request)
    if devices and not planned.plan.launch.devices:
        if request.gpu_wanted or request.gpus:
            raise UsageError(f"the mode '{request.mode}' has no recipe for the GPU", 'add "cuda" to the mode\'s list')
        devices = ()
    settings = _checked_settings(planned)
    if not here and run_options.has_any(planned.project, request.mode):
        TERMINAL.note(
            "[run] holds on this machine only: nodes get --env, --volume and --workdir, and a recipe's [launch]"
        )
    return PreparedLaunch(
        request=evolve(request, caches=request.caches and planned.run_options.settings.caches is not False),
        planned=planned,
        own_options=own_options or bool(planned.run_options.settings.pass_env),
        devices=devices,
        given=podman_options(request, settings),
        from_settings=settings,
        recording=recording,
        start=words,
        left_out=left_out,
    )


def _checked_settings(planned: PlannedImage) -> tuple[str, ...]:
    """Return the settings' options for podman. Raises UsageError for those that no container can have."""
    given = planned.run_options.options
    try:
        container_spec.check_given(given)
        podman_args.require_values(given, os.environ)
    except UsageError as fault:
        raise UsageError(
            f"[run]: {fault.message.removeprefix('--podman-args')}".replace(": :", ":"), fault.hint
        ) from None
    return given


def _start(planned: PlannedImage, request: LaunchRequest) -> tuple[str, ...]:
    """Return the words with which the project's `start` runs a shell or a notebook's server."""
    turned_off = any(table.get("start") is False for table in planned.project.layers.values())
    if not request.lived_in or request.image_id or turned_off:
        return ()
    return binder_files.start_command(planned.project.root, entry_point.APP)[0]


def podman_options(request: LaunchRequest, settings: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the options for podman that come from the user: the cloud key's, the settings', and --podman-args."""
    return *cloud_key.podman_options(request.cloud_key), *settings, *podman_args.split(request.podman_args)


def recorded_settings(made: Submission) -> tuple[str, ...]:
    """Return the options for podman that the settings had when a submission was made."""
    return podman_args.split(str(made.options.get(provenance.RUN_OPTIONS) or ""))


def check_starts(planned: PlannedImage, module: str) -> None:
    """Raise UsageError if a container of the plan, without arguments, would only start a shell."""
    if planned.plan.entrypoint:
        return
    base = base_image.present(planned.plan.base)
    if base is None:
        return  # in a dry run the base may be missing, so that nobody can tell
    config = image_store.image_config(base).get("config") or {}
    if not entry_point.starts_something(config.get("Entrypoint") or (), config.get("Cmd") or ()):
        hint = 'add "command" to the mode\'s list' if module else "give a MODULE, or words to run after --"
        raise UsageError(f"the mode '{planned.plan.mode}' starts nothing", hint)


def _gpu_options(devices: tuple[cdi.Device, ...], dry_run: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return podman's global options, the options of `run`, and for a dry run the lines of shell that come first."""
    if not devices:
        return (), (), ""
    if not dry_run:
        return *gpu_options.container_options(devices, podman.version()), ""
    options, hooks = gpu_options.run_options(devices, podman.version())
    if not hooks:
        return (), options, ""
    return ("--hooks-dir", '"$hooks"'), options, gpu_options.hooks_script(hooks)
