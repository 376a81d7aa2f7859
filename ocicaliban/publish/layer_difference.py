"""In which layer two images differ, and in which of its files. Pure, but for the layers' archives."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_SHOWN = 20


class Member(NamedTuple):
    """What a layer says of a path: its kind, mode, owner, size, target of a link, and the digest of its contents."""

    kind: str
    mode: int
    owner: tuple[int, int]
    time: int
    size: int
    target: str
    digest: str


def first_different(published: Sequence[str], rebuilt: Sequence[str]) -> int | None:
    """Return the number of the first layer (from 0) in which two lists of diff ids differ; None if they are equal."""
    for number in range(max(len(published), len(rebuilt))):
        if published[number : number + 1] != rebuilt[number : number + 1]:
            return number
    return None


def members(layer: Path) -> dict[str, Member]:
    """Return what an archive of a layer holds, by path. Raises tarfile.TarError or OSError if it cannot be read."""
    found = {}
    with tarfile.open(layer) as tar:
        for each in tar:
            digest = ""
            if each.isreg() and (file := tar.extractfile(each)):
                sha = hashlib.sha256()
                while part := file.read(1 << 20):
                    sha.update(part)
                digest = sha.hexdigest()
            found[each.name.removeprefix("./").rstrip("/")] = Member(
                kind=each.type.decode("ascii", "replace"),
                mode=each.mode,
                owner=(each.uid, each.gid),
                time=int(each.mtime),
                size=each.size,
                target=each.linkname,
                digest=digest,
            )
    return found


def lines(published: Mapping[str, Member], rebuilt: Mapping[str, Member]) -> Iterable[str]:
    """Yield a line for each path in which two layers differ, the first twenty, and how many more there are."""
    different = [path for path in sorted({*published, *rebuilt}) if published.get(path) != rebuilt.get(path)]
    for path in different[:_SHOWN]:
        yield f"/{path}: {_difference(published.get(path), rebuilt.get(path))}"
    if len(different) > _SHOWN:
        yield f"and {len(different) - _SHOWN} more files"
    if not different:
        yield "its files are the same, in another order"


def _difference(before: Member | None, now: Member | None) -> str:
    if before is None or now is None:
        return "only in the new image" if before is None else "only in the published image"
    names = {"digest": "contents", "target": "target of the link"}
    wrong = [names.get(name, name) for name in Member._fields if getattr(before, name) != getattr(now, name)]
    return f"another {', '.join(wrong)}"
