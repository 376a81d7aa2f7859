"""Keep the files of layers in folders that containers mount, named by their contents, with each file once.

`files/` holds each file by its digest, and the folders in `folders/` have hard links to them. So a source of which one
file was edited takes the room of that file, and a folder is whole as soon as it is there. The files are copies: an edit
of a file of the project in its place changes no folder. A container cannot change them, since it mounts a folder with
an overlay above it. A file gets its name in `files/` only when it is on the disk: a loss of power would leave an empty
one under the digest of another, which all later folders would have.
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


def package_of(key: str) -> Path:
    """Return where the files of an installed package are kept, by a key of all that decides them, or would be."""
    return root() / "packages" / key


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


Part = Tree | tuple[Path, ...]
"""What a folder has at a place: the entries of a tree, or what is in some folders, the later above the earlier."""


def make(folder: Folder, part: Callable[[Folder, int], Part]) -> Path:
    """Return a folder with the files of its parts, and make it if it is not there.

    `part` gives a part of a folder by its number: a tree, or the folders with what scripts have changed. Raises
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


def _make(path: Path, parts: list[tuple[str, Part]]) -> None:
    half = path.with_name(f".{path.name}")
    shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
    writer = _Writer(root() / "files")
    try:
        half.mkdir(mode=0o700, parents=True)
        for place, part in parts:
            to = os.path.join(half, place) if place else str(half)
            if isinstance(part, Tree):
                writer.add(part, to)
            else:
                for changed in part:
                    writer.add_changes(str(changed), to)
        writer.finish(str(half))
        half.rename(path)
        sync(path.parent)
    except BaseException as fault:  # a Ctrl-C too
        writer.drop()
        shutil.rmtree(half, ignore_errors=True)
        if isinstance(fault, OSError):
            fault.filename = fault.filename or str(path)  # a full disk has none
        raise


class _Writer:
    """Fills one folder. `store` is the folder of all files.

    `new` has where the new files of the store are until they are on the disk, by the names that they get then, and
    `copies` the files that the folder has for itself.
    """

    def __init__(self, store: Path) -> None:
        self.store = str(store)
        self.folders: dict[str, int] = {}
        self.new: dict[str, tuple[str, int]] = {}
        self.copies: list[str] = []

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
            if not item.is_symlink():
                self.copies.append(path)

    def finish(self, top: str) -> None:
        """Give folders their modes and times, as in an image, write what is new to the disk, and then keep it."""
        for path, mode in reversed({top: 0o755, **self.folders}.items()):
            if not os.path.isdir(path):
                continue  # a later part has removed it
            os.chmod(path, mode)
            os.utime(path, (oci_layout.EPOCH, oci_layout.EPOCH))
        written = [*(path for path, _ in self.new.values()), *filter(os.path.isfile, self.copies)]
        if len(written) > _SINGLY:
            places = filter(os.path.isdir, (self.store, top))
            for place in {os.stat(place).st_dev: place for place in places}.values():
                filesystems.flush(Path(place))
        else:
            for path in written:
                sync(path)
        for kept, (path, size) in self.new.items():
            if _is_whole(kept, size):  # another process has made it meanwhile
                os.unlink(path)
            else:
                os.rename(path, kept)
        self.new.clear()

    def drop(self) -> None:
        """Remove what is not kept yet."""
        for path, _ in self.new.values():
            with contextlib.suppress(OSError):
                os.unlink(path)

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
            there = self.new[kept][0] if kept in self.new else kept
            if not _is_whole(there, entry.size):
                there = self._write(tree, entry, kept)
            try:
                os.link(there, path)
                return
            except FileNotFoundError:
                self.new.pop(kept, None)
            except OSError as exc:
                if exc.errno not in _NO_LINK:
                    raise
                _copy(there, path, entry)
                self.copies.append(path)
                return
        raise OcicalibanError(f"{kept} vanished while it was used", "run the command again")

    def _write(self, tree: Tree, entry: TreeEntry, kept: str) -> str:
        """Copy a file of a tree into the store, and return where it is for now."""
        folder = os.path.dirname(kept)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        new = f"{folder}/.{os.urandom(8).hex()}"
        _copy(os.path.join(tree.root, entry.path), new, entry)
        self.new[kept] = (new, entry.size)
        return new


def _is_whole(path: str, size: int) -> bool:
    """Return whether there is a file of this size."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _copy(source: str, target: str, entry: TreeEntry) -> None:
    """Copy a file to a place where nobody looks yet. Raises OcicalibanError if it is not the file of the tree."""
    try:
        with open(target, "xb") as out:
            try:
                digest = hashlib.sha256()
                for chunk in _chunks(source) if entry.size else ():
                    digest.update(chunk)
                    out.write(chunk)
            finally:
                os.fchmod(out.fileno(), 0o755 if entry.executable else 0o644)
        if digest.hexdigest() != entry.digest:
            raise OcicalibanError(f"{source} changed while it was being copied", "run the command again")
        os.utime(target, (oci_layout.EPOCH, oci_layout.EPOCH))
    except FileExistsError:  # of an earlier part
        raise
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        raise


def _chunks(source: str) -> Iterator[bytes]:
    try:
        with open(source, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as exc:
        message = f"{source} changed while it was being copied: {exc.strerror}"
        raise OcicalibanError(message, "run the command again") from exc


def sync(path: str | Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
