"""Build the image of a published experiment again, from its sources, lock and recipes, and compare the two."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.app import build, fetching, launch, origin, published
from ocicaliban.app.published import Published
from ocicaliban.app.requests import LaunchRequest, ReproduceRequest
from ocicaliban.build import whole_image
from ocicaliban.containers import buildah, image_store, workspace
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.text import printable
from ocicaliban.jobs import records
from ocicaliban.model.image import Image
from ocicaliban.project import git
from ocicaliban.publish import documents, layer_difference
from ocicaliban.recipes import catalog
from ocicaliban.registry import layouts
from ocicaliban.reporter import TERMINAL

_DOCUMENTS = "documents"
_BUNDLE = "source.bundle"
_RECIPES = f"{origin.RECIPES}/"
_NOT_SOURCES = ("sweep/", origin.CONTAINERFILE, _RECIPES)


@frozen(kw_only=True)
class Rebuilt:
    """The ids of the published image and of the new one, and what is different: lines for the user."""

    published: str
    found: str
    lines: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the two images are the same, to the byte."""
        return self.published == self.found


def rebuild(request: ReproduceRequest, found: Published) -> Rebuilt:
    """Build the image of an experiment again and compare it with the published one.

    Raises UsageError if its sources are not at hand, OcicalibanError if the build fails.
    """
    build.note_root()
    made = found.experiment
    asked = _asked(found)
    with workspace.open_workspace() as folder:
        published.save(found, folder / _DOCUMENTS, tls_verify=request.tls_verify)
        root = _sources(request, found, folder)
        recipes = [*_other_recipes(found, folder / _DOCUMENTS, root)]
        with _inside(root):
            prepared = launch.prepare(asked)
            if not layouts.is_place(found.place):
                # The base may be where the image is.
                project = prepared.planned.project
                planned = evolve(
                    prepared.planned, project=evolve(project, push=evolve(project.push, repository=found.place))
                )
                prepared = evolve(prepared, planned=planned)
            if made.mounted:
                prepared, image = prepared.made_here()
                image = whole_image.stored(image, prepared.starts.mounts, TERMINAL)
            else:
                image = prepared.image()
        wanted = made.image_id.removeprefix("sha256:")
        if image.id == wanted:
            return Rebuilt(published=wanted, found=image.id)
        identity = fetching.image(found, tls_verify=request.tls_verify)
        # Names in a stranger's image may have characters that control a terminal.
        compared = (*recipes, *_compared(Image(id=identity, digest="", key=""), image, folder))
        lines = tuple(map(printable, compared))
        return Rebuilt(published=wanted, found=image.id, lines=lines)


def _asked(found: Published) -> LaunchRequest:
    """Return what the image was made by. Raises UsageError if the experiment does not say it."""
    made = found.experiment
    if not made.build:
        raise UsageError(
            f"{found.reference} does not say how its image was made",
            "an ocicaliban before `reproduce --rebuild`, or another command than `run`, published it",
        )
    try:
        asked = records.structured(dict(made.build), LaunchRequest)
    except ValueError as exc:
        raise UsageError(
            f"{found.reference} says how its image was made in another form ({exc})", "upgrade ocicaliban"
        ) from exc
    for path in (asked.folder, asked.module, *asked.dirs, *asked.allow_secrets):
        if os.path.isabs(path) or ".." in path.split("/"):
            raise OcicalibanError(f"{found.reference} names the path {path}, outside of its project", "do not use it")
    gpu = bool(made.resources.gpus)
    return evolve(asked, mode=made.mode, module=made.module, gpu_wanted=False, gpu_elsewhere=gpu)


# --- the sources ---


def _sources(request: ReproduceRequest, found: Published, folder: Path) -> Path:
    """Return a folder with the project as it was published. Raises UsageError if its sources are not at hand."""
    made, checkout = found.experiment, folder / "checkout"
    bundle = folder / _DOCUMENTS / _BUNDLE
    if request.source:
        origin_of = str(Path(request.source).absolute())
        if not (Path(origin_of) / ".git").exists():
            raise UsageError(f"--source: {request.source} is not a git checkout", "name a clone of the sources")
        git.checkout(origin_of, made.commit, checkout)
    elif bundle.is_file():
        git.checkout(str(bundle), made.commit, checkout)
    elif made.commit and made.remote.startswith("https://"):
        git.checkout(made.remote, made.commit, checkout)
    else:
        raise UsageError(
            f"the sources of {found.reference} are not published, and have no address that everybody can read",
            "name a clone of them: --source FOLDER; `ocicaliban publish --with-git` publishes them",
        )
    if made.dirty:
        TERMINAL.note(f"the jobs ran with files that differ from the commit {made.commit[:12]}")
    root = checkout / made.folder
    if ".." in made.folder.split("/") or not root.is_dir():
        raise OcicalibanError(f"the commit {made.commit[:12]} has no folder {made.folder}", "do not use it")
    for each in found.files:
        if each.media_type == documents.FILE and not each.title.startswith(_NOT_SOURCES):
            _put(folder / _DOCUMENTS / each.title, root, each.title)
    return root


def _other_recipes(found: Published, folder: Path, root: Path) -> Iterator[str]:
    """Yield a line for each recipe whose published files are not those that the build takes now.

    Putting them into the project would change its layer of sources.
    """
    for name in sorted({each.title.split("/")[1] for each in found.files if each.title.startswith(_RECIPES)}):
        place = next(
            (path for path in (root / "layers" / name, catalog.builtin_layers() / name) if path.is_dir()), root
        )
        files = [each.title for each in found.files if each.title.startswith(f"{_RECIPES}{name}/")]
        for title in files:
            now = place / title.removeprefix(f"{_RECIPES}{name}/")
            if not now.is_file() or now.read_bytes() != (folder / title).read_bytes():
                yield f"the recipe {name} was another one in ocicaliban {found.experiment.program} ({title})"
                break


def _put(file: Path, root: Path, title: str) -> None:
    """Put a published file into the project, where planning reads it: a lock may be in no commit."""
    data = file.read_bytes()
    to = root / title
    if not to.resolve().is_relative_to(root.resolve()):
        raise OcicalibanError(f"the sources have a link at {title}, out of their folder", "do not use them")
    if not to.is_file() or to.read_bytes() != data:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        yield


# --- what differs ---


def _compared(published_image: Image, rebuilt: Image, folder: Path) -> Iterator[str]:
    """Yield the lines that say in what two images of the store differ."""
    before, now = _diff_ids(published_image), _diff_ids(rebuilt)
    number = layer_difference.first_different(before, now)
    if number is None:
        yield "the layers are the same, and the configuration is another one"
        return
    yield f"layer {number + 1} of {len(before)} is the first that differs"
    if number >= min(len(before), len(now)):
        yield f"the published image has {len(before)} layers, the new one has {len(now)}"
        return
    yield f"it was made by: {_created_by(published_image, number)}"
    try:
        both = [
            layer_difference.members(_layer(image, number, folder, name))
            for image, name in ((published_image, "published"), (rebuilt, "rebuilt"))
        ]
    except (tarfile.TarError, OSError) as exc:
        raise OcicalibanError(f"the layers cannot be compared: {exc}", "run the command again") from exc
    yield from layer_difference.lines(*both)


def _diff_ids(image: Image) -> list[str]:
    return list((image_store.image_config(image).get("rootfs") or {}).get("diff_ids") or ())


def _created_by(image: Image, number: int) -> str:
    steps = [each for each in image_store.image_config(image).get("history") or () if not each.get("empty_layer")]
    return str(steps[number].get("created_by", ""))[:200] if number < len(steps) else "(unknown)"


def _layer(image: Image, number: int, folder: Path, name: str) -> Path:
    """Write an image into a layout, and return the file of one of its layers."""
    buildah.export_layout(image.id, folder, name, doing="the layers cannot be compared")
    blobs = folder / name / "blobs" / "sha256"
    index = json.loads((folder / name / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
    return blobs / str(manifest["layers"][number]["digest"]).removeprefix("sha256:")
