"""Make what the script of a layer changes in a folder, without storing a layer."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ocicaliban.build import folder_store, steps
from ocicaliban.build.mounting import RunPart
from ocicaliban.build.steps import BuildContext, WorkingContainer
from ocicaliban.containers import buildah, image_store, oci_layout, overlay_folder, workspace
from ocicaliban.model.image import Configure, Image, Run
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems

_UPPER = "upper"


def make(
    part: RunPart, parent: Callable[[], Image], below: Callable[[], Path | None], context: BuildContext, how: Reporter
) -> Path:
    """Return the folder with what the script of a layer changes, and make it if it is not there.

    The script runs in a container of the image `parent`, and sees the folder `below` with what the layers below have
    put there (None: nothing). Raises OcicalibanError if it fails.
    """
    done = folder_store.changes_of(part.key)
    if done.is_dir():
        return done / _UPPER
    base, lower = parent(), below()
    with workspace.open_workspace() as folder, workspace.exclusive(part.key):
        if not done.is_dir():
            half = done.with_name(f".{done.name}")
            overlay_folder.remove(half)  # of a process that was killed
            half.mkdir(mode=0o700, parents=True)
            try:
                with how.making(part.layer.name) as made:
                    _, options = overlay_folder.make(half)
                    mount = f"{lower or _empty(half)}:{part.within}:{options}"
                    run_script(part, base, mount, folder, context, how)
                    made.measure = functools.partial(int, _finished(half / _UPPER))
                filesystems.flush(half)
                half.rename(done)
            except BaseException:  # a Ctrl-C too
                overlay_folder.remove(half)
                raise
    image_store.mark_used(part.key)
    return done / _UPPER


def _empty(half: Path) -> Path:
    folder = half / "empty"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def run_script(part: RunPart, parent: Image, mount: str, folder: Path, context: BuildContext, how: Reporter) -> None:
    """Run the script of a layer with this mount in place of the folder that it changes, in the work folder `folder`.

    Raises OcicalibanError if it fails.
    """
    layer = part.layer
    [step] = (step for step in layer.steps if isinstance(step, Run))
    name = f"ocicaliban-{layer.key[:12]}-{os.getpid()}"
    context = steps.with_files(layer, folder, context, how)
    with workspace.working_container(folder, name):
        buildah.make_container(parent.id, name, one_user=layer.loses_owners)
        container = WorkingContainer(
            name=name,
            parent=parent,
            mounts=(mount,),
            env=_environment(part.settings, parent),
        )
        steps.run_script(step, layer, container, folder / layer.key[:12], context)


def _environment(settings: Iterable[Configure], parent: Image) -> dict[str, str]:
    """Return the variables that the layers below set, which are in no image yet."""
    found: dict[str, str] = {}
    given = (image_store.image_config(parent).get("config") or {}).get("Env") or []
    path = next((item[5:] for item in given if item.startswith("PATH=")), "/usr/local/bin:/usr/bin:/bin")
    for step in settings:
        found |= dict(step.env)
        path = ":".join([*step.path, found.get("PATH", path)])
        found["PATH"] = path
    return found


def _finished(upper: Path) -> int:
    """Give all that a script has made the time that it has in an image, and return its bytes."""
    total = 0
    for path, status in _walk(str(upper)):
        total += status.st_size
        with contextlib.suppress(OSError):
            os.utime(path, (oci_layout.EPOCH, oci_layout.EPOCH), follow_symlinks=False)
    return total


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for item in os.scandir(folder):
        if item.is_dir(follow_symlinks=False):
            yield from _walk(item.path)
        else:
            yield item.path, item.stat(follow_symlinks=False)
