"""What the commands that start a container do alike: plan, build what is missing, and give podman's command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban import replay
from ocicaliban.build import base_image, builder, last_build, planner
from ocicaliban.build.inputs import folders
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import command_line, image_store, podman, podman_args
from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi, podman_options, selection
from ocicaliban.jobs import provenance, records
from ocicaliban.jobs.records import key
from ocicaliban.model.image import Image
from ocicaliban.model.job import Submission
from ocicaliban.project import entry_point, ignore_rules
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import process


def require_user() -> None:
    """Tell whoever is root that nothing here needs it."""
    if os.geteuid() == 0:
        TERMINAL.note("running as root; ocicaliban is made for an ordinary user, and needs no root")


def built(planned: PlannedImage, no_cache: bool) -> Image:
    """The image of a plan, of which what is missing is made. Raises OcicalibanError where a step fails."""
    return builder.build(planned.plan, planned.build_context, reporter=TERMINAL, cache=not no_cache)


def record_built(planned: PlannedImage) -> None:
    """Put on record what was built, so that the next plan can tell what has changed."""
    last_build.save(planned.project.root, planned.plan, planned.trees)


@frozen(kw_only=True)
class Asked:
    """What the command line says, by the options that the commands share.

    `shell` is the one that the image shall have; `settings` are parameters of recipes that go before the project's;
    `lived_in` tells that one will look around in the project's folder, and not run a job in it.
    """

    mode: str = field(metadata=key("mode"))
    module: str = field(default="", metadata=key("module"))
    shell: str = field(default="", metadata=key("shell"))
    settings: Mapping[str, Mapping[str, object]] = field(factory=dict, metadata=key("settings"))
    lived_in: bool = field(default=False, metadata=key("lived_in"))
    image_id: str = field(default="", metadata=key("image_id"))
    podman_args: str = field(default="", metadata=key("podman_args"))
    mount: bool = field(default=False, metadata=key("mount"))
    dry_run: bool = field(default=False, metadata=key("dry_run"))
    no_cache: bool = field(default=False, metadata=key("no_cache"))
    gpu_wanted: bool | None = field(default=None, metadata=key("gpu_wanted"))
    gpus: str | None = field(default=None, metadata=key("gpus"))
    extras: tuple[str, ...] = field(default=(), metadata=key("extras"))
    dirs: tuple[str, ...] = field(default=(), metadata=key("dirs"))
    cloud_key: str = field(default="", metadata=key("cloud_key"))


@frozen(kw_only=True)
class Recorded:
    """How the jobs of a `run` shall go: their group, so many at a time, on so many GPUs each, with these limits.

    See `ocicaliban run --help`.
    """

    group: str = field(default="", metadata=key("group"))
    jobs: int | None = field(default=None, metadata=key("jobs"))
    gpus_per_job: int | None = field(default=None, metadata=key("gpus_per_job"))
    cpus: float | None = field(default=None, metadata=key("cpus"))
    memory: str = field(default="", metadata=key("memory"))
    fail_fast: bool = field(default=False, metadata=key("fail_fast"))
    retries: int = field(default=0, metadata=key("retries"))
    out: str = field(default="", metadata=key("out"))

    @property
    def limited(self) -> bool:
        """Whether there are limits."""
        return self.cpus is not None or bool(self.memory)

    @property
    def numbered(self) -> bool:
        """Whether a single job must have its number before it starts."""
        return bool(self.group or self.out)


@frozen(kw_only=True)
class Command:
    """podman's command line for the container `name`, which is the job with this `key`.

    `args` end it; `options` are podman's own, before `run`; `script` is what a shell has to do before it, in a dry run
    alone.
    """

    argv: tuple[str, ...]
    name: str
    key: str
    args: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    script: str = ""


@frozen(kw_only=True)
class Ready:
    """A plan for what is asked, with the GPUs that it uses and the options for podman that were given.

    `found` is what was read for it; `left_out` what of a project that is lived in no image has.
    """

    asked: Asked
    planned: PlannedImage
    devices: tuple[cdi.Device, ...]
    given: tuple[str, ...]
    found: replay.Recording
    left_out: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The lines for the user: what the container runs on, and what of the project a job would not see."""
        where = f"the GPU: {', '.join(device.qualified for device in self.devices)}" if self.devices else "the CPU"
        lines = [f"running on {where}"]
        if missed := [path for path in self.left_out if not ignore_rules.is_built_in(path)]:
            more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
            lines.append(
                f"note: left out of the image, so that no job sees it: {', '.join(missed[:3])}{more}"
                f" (ocicaliban plan --diff {self.asked.mode} run)"
            )
        return "\n".join(lines)

    def image(self) -> Image:
        """The image that is asked for, or the plan's, of which what is missing is built."""
        if self.asked.image_id:
            return Image(id=self.asked.image_id, digest="", key="")
        return built(self.planned, self.asked.no_cache)

    def command(
        self,
        image: Image,
        args: tuple[str, ...],
        *,
        extra: tuple[str, ...] = (),
        entrypoint: tuple[str, ...] = (),
        detached: bool = False,
        labelled: bool = False,
        name: str = "",
    ) -> Command:
        """podman's command line for `image` with `args`, with `extra` options before those that were given.

        One that is `detached` goes on by itself, and stays when it has ended. One that is `labelled` can be found by
        its key. The container gets a fresh name where none is given.
        """
        options, devices, script = _gpu_arguments(self.devices, self.asked.dry_run)
        key = podman.new_key()
        name = name or podman.container_name(self.given, key)
        labels = command_line.label_options({command_line.JOB: key}) if labelled else ()
        container = command_line.ContainerOptions(
            name=name,
            terminal=(False, False) if detached else podman.terminal(),
            extra=(*labels, *devices, *extra, *self.given),
            entrypoint=entrypoint,
        )
        argv = command_line.run_argv(image, self.planned.plan.launch, args, container, detached=detached)
        whole = (argv[0], *options, *argv[1:])
        return Command(argv=whole, name=name, key=key, args=args, options=options, script=script)

    def submission(self, image: Image, group: str, wanted: Recorded, *, alone: bool = False) -> Submission:
        """What the history shall know of a `run`; nothing secret, and not git's part (see `origin.with_git`)."""
        asked, plan = self.asked, self.planned.plan
        launch = plan.launch
        if asked.image_id and (entry := entry_point.entry_command(self.planned.project.root, asked.module)):
            launch = evolve(launch, command=entry)
        given = shlex.join(podman_args.without_values(podman_args.split(asked.podman_args)))
        options = records.to_record(evolve(asked, podman_args=given, dry_run=False), wanted)
        return Submission(
            group=group,
            user=provenance.user(),
            host=provenance.host(),
            project=str(self.planned.project.root),
            mode=plan.mode,
            module=asked.module,
            image=image.id,
            plan_key="" if asked.image_id else plan.key,
            launch=launch,
            options={**options, **({provenance.ALONE: True} if alone else {})},
        )

    def keep(self, argv: list[str], image: Image, command: Command, job: Mapping[str, object] | None = None) -> None:
        """Put on record what was built, and let `hot` replay the command line `argv` if it may; when time allows.

        `job` is what the history is told of each replay.
        """
        asked = self.asked
        if asked.image_id:
            return
        record_built(self.planned)
        if asked.no_cache or asked.podman_args or asked.cloud_key:
            return
        looked_for = map(str, (*self.planned.searched_paths, *image_store.settings_files()))
        run = replay.Replayable(
            argv=argv,
            script=command.args,
            command=command.argv,
            key=command.key,
            image=image.id,
            images=image_store.index_file(),
            said=self.said,
            job=job or {},
        )
        read = (*looked_for, process.tool("podman"), *command.options[1:])
        replay.remember(run, self.found, read=read, entries=self.planned.tree_paths())


def ready(asked: Asked) -> Ready:
    """Plan what is asked for the current folder.

    Raises OcicalibanError where the project, the image or the GPU that it names is not there or cannot be used.
    """
    given = (*cloud_key(asked.cloud_key), *podman_args.split(asked.podman_args))
    if asked.image_id:
        identity = image_called(asked.image_id).id
        # A script is given the name; what is put on record must be the same image whatever becomes of the name.
        asked = asked if asked.dry_run else evolve(asked, image_id=identity)
    if not asked.dry_run:
        require_user()
    with replay.recording() as found:
        told = TERMINAL.also(found.note_line)
        devices = selection.choose_gpus(asked.gpu_wanted, asked.gpus, told)
        request = PlanRequest(
            root=Path.cwd(),
            mode=asked.mode,
            module=asked.module,
            gpus=devices,
            extras=asked.extras,
            dirs=asked.dirs,
            mount=asked.mount,
            shell_name=asked.shell,
            settings=asked.settings or {},
            resolve=not asked.dry_run and not asked.image_id,
            fresh=asked.no_cache,
            contents=not asked.image_id,
        )
        planned = planner.plan_project(request, told)
        left_out = folders.left_out(planned.project, asked.dirs) if asked.lived_in else ()
    if devices and not planned.plan.launch.devices:
        if asked.gpu_wanted or asked.gpus:
            raise UsageError(f"the mode '{asked.mode}' has no recipe that brings the GPU", 'add "cuda" to its list')
        devices = ()
    return Ready(asked=asked, planned=planned, devices=devices, given=given, found=found, left_out=left_out)


def check_starts(planned: PlannedImage, module: str) -> None:
    """Raise UsageError where a container of the plan, without arguments, would start nothing but a bare shell."""
    if planned.plan.entrypoint:
        return
    base = base_image.present(planned.plan.base)
    if base is None:
        return  # nobody knows yet: a dry run
    config = image_store.image_config(base).get("config") or {}
    if not entry_point.starts_something(config.get("Entrypoint") or (), config.get("Cmd") or ()):
        hint = 'add "command" to its list' if module else "give a MODULE, or words to run after --"
        raise UsageError(f"the mode '{planned.plan.mode}' has nothing to start", hint)


def key_file(path: str) -> str:
    """The absolute path of --cloud-key's file; "" where it was not given. Raises UsageError where there is none."""
    if not path:
        return ""
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UsageError(f"--cloud-key: there is no file {file}", "give the path of a service account's JSON key")
    return str(file)


def rebuilding(group: str, *, waiting: bool = False) -> str:
    """How jobs get another image when theirs is gone; those that are `waiting` have to be withdrawn before."""
    first = f"ocicaliban stop --group {group}, and then " if waiting else ""
    return f"{first}ocicaliban resubmit --group {group} --rebuild makes one of the project as it is now"


def image_called(image: str) -> Image:
    """The image in the store that has this id or name. Raises UsageError where there is none."""
    identity = podman.image_id(image)
    if not identity:
        hint = "`podman images` lists them; `ocicaliban build` makes one"
        raise UsageError(f"there is no image '{image}'", hint)
    return Image(id=identity, digest="", key="")


def cloud_key(path: str) -> tuple[str, ...]:
    """podman's options that let the container, and no image, have the key file."""
    file = key_file(path)
    if not file:
        return ()
    inside = "/run/secrets/cloud-key.json"
    return *command_line.mount_option(f"{file}:{inside}:ro"), "--env", f"GOOGLE_APPLICATION_CREDENTIALS={inside}"


def _gpu_arguments(devices: tuple[cdi.Device, ...], dry_run: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """podman's global options, run's options, and for a dry run the lines of shell that come before them."""
    if not devices:
        return (), (), ""
    if not dry_run:
        return *podman_options.container_options(devices, podman.version()), ""
    options, hooks = podman_options.run_options(devices, podman.version())
    if not hooks:
        return (), options, ""
    return ("--hooks-dir", '"$hooks"'), options, podman_options.hooks_script(hooks)
