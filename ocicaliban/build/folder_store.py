"""Keep the files of layers in folders that containers mount, named by their contents, with each file once.

`files/` holds each file by its digest, and the folders in `folders/` have hard links to them. So a source of which one
file was edited takes the room of that file, and a folder is whole as soon as it is there. The files are copies: an edit
of a file of the project in its place changes no folder. A container cannot change them, since it mounts a folder with
an overlay above it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ocicaliban.build.mounting import Folder
from ocicaliban.containers import oci_layout, overlay_folder, workspace
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.system import files, filesystems

_CHUNK = 1 << 20
_SINGLY = 64
"""The number of new files that are written to the disk one by one. For more, one call for all is faster."""
_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Where no hard link can be made: too many links already, or a file system without them."""


def root() -> Path:
    """Return the folder of all that is kept."""
    return files.cache() / "mounted"


def changes_of(key: str) -> Path:
    """Return where the folder is with the changes of a layer's script that have this key, or would be."""
    return root() / "changes" / key


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


def make(folder: Folder, part: Callable[[Folder, int], Tree | Path]) -> Path:
    """Return a folder with the files of its parts, and make it if it is not there.

    `part` gives a part of a folder by its number: a tree, or the folder of what a script has changed. Raises
    OcicalibanError if a file changed since a tree was read, and OSError if the folder cannot be written.
    """
    path = path_of(folder.key)
    if not path.is_dir():
        with workspace.exclusive(folder.key):
            if not path.is_dir():  # another process may have made it while this one waited
                _make(path, [(place, part(folder, number)) for number, (place, _) in enumerate(folder.parts)])
    return path


def forget_changes(key: str) -> None:
    """Make the changes with this key be made again."""
    _set_aside(changes_of(key))


def forget(folder: Folder) -> None:
    """Make a folder be made again, and those with the first of its parts. Containers that mount it keep it."""
    for number in range(1, len(folder.parts) + 1):
        _set_aside(path_of(folder.up_to(number).key))


def _set_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(f".{path.name}.{os.urandom(4).hex()}"))


def _make(path: Path, parts: list[tuple[str, Tree | Path]]) -> None:
    half = path.with_name(f".{path.name}")
    shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
    try:
        half.mkdir(mode=0o700, parents=True)
        writer = _Writer(root() / "files")
        for place, part in parts:
            to = os.path.join(half, place) if place else str(half)
            writer.add(part, to) if isinstance(part, Tree) else writer.add_changes(str(part), to)
        writer.finish(str(half))
        half.rename(path)
        _sync(path.parent)
    except BaseException as fault:  # a Ctrl-C too
        shutil.rmtree(half, ignore_errors=True)
        if isinstance(fault, OSError):
            fault.filename = fault.filename or str(path)  # a full disk has none
        raise


class _Writer:
    """Fills one folder. `store` is the folder of all files."""

    def __init__(self, store: Path) -> None:
        self.store = str(store)
        self.folders: dict[str, int] = {}
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
            except FileExistsError:  # of an earlier part
                _remove(path)
                self._put(tree, entry, path)

    def add_changes(self, changed: str, to: str) -> None:
        """Put what a script has changed, the upper folder of an overlay, into the folder `to`."""
        self._folder(to)
        for item in os.scandir(changed):
            path = f"{to}/{item.name}"
            if item.is_dir(follow_symlinks=False):
                if overlay_folder.is_opaque(item.path):
                    _remove(path)
                self._folder(path)
                self.add_changes(item.path, path)
                self.folders[path] = stat.S_IMODE(item.stat().st_mode)
                continue
            gone = overlay_folder.removed(item)
            _remove(f"{to}/{gone}" if gone else path)
            if not gone:
                self._link(item, path)

    def _link(self, item: os.DirEntry[str], path: str) -> None:
        try:
            os.link(item.path, path, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in _NO_LINK:
                raise
            shutil.copy2(item.path, path, follow_symlinks=False)

    def finish(self, top: str) -> None:
        """Give folders their modes and times, as in an image, and write what is new to the disk."""
        for path, mode in reversed({top: 0o755, **self.folders}.items()):
            if not os.path.isdir(path):
                continue  # a later part has removed it
            os.chmod(path, mode)
            os.utime(path, (oci_layout.EPOCH, oci_layout.EPOCH))
        if len(self.new) > _SINGLY:
            filesystems.flush(Path(top))
        else:
            for path in self.new:
                _sync(path)

    def _folder(self, path: str) -> None:
        if path in self.folders and os.path.isdir(path):
            return
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
            os.unlink(path)  # a file of an earlier part
        os.makedirs(path, mode=0o755, exist_ok=True)
        self.folders[path] = 0o755

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


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


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
