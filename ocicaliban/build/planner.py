"""Read the project, its lock and its files, and plan the image of a mode."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban import hints
from ocicaliban.build import chosen_base, demands, environment_view, run_options
from ocicaliban.build import plan as planning
from ocicaliban.build.base import published
from ocicaliban.build.chosen_base import BaseRequest
from ocicaliban.build.demands import Demand
from ocicaliban.build.inputs.provider import PlanContext, Provided, input_parameters, secret_files
from ocicaliban.build.inputs.registry import PROVIDERS
from ocicaliban.build.request import PlanRequest
from ocicaliban.build.run_options import RunOptions
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import user_ids
from ocicaliban.dependencies import host_settings, survey, workspace
from ocicaliban.dependencies.environment import DeclaredEnvironment, EnvironmentRequest
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi
from ocicaliban.model.image import Launch, MadeTree, Plan, Tree
from ocicaliban.model.project import Project, Snapshot
from ocicaliban.model.recipe import Recipe
from ocicaliban.project import config, entry_point, lockfile
from ocicaliban.project.config import setting_place
from ocicaliban.project.lockfile import Lock
from ocicaliban.recipes import catalog
from ocicaliban.reporter import SILENT, Reporter


@frozen(kw_only=True)
class PlannedImage:
    """A plan, and what building and running it needs: the trees that it copies, the GPUs, the project's indexes.

    `trees_read` are all folders that were read for the plan, and `made_trees` are the trees that a layer makes first.
    `environment` is what the project's files declare, and `packages` is how many packages that makes. `python` is the
    version of the environment's Python, "" while the base image is not resolved, and `python_reason` says why it is
    this one. `demands` are what the project's files want outside of the project. `lock` is the lock as the plan leaves
    it, and `resolutions` are the names of those in it that the plan uses, by section.
    `run_options` is what containers here get of the settings.
    """

    project: Project
    plan: Plan
    trees: dict[str, Tree]
    trees_read: tuple[Tree, ...]
    made_trees: dict[str, MadeTree]
    gpus: tuple[cdi.Device, ...]
    indexes: Indexes
    environment: DeclaredEnvironment = field(factory=DeclaredEnvironment)
    downloads: dict[str, int] = field(factory=dict)
    packages: int = 0
    python: str = ""
    python_reason: str = ""
    demands: tuple[Demand, ...] = ()
    lock: Lock = field(factory=Lock)
    resolutions: Mapping[str, tuple[str, ...]] = field(factory=dict)
    run_options: RunOptions = field(factory=RunOptions)

    @property
    def build_context(self) -> BuildContext:
        """What the builder needs in addition to the plan."""
        secrets = zip(self.project.secrets, secret_files(self.project), strict=True)
        return BuildContext(
            trees=self.trees,
            made_trees=self.made_trees,
            secrets=dict(secrets),
            indexes=self.indexes,
            downloads=self.downloads,
            has_packages=hints.has_packages(self.project),
            python=self.environment.python,
            published=published.repository_of(self.project),
        )

    @property
    def mounts_project(self) -> bool:
        """Whether the container sees the project's folder itself, not a copy of it."""
        return any(mount.endswith(f":{entry_point.APP}") for mount in self.plan.launch.mounts)

    @property
    def searched_paths(self) -> tuple[Path, ...]:
        """The paths in which planning looked for something. Some may not exist."""
        folders = [folder for _, folder in catalog.layer_folders(self.project)]
        # A spec may outlive the driver's files that it names.
        drivers = [Path(name) for name in cdi.host_paths(self.gpus)]
        return (self.project.root, *folders, *cdi.spec_dirs(os.environ), *drivers)

    def tree_paths(self) -> Iterator[str]:
        """Yield the path of each folder that was read, and of everything in it."""
        for tree in self.trees_read:
            root = os.path.abspath(tree.root)
            yield root
            for entry in tree.entries:
                yield f"{root}/{entry.path}"


_SETTING = re.compile(r"layers\.([^\s.:]+)\.([^\s.:]+)")


@contextlib.contextmanager
def _placed(request: PlanRequest, project: Project) -> Iterator[None]:
    """Add file and line to an error that begins with the name of a setting, unless the command line has set it."""
    try:
        yield
    except UsageError as fault:
        setting = _SETTING.match(fault.message)
        if not setting or setting[2] not in project.layers.get(setting[1], {}):
            raise
        if setting[2] in request.settings.get(setting[1], {}):
            raise
        place = setting_place(project.root, ("layers", setting[1], setting[2]))
        raise UsageError(f"{place}: {fault.message.replace(' in ocicaliban.toml', '', 1)}", fault.hint) from fault


def plan_project(request: PlanRequest, reporter: Reporter = SILENT) -> PlannedImage:
    """Read the project and plan the image of a mode.

    Raises UsageError for a mistake in the project's files, and OcicalibanError or ToolError if the base image or the
    dependencies cannot be resolved.
    """
    if request.contents and (limits := user_ids.described()):
        reporter.say(limits)
    project = _project(request, reporter)
    recipes = catalog.recipes_for(project, request.mode)
    if request.mount:
        recipes = catalog.mounting(project, recipes)
    command = entry_point.entry_command(request.root, request.module, request.folder)
    with _placed(request, project):
        environment = _environment(request, project, recipes, command, reporter)
        lock = request.lock or lockfile.read_lock(request.root, _lock_sections(request, project, recipes))
        asked = BaseRequest(plan=request, project=project, recipes=recipes, environment=environment, lock=lock)
        base = chosen_base.choose_base(asked, reporter)
        context = PlanContext(
            request=request,
            project=project,
            recipes=recipes,
            command=command,
            base=base,
            lock=lock.with_base(request.variant, base),
            reporter=reporter,
            environment=environment,
        )
        with reporter.waiting("dependencies", "resolving"):
            context = _ask_providers(context, lock)
    provided = dict(context.provided)
    snapshot = _snapshot(context, provided)
    plan = planning.plan(project, recipes, request.mode, snapshot)
    run = run_options.of_request(project, request)
    plan = evolve(plan, launch=run.applied(plan.launch))
    trees = {tree.digest: tree for each in provided.values() for tree in each.trees}
    copied = (tree for layer in plan.layers for step in layer.steps for tree in planning.copied_trees(step))
    used = {digest: trees[digest] for digest in copied if digest in trees}
    planned = PlannedImage(
        project=project,
        plan=plan,
        trees=used,
        made_trees={tree.digest: tree for each in provided.values() for tree in each.made_trees},
        trees_read=tuple(tree for each in provided.values() for tree in each.trees_read),
        gpus=request.gpus,
        indexes=_joined_indexes(provided),
        environment=environment,
        downloads={name: size for each in provided.values() for name, size in each.downloads.items()},
        packages=sum(each.packages for each in provided.values()),
        python=context.environment_base.python,
        python_reason=chosen_base.reason(asked),
        lock=context.lock,
        resolutions={each.lock_section: (*provided[each.kind].resolutions,) for each in PROVIDERS if each.lock_section},
        demands=_demands(project, plan, planning.launches(project, recipes, snapshot), provided, used)
        + demands.of_settings(project.root, run.of_project),
        run_options=run,
    )
    if request.contents and context.parameters("requirements"):
        reporter.say(environment_view.line(planned.environment, planned.packages, planned.python))
    return planned


def _project(request: PlanRequest, reporter: Reporter) -> Project:
    """Load the project, with the request's settings in its configuration."""
    root = request.root
    project = config.load_project(root, reporter)
    layers = dict(project.layers)
    for name, settings in request.settings.items():
        layers[name] = {**layers.get(name, {}), **settings}
    return evolve(project, layers=layers)


def _environment(
    request: PlanRequest,
    project: Project,
    recipes: tuple[Recipe, ...],
    command: tuple[str, ...],
    reporter: Reporter,
) -> DeclaredEnvironment:
    """Return the environment that the project declares; an empty one if no recipe of the mode needs it."""
    parameters = input_parameters("requirements", project, recipes, request.variant)
    others = input_parameters("debian-packages", project, recipes, request.variant)
    if not request.contents or not (parameters or others):
        return DeclaredEnvironment()
    asked = EnvironmentRequest(
        root=request.root,
        named=parameters.text("requirements") if parameters else survey.NONE,
        setting=parameters.setting("requirements") if parameters else "",
        script=_script(request.root, command),
    )
    found = survey.read_environment(asked)
    if request.folder and not asked.named:
        found = evolve(found, declaration=workspace.for_member(found.declaration, request.root, request.folder))
    for note in found.notes:
        reporter.note(note)
    if found.debian_packages and others is None:
        raise UsageError(
            f"the mode '{request.mode}' has no recipe for Debian packages, and the project asks for"
            f" {', '.join(found.debian_packages)}",
            'add "apt" to the mode\'s list, after "base"',
        )
    return found


def _script(root: Path, command: tuple[str, ...]) -> str:
    """Return the path of the file that a command starts, relative to the project; "" if it starts none."""
    paths = entry_point.entry_files(command)
    return next((path for path in paths if (root / path).is_file()), "")


def _ask_providers(context: PlanContext, written: Lock) -> PlanContext:
    """Return the context with what each provider gives, by kind of input, and with the lock that this makes.

    Writes the project's lock, which holds `written`, once the providers that have a section in it were asked.
    """
    for provider in PROVIDERS:
        if not provider.lock_section:
            written = _write_lock(context, written)
        parameters = context.parameters(provider.kind)
        asked = parameters is not None or provider.always
        if asked and (context.request.contents or not provider.reads_contents):
            given = provider.provide(context, parameters)
        else:
            given = provider.empty
        lock = context.lock
        for name, resolution in given.resolutions.items():
            lock = lock.with_resolution(provider.lock_section, name, resolution)
        context = evolve(context, lock=lock, provided={**context.provided, provider.kind: given})
    _write_lock(context, written)
    return context


def _lock_sections(request: PlanRequest, project: Project, recipes: tuple[Recipe, ...]) -> tuple[str, ...]:
    """Return the sections of the lock that the mode needs."""
    return tuple(
        provider.lock_section
        for provider in PROVIDERS
        if provider.lock_section and input_parameters(provider.kind, project, recipes, request.variant) is not None
    )


def _write_lock(context: PlanContext, written: Lock) -> Lock:
    """Write the lock if it differs from the one that is written. A project that is read-only is built without one."""
    if not context.request.resolve or context.request.lock or context.lock == written:
        return written
    try:
        lockfile.write_lock(context.request.root, context.lock)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        context.reporter.note(f"{lockfile.NAME} cannot be written ({exc.strerror}); the resolved versions are not kept")
    return context.lock


def _snapshot(context: PlanContext, provided: dict[str, Provided]) -> Snapshot:
    """Merge what the providers gave."""
    return Snapshot(
        variant=context.variant,
        base=context.base,
        values={name: value for each in provided.values() for name, value in each.values.items()},
        instances={kind: each.instances for kind, each in provided.items()},
        trees=frozenset(
            digest
            for each in provided.values()
            for digest in (*(tree.digest for tree in each.trees), *(tree.digest for tree in each.made_trees))
        )
        if context.request.contents
        else None,
        one_uid=user_ids.one_uid(),
    )


def _demands(
    project: Project,
    plan: Plan,
    launches: tuple[tuple[Recipe, Launch], ...],
    provided: dict[str, Provided],
    used: dict[str, Tree],
) -> tuple[Demand, ...]:
    """Return what the project wants outside of it; `used` are the trees that steps copy."""
    folders = [*(tree.root for tree in used.values()), *host_settings.local_folders(_joined_indexes(provided))]
    made = [tree for each in provided.values() for tree in each.made_trees]
    if made:
        from ocicaliban.dependencies import checkouts  # few projects have any

        folders += checkouts.local_repositories(made)
    return demands.of_plan(project, plan, launches, folders)


def _joined_indexes(provided: dict[str, Provided]) -> Indexes:
    return Indexes(
        indexes=tuple(dict.fromkeys(index for each in provided.values() for index in each.indexes.indexes)),
        find_links=tuple(dict.fromkeys(link for each in provided.values() for link in each.indexes.find_links)),
        explicit=tuple(dict.fromkeys(index for each in provided.values() for index in each.indexes.explicit)),
    )
