"""Rewrite `-e git+URL#egg=NAME` in lists of requirements, which pip knows and uv does not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ocicaliban.dependencies import local_folders

_EDITABLE = re.compile(r"^\s*(?:-e|--editable)[ =]\s*(?P<address>git\+[^\s#]+)#(?P<rest>\S+)", re.M)
_INCLUDE = re.compile(r"^(\s*(?:-r|-c|--requirement|--constraint)[ =]?\s*)(\S+)", re.M)


@contextlib.contextmanager
def rewritten(lists: Sequence[Path], root: Path) -> Iterator[tuple[Path, ...]]:
    """Yield the files, with a changed copy of each list that has an editable requirement from git.

    An image cannot hold a checkout that somebody edits, so the package is installed from the commit. Folders that are
    beside the list, and not in the project's folder `root`, get their absolute paths.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        yield tuple(_rewritten(path, Path(folder), root) for path in lists)


def _rewritten(path: Path, folder: Path, root: Path) -> Path:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return path  # uv says what is wrong with it
    if path.suffix not in (".txt", ".in"):
        return path

    def included(match: re.Match[str]) -> str:
        other = path.parent / match[2]
        return match[1] + str(_rewritten(other, folder, root) if other.is_file() and other != path else match[2])

    changed = _INCLUDE.sub(included, _EDITABLE.sub(_named, text))
    if path.parent != root:
        lines = changed.splitlines(keepends=True)
        changed = "".join(local_folders.beside_list(line, path, root) for line in lines)
    if changed == text:
        return path
    # Paths in a list are relative to the current folder, apart from included lists.
    changed = _INCLUDE.sub(lambda match: match[1] + str(path.parent.absolute() / match[2]), changed)
    copy = folder / f"{len(list(folder.iterdir()))}-{path.name}"
    copy.write_text(changed, encoding="utf-8")
    return copy


def _named(match: re.Match[str]) -> str:
    """Return the requirement that names the package and its repository."""
    parts = dict(part.partition("=")[::2] for part in match["rest"].split("&"))
    if "egg" not in parts:
        return match[0]
    subdirectory = f"#subdirectory={parts['subdirectory']}" if "subdirectory" in parts else ""
    return f"{parts['egg']} @ {match['address']}{subdirectory}"
