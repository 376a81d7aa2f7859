"""The command shell."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, ImageId, NoCache, PodmanArgs
from ocicaliban.reporter import TERMINAL


def shell(
    context: typer.Context,
    name: Annotated[str, typer.Option("--shell", help="bash, zsh or fish.  [default: your own]")] = "",
    bare: Annotated[bool, typer.Option("--bare", help="Without the home folder.")] = False,
    image_id: ImageId = "",
    podman_args: PodmanArgs = "",
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    cloud_key: CloudKey = "",
    debug: Debug = False,
) -> None:
    """Live in the project's environment: an interactive shell, or the command after --; the folder is mounted."""
    import os

    from ocicaliban import replay
    from ocicaliban.app import launch
    from ocicaliban.containers import podman
    from ocicaliban.interactive import shell as shells
    from ocicaliban.project import entry_point
    from ocicaliban.recipes import catalog

    chosen = shells.choose(name, os.environ)
    home = None if bare else shells.home(os.environ)
    if home is None and not bare:
        TERMINAL.note("there is no home folder to mount")
    ready = launch.ready(
        launch.Asked(
            mode="shell",
            shell=chosen,
            lived_in=True,
            image_id=image_id,
            podman_args=podman_args,
            no_cache=no_cache,
            gpu_wanted=gpu_wanted,
            gpus=gpus,
            extras=tuple(extras or ()),
            dirs=tuple(dirs or ()),
            cloud_key=cloud_key,
        )
    )
    image = ready.image()
    project = ready.planned.project
    # A recipe of the project's own by this name may have no files for the shells.
    with replay.recording(ready.found):
        places = (catalog.folder(project, "shell") / "rc", catalog.builtin_layers() / "shell" / "rc")
        files = next(place for place in places if place.is_dir())
    options = shells.options(project.root.name, files, home, os.environ)
    command = ready.command(
        image,
        context.obj.script,
        # An image of another mode may begin elsewhere.
        extra=(*options, *(("--workdir", entry_point.APP) if image_id else ())),
        entrypoint=shells.entrypoint(chosen),
    )
    TERMINAL.say(ready.said)
    keep = functools.partial(ready.keep, context.obj.argv, image, command)
    raise typer.Exit(podman.run_interactively(command.argv, command.name, keep))
