"""Keep the files of layers in folders that containers mount, named by their contents, with each file once.

`files/` holds each file by its digest, and the folders in `folders/` have hard links to them. So a source of which one
file was edited takes the room of that file, and a folder is whole as soon as it is there. The files are copies: an edit
of a file of the project in its place changes no folder. A container cannot change them, since it mounts a folder with
an overlay above it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ocicaliban.build.mounting import Folder
from ocicaliban.containers import oci_layout, workspace
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.system import files

_CHUNK = 1 << 20
_SINGLY = 64
"""The number of new files that are written to the disk one by one. For more, one call for all is faster."""
_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Where no hard link can be made: too many links already, or a file system without them."""


def root() -> Path:
    """Return the folder of all that is kept."""
    return files.cache() / "mounted"


def path_of(key: str) -> Path:
    """Return where the folder with this key is, or would be."""
    return root() / "folders" / key


def key_in(path: str) -> str:
    """Return the key of the folder of ours at a path, "" if none is."""
    place = Path(path)
    return place.name if place.parent == root() / "folders" else ""


def held_by(mounts: Iterable[str]) -> frozenset[str]:
    """Return the keys of the folders of ours among mounts (`SOURCE:TARGET:OPTIONS`)."""
    return frozenset(filter(None, (key_in(mount.partition(":")[0]) for mount in mounts)))


def missing(mounts: Iterable[str]) -> frozenset[str]:
    """Return the keys of the folders among mounts that are not there any more."""
    return frozenset(key for key in held_by(mounts) if not path_of(key).is_dir())


def make(folder: Folder, tree_of: Callable[[str], Tree]) -> Path:
    """Return a folder with the files of its trees, and make it if it is not there; `tree_of` gives a tree by digest.

    Raises OcicalibanError if a file changed since the tree was read, and OSError if the folder cannot be written.
    """
    path = path_of(folder.key)
    if not path.is_dir():
        with workspace.exclusive(folder.key):
            if not path.is_dir():  # another process may have made it while this one waited
                _make(path, [(place, tree_of(digest)) for place, digest in folder.parts])
    return path


def _make(path: Path, parts: list[tuple[str, Tree]]) -> None:
    half = path.with_name(f".{path.name}")
    shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
    try:
        half.mkdir(mode=0o700, parents=True)
        writer = _Writer(root() / "files")
        for place, tree in parts:
            writer.add(tree, os.path.join(half, place) if place else str(half))
        writer.finish(str(half))
        half.rename(path)
        _sync(path.parent)
    except BaseException:  # a Ctrl-C too
        shutil.rmtree(half, ignore_errors=True)
        raise


class _Writer:
    """Fills one folder. `store` is the folder of all files."""

    def __init__(self, store: Path) -> None:
        self.store = str(store)
        self.folders: dict[str, None] = {}
        self.new: list[str] = []

    def add(self, tree: Tree, to: str) -> None:
        """Put the entries of a tree below the folder `to`."""
        self._folder(to)
        for entry in tree.entries:
            path = f"{to}/{entry.path}"
            if entry.kind == "dir":
                self._folder(path)
                continue
            try:
                self._put(tree, entry, path)
            except FileExistsError:  # of an earlier tree
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
                self._put(tree, entry, path)

    def finish(self, top: str) -> None:
        """Give folders their modes and times, as in an image, and write what is new to the disk."""
        for path in reversed([top, *(path for path in self.folders if path != top)]):
            os.chmod(path, 0o755)
            os.utime(path, (oci_layout.EPOCH, oci_layout.EPOCH))
        if len(self.new) > _SINGLY:
            os.sync()
        else:
            for path in self.new:
                _sync(path)

    def _folder(self, path: str) -> None:
        if path in self.folders:
            return
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
            os.unlink(path)  # a file of an earlier tree
        os.makedirs(path, mode=0o755, exist_ok=True)
        self.folders[path] = None

    def _put(self, tree: Tree, entry: TreeEntry, path: str) -> None:
        if entry.kind == "link":
            os.symlink(entry.digest, path)
            os.utime(path, (oci_layout.EPOCH, oci_layout.EPOCH), follow_symlinks=False)
            return
        name = entry.digest + ("-x" if entry.executable else "")
        kept = f"{self.store}/{name[:2]}/{name[2:]}"
        for _ in range(3):  # `clean` may remove a file before it is linked
            try:
                os.link(kept, path)
                return
            except FileNotFoundError:
                os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
                _copy(os.path.join(tree.root, entry.path), kept, entry)
                self.new.append(kept)
            except OSError as exc:
                if exc.errno not in _NO_LINK:
                    raise
                _copy(kept, path, entry)
                self.new.append(path)
                return
        raise OcicalibanError(f"{kept} vanished while it was used", "run the command again")


def _copy(source: str, target: str, entry: TreeEntry) -> None:
    """Copy a file so that it appears whole, or not at all. Raises OcicalibanError if it is not the file of the tree."""
    half = f"{os.path.dirname(target)}/.{os.urandom(8).hex()}"
    try:
        with open(half, "xb") as out:
            try:
                digest = hashlib.sha256()
                for chunk in _chunks(source) if entry.size else ():
                    digest.update(chunk)
                    out.write(chunk)
            finally:
                os.fchmod(out.fileno(), 0o755 if entry.executable else 0o644)
        if digest.hexdigest() != entry.digest:
            raise OcicalibanError(f"{source} changed while it was being copied", "run the command again")
        os.utime(half, (oci_layout.EPOCH, oci_layout.EPOCH))
        os.rename(half, target)
    except BaseException:
        if os.path.lexists(half):
            os.unlink(half)
        raise


def _chunks(source: str) -> Iterator[bytes]:
    try:
        with open(source, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as exc:
        message = f"{source} changed while it was being copied: {exc.strerror}"
        raise OcicalibanError(message, "run the command again") from exc


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
