"""Run an interactive shell, or a command, in the project's environment."""

from __future__ import annotations

import os

from attrs import evolve

from ocicaliban import replay
from ocicaliban.app import gpu_leases, launch
from ocicaliban.app.launch import Start
from ocicaliban.app.requests import LaunchRequest
from ocicaliban.containers import podman
from ocicaliban.interactive import pip_answer, shell
from ocicaliban.project import entry_point
from ocicaliban.recipes import catalog
from ocicaliban.reporter import TERMINAL


def run(request: LaunchRequest, argv: list[str], args: tuple[str, ...], *, bare: bool = False) -> int:
    """Run the shell that the request names, or the user's own, and return its exit code.

    `args` are a command to run instead. `argv` is the whole command line, which `replay` may run again. With `bare` the
    home folder is not mounted. Raises OcicalibanError if the container cannot start.
    """
    chosen = shell.choose(request.shell, os.environ)
    home = None if bare else shell.home(os.environ)
    if home is None and not bare:
        TERMINAL.note("there is no home folder to mount")
    prepared = launch.prepare(evolve(request, shell=chosen, lived_in=True))
    prepared, image = prepared.made_here()
    project = prepared.planned.project
    # A project's own recipe with this name may have no files for the shells.
    with replay.recording(prepared.recording):
        places = (catalog.folder(project, "shell") / "rc", catalog.builtin_layers() / "shell" / "rc")
        files = next(place for place in places if place.is_dir())
    options = shell.options(project.root.name, files, home, os.environ)
    options = (*options, *pip_answer.variable(prepared.planned.environment.declaration))
    # As outside, it starts in the current folder; an image of another mode may start in another one.
    folder = prepared.request.folder
    workdir = ("--workdir", os.path.join(entry_point.APP, folder).rstrip("/")) if request.image_id or folder else ()
    start = Start(args=args, extra=(*options, *workdir), entrypoint=shell.entrypoint(chosen), session="shell")
    command = prepared.command(image, start)
    with gpu_leases.session(prepared) as leases:
        TERMINAL.say(prepared.summary)

        def meanwhile() -> None:
            leases.hand_over()
            prepared.remember(argv, image, command, gpus=leases.units)

        return podman.run_interactively(command.argv, command.name, meanwhile)
