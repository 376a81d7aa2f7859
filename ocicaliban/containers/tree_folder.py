"""Copy a tree into a folder, which a build step then sees."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree


def write_folder(tree: Tree, folder: Path) -> None:
    """Make `folder`, with exactly the entries of a tree.

    An entry without bytes becomes an empty file, whatever is on the disk: a tree may hold the names of files alone.
    Raises OcicalibanError if a file changed since the tree was read.
    """
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    for entry in tree.entries:
        path = folder / entry.path
        if entry.kind == "dir":
            path.mkdir(mode=0o755)
        elif entry.kind == "link":
            path.symlink_to(entry.digest)
        else:
            content = entry.text.encode()
            if entry.size and not entry.text:
                source = tree.root / entry.path
                try:
                    content = source.read_bytes()
                except OSError as exc:
                    raise _changed(source, f": {exc.strerror}") from exc
                if hashlib.sha256(content).hexdigest() != entry.digest:
                    raise _changed(source)
            path.write_bytes(content)
            path.chmod(0o755 if entry.executable else 0o644)


def _changed(path: Path, why: str = "") -> OcicalibanError:
    return OcicalibanError(f"{path} changed while it was being copied{why}", "run the command again")
