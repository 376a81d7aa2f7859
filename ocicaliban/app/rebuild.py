"""Build the image of a published experiment again, from its sources, lock and recipes, and compare the two."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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
from ocicaliban.publish import documents, experiment, layer_difference
from ocicaliban.recipes import catalog
from ocicaliban.registry import layouts
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.build.planner import PlannedImage

_DOCUMENTS = "documents"
_CHECKOUT = "checkout"
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
        published.save(found, folder / _DOCUMENTS, tls_verify=request.tls_verify, wanted=lambda each: each.is_source)
        root = _sources(request, found, folder)
        put = _put_all(found, folder / _DOCUMENTS, root, (folder / _CHECKOUT).resolve())
        recipes = [*_other_recipes(found, folder / _DOCUMENTS, root)]
        with _inside(root):
            prepared = launch.prepare(asked, only_build=True)
            _check_read(found, put, prepared.planned)
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
    if other := sorted({*made.build} - {*experiment.BUILT_BY, "mode"}):
        raise UsageError(
            f"{found.reference} says that its image was made by options that this ocicaliban does not know: "
            f"{printable(', '.join(other))}",
            "upgrade ocicaliban",
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
    made, checkout = found.experiment, folder / _CHECKOUT
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
    root = (checkout / made.folder).resolve()
    if not (_is_in_checkout(root, checkout.resolve()) and root.is_dir()):
        raise OcicalibanError(f"the commit {made.commit[:12]} has no folder {made.folder}", "do not use it")
    return root


def _is_in_checkout(path: Path, checkout: Path) -> bool:
    """Return whether a path without links is one of a checkout, and not in its folder of git."""
    if not path.is_relative_to(checkout):
        return False
    return not any(part.casefold() == ".git" for part in path.relative_to(checkout).parts)


def _put_all(found: Published, folder: Path, root: Path, checkout: Path) -> tuple[str, ...]:
    """Put the published files into the project, and return the names of those that its commit has not, or others.

    Raises OcicalibanError if git would take one of the folders above them for a repository, and run what it says.
    """
    titles = (each.title for each in found.files if each.media_type == documents.FILE)
    ours = [title for title in titles if not title.startswith(_NOT_SOURCES)]
    put = tuple(title for title in ours if _put(folder / title, root, title, checkout))
    for place in (root, *root.parents):
        if place == checkout:
            break
        names = {*os.listdir(place)}
        if "HEAD" in names and names & {"objects", "commondir"}:
            raise OcicalibanError(f"the sources have a git repository in {found.experiment.folder}", "do not use them")
    return put


def _check_read(found: Published, put: tuple[str, ...], planned: PlannedImage) -> None:
    """Raise OcicalibanError if a file was put into the sources that is none of those that are published for planning.

    The sources would not be those of the commit, and the comparison would say nothing about them.
    """
    read = {name for name, _ in origin.declarations(planned)}
    if other := next((title for title in put if title not in read), None):
        raise OcicalibanError(
            f"{found.reference} has a document called {other!r}, which declares nothing, and is another one in its "
            "sources",
            "do not use it",
        )


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


def _put(file: Path, root: Path, title: str, checkout: Path) -> bool:
    """Put a published file into the project, where planning reads it: a lock may be in no commit.

    Return whether it was not there as it is.
    """
    data = file.read_bytes()
    try:
        to = (root / title).resolve()
        if not _is_in_checkout(to, checkout):
            raise OcicalibanError(f"the sources have a link at {title!r}, out of their folder", "do not use them")
        if to.is_file() and to.read_bytes() == data:
            return False
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
    except (OSError, RuntimeError) as exc:  # a loop of links is a RuntimeError before Python 3.13
        raise OcicalibanError(
            f"the sources have no place for {title!r}: {exc.strerror if isinstance(exc, OSError) else exc}",
            "do not use them",
        ) from exc
    return True


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
