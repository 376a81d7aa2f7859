"""Read files of an image without starting a container of it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ocicaliban.containers import workspace
from ocicaliban.model.image import Image
from ocicaliban.system import process

_LARGEST = 32 << 20  # bytes of a file; dpkg's list has a few

_SCRIPT = """root=$(podman image mount "$1") || exit; out=$2; image=$1; shift 2
(cd "$root" && find . -xdev -type f \\( "$@" \\) -print0 | tar --null --no-recursion -T - -cf "$out"); code=$?
podman image unmount "$image" >/dev/null; exit $code
"""


def matching(image: Image, patterns: Sequence[str]) -> dict[str, bytes]:
    """Return the files of an image whose paths match one of the patterns of `find -path`, by path ("etc/os-release").

    Links are not followed. Raises OcicalibanError if the image cannot be read.
    """
    words = [word for pattern in patterns for word in ("-o", "-path", pattern)][1:]
    unshare = ("podman", "unshare") if os.geteuid() else ()
    with workspace.open_workspace() as folder:
        out = folder / "files.tar"
        argv = (*unshare, "sh", "-c", _SCRIPT, "sh", image.id, str(out), *words)
        process.run(argv, doing=f"the files of the image {image.id[:12]} cannot be read")
        return dict(_members(out))


def below(root: Path, to: str, suffixes: Sequence[str]) -> Mapping[str, bytes]:
    """Return the files of a folder that a container sees at `to` whose paths end in one of the suffixes."""
    found = {}
    for path in root.rglob("*"):
        if path.as_posix().endswith(tuple(suffixes)) and path.is_file() and not path.is_symlink():
            found[f"{to.strip('/')}/{path.relative_to(root)}"] = path.read_bytes()[:_LARGEST]
    return found


def _members(tar: Path) -> list[tuple[str, bytes]]:
    found = []
    with tarfile.open(tar) as opened:
        for member in opened:
            if member.isfile() and member.size <= _LARGEST and (file := opened.extractfile(member)):
                found.append((member.name.removeprefix("./"), file.read()))
    return found
