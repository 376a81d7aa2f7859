"""Rewrite what pip knows in lists of requirements and uv does not: `-e git+URL#egg=NAME`, and joined lines."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ocicaliban.dependencies import local_folders
from ocicaliban.dependencies.pip_options import decoded, is_list, joined

_EDITABLE = re.compile(r"^[ \t]*(?:-e|--editable)[ =]\s*(?P<address>git\+[^\s#]+)#(?P<rest>\S+)", re.M)
_INCLUDE = re.compile(r"^[ \t]*(-r|-c|--requirement|--constraint)[ =]?[ \t]*(\S+)", re.M)
_LINKS = re.compile(r"^[ \t]*(-f|--find-links)[ =]?[ \t]*(\S+)", re.M)


@contextlib.contextmanager
def rewritten(lists: Sequence[Path], root: Path) -> Iterator[tuple[Path, ...]]:
    """Yield the files, with a changed copy of each list that uv would read in another way than pip.

    An image cannot hold a checkout that somebody edits, so the package is installed from the commit. Folders that are
    beside the list, and not in the project's folder `root`, get their absolute paths.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        yield tuple(_rewritten(path, Path(folder), root) for path in lists)


def _rewritten(path: Path, folder: Path, root: Path) -> Path:
    try:
        text = decoded(path.read_bytes())
        text.encode()
    except (OSError, UnicodeError):
        return path  # uv says what is wrong with it
    if not is_list(path):
        return path

    def included(match: re.Match[str]) -> str:
        other = path.parent / match[2]
        return f"{match[1]} " + str(_rewritten(other, folder, root) if other.is_file() and other != path else match[2])

    changed = _INCLUDE.sub(included, _EDITABLE.sub(_named, joined(text)))
    if path.parent != root:
        lines = changed.splitlines(keepends=True)
        changed = "".join(local_folders.beside_list(line, path, root) for line in lines)
    if changed == text:
        return path
    # Paths in a list are relative to the current folder, apart from included lists.
    for option in (_INCLUDE, _LINKS):
        changed = option.sub(lambda match: f"{match[1]} {_absolute(match[2], path.parent)}", changed)
    copy = folder / f"{len(list(folder.iterdir()))}-{path.name}"
    copy.write_text(changed, encoding="utf-8")
    return copy


def _absolute(place: str, folder: Path) -> str:
    """Return the path of a list or of a folder with archives; an address stays as it is."""
    path = folder.absolute() / place
    return place if "://" in place else str(path)


def _named(match: re.Match[str]) -> str:
    """Return the requirement that names the package and its repository."""
    parts = dict(part.partition("=")[::2] for part in match["rest"].split("&"))
    if "egg" not in parts:
        return match[0]
    subdirectory = f"#subdirectory={parts['subdirectory']}" if "subdirectory" in parts else ""
    return f"{parts['egg']} @ {match['address']}{subdirectory}"
