"""What containers that run here get of the tables `run` of the user's and the project's settings."""

from __future__ import annotations

from attrs import evolve, field, frozen

from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import UsageError, nearest
from ocicaliban.model.image import Launch
from ocicaliban.model.project import Project, RunSettings
from ocicaliban.project import run_settings, user_config
from ocicaliban.project.config import setting_place
from ocicaliban.recipes import catalog


@frozen(kw_only=True)
class RunOptions:
    """The settings that hold in a mode, and those of them that the project's own files have."""

    settings: RunSettings = field(factory=RunSettings)
    of_project: RunSettings = field(factory=RunSettings)

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `podman run`, without what is a part of a launch."""
        passed = (word for name in self.settings.pass_env for word in ("--env", name))
        shm = ("--shm-size", self.settings.shm_size) if self.settings.shm_size else ()
        return *passed, *shm, *self.settings.podman_args

    def applied(self, launch: Launch) -> Launch:
        """Return a launch with the variables, volumes and working directory of the settings."""
        settings = self.settings
        return evolve(
            launch,
            env=(*launch.env, *settings.env.items()),
            mounts=(*launch.mounts, *settings.volumes),
            workdir=settings.workdir or launch.workdir,
        )


def of_request(project: Project, request: PlanRequest) -> RunOptions:
    """Return what holds for containers of a request. Raises UsageError for settings of a mode that does not exist."""
    if request.elsewhere:
        return RunOptions()
    mode = request.mode
    user = user_config.load_user_config().run
    known = {*catalog.modes(project)}
    for name in project.run.modes:
        if name not in known:
            where = setting_place(project.root, ("run", name))
            raise UsageError(f"{where}: there is no mode '{name}'", nearest(name, known))
    own = run_settings.merged(project.run.of_mode(mode))
    return RunOptions(settings=run_settings.merged([*user.of_mode(mode), own]), of_project=own)


def has_any(project: Project, mode: str) -> bool:
    """Return whether the settings have something for containers in a mode, apart from their caches."""
    user = user_config.load_user_config().run
    whole = run_settings.merged([*user.of_mode(mode), *project.run.of_mode(mode)])
    return evolve(whole, caches=None) != RunSettings()
