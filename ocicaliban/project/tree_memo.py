"""Keep the digests and ignore decisions of an earlier read of a folder, so that the next read is fast."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.system import files

_HEADER = b"ocicaliban-tree-memo 4 "
# Their files were not searched for all credentials that are known now.
_OLD = (b"ocicaliban-tree-memo 2 ", b"ocicaliban-tree-memo 3 ")


@frozen
class TreeMemo:
    """The results of an earlier read.

    `files` maps a path to [size, mtime_ns, ctime_ns, inode, digest]; `dirs` maps a folder to
    [key of the ignore rules, {name: decision}].
    """

    files: dict[str, list[Any]] = field(factory=dict)
    dirs: dict[str, list[Any]] = field(factory=dict)


def load(path: Path | None) -> TreeMemo:
    """Read a memo; it is empty if the file is absent or corrupt, or comes from another version."""
    if path is None:
        return TreeMemo()
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return TreeMemo()
    checksum = hashlib.sha256(body).hexdigest().encode()
    if head not in {each + checksum for each in (_HEADER, *_OLD)}:
        return TreeMemo()
    data = json.loads(body)  # the checksum is right, so `save` wrote this
    return TreeMemo({} if head.startswith(_OLD) else data["files"], data["dirs"])


def save(path: Path, memo: TreeMemo) -> None:
    """Replace a memo atomically; if it cannot be written, the next read is only slower."""
    body = json.dumps({"files": memo.files, "dirs": memo.dirs}, separators=(",", ":")).encode()
    with contextlib.suppress(OSError):
        head = _HEADER + hashlib.sha256(body).hexdigest().encode()
        files.keep(path, head + b"\n" + body, mode=0o600)
