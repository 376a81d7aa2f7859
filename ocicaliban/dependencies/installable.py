"""Divide locked requirements by how an image gets them: from an index, from a folder of the project, from git."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import entries
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tar\.(?:gz|bz2|xz)|tgz)$")
_GIT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[[^]]*\]\s*)?@\s*git\+(?P<url>[^#\s]+?)@(?P<commit>[0-9a-f]{40})(?P<rest>#\S+)?$"
)


@frozen(kw_only=True)
class Installable:
    """Locked requirements.

    `requirements` are those with hashes. `folders` are packages in folders, relative to the project; those outside
    of it begin with `../`. `checkouts` are packages from git, as `NAME @ git+URL@COMMIT#subdirectory=FOLDER`.
    """

    requirements: str
    folders: tuple[str, ...] = ()
    checkouts: tuple[str, ...] = ()


def divided(text: str, root: Path, base: Base) -> Installable:
    """Return locked requirements by how an image gets them, without the project in `root` itself.

    Raises UsageError for what an image cannot get: a single archive on this machine, or another version control than
    git.
    """
    kept: list[str] = []
    folders: list[str] = []
    checkouts: list[str] = []
    for entry in entries(text):
        line = entry.split(" \\\n")[0].strip()
        what, _, marker = (part.strip() for part in line.partition(" ;"))
        if (local := local_path(what)) is not None:
            if _applies(marker, base) and (folder := _folder(what, local, entry, root)):
                folders.append(folder)
        elif "--hash" not in entry and re.search(r"@\s*(?:git|hg|svn|bzr)\+", what):
            if _applies(marker, base):
                checkouts.append(_checkout(what))
        else:
            kept.append(entry)
    return Installable(
        requirements="".join(kept),
        folders=tuple(dict.fromkeys(folders)),
        checkouts=tuple(dict.fromkeys(checkouts)),
    )


def local_path(what: str) -> str | None:
    """Return the path in a requirement that is a file or folder of this machine, or None."""
    path = re.sub(r"^(?:-e|--editable)[ =]\s*", "", what)
    editable = path != what
    if named := re.match(r"[\w.-]+\s*(?:\[[^]]*\]\s*)?@\s*(?=file:|\.{0,2}/)", path):
        path = path[named.end() :]
    elif not editable and re.search(r"==|\s@\s|@\s*[a-z+]+://", path):
        return None
    if re.match(r"[a-z+]+://", path) and not path.startswith("file://"):
        return None
    if path.startswith("file:"):
        path = unquote(urlsplit(path).path if path.startswith("file://") else path.removeprefix("file:"))
    return re.sub(r"\[[^]]*\]$", "", path)


def _applies(marker: str, base: Base) -> bool:
    """Whether a marker holds in a container of the base image. uv writes those of a lock for all platforms."""
    if not marker or not base.python:
        return True
    from packaging.markers import Marker

    version = ".".join(base.python.split(".")[:2])
    known = {"python_version": version, "python_full_version": base.python, "platform_machine": base.machine}
    return Marker(marker).evaluate({**known, "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"})


def _folder(what: str, local: str, entry: str, root: Path) -> str:
    """Return the folder of a local requirement, relative to the project, "" for the project itself."""
    folder = Path(os.path.normpath(root / local))
    if "--hash" in entry or _ARCHIVE.search(folder.name):
        # A build step sees this machine's folders of packages and its indexes, but no single file.
        links = os.path.relpath(folder.parent, root) if folder.is_relative_to(root) else str(folder.parent)
        raise UsageError(
            f"the dependency '{what}' is a file on this machine, which a build does not see",
            f"write '--find-links {links}' and, on a line of its own, NAME==VERSION",
        )
    if folder == root:
        return ""
    return Path(os.path.relpath(folder, root)).as_posix()


def _checkout(what: str) -> str:
    """Return a requirement from git, without user and password."""
    match = _GIT.match(re.sub(r"^(?:-e|--editable)[ =]\s*", "", what))
    if match is None:
        raise UsageError(
            f"the dependency '{shown(what)}' comes from version control, and has no hash",
            "name a commit in git: NAME @ git+https://HOST/OWNER/NAME@COMMIT",
        )
    rest = re.search(r"subdirectory=([^&\s]+)", match["rest"] or "")
    fragment = f"#subdirectory={rest[1]}" if rest else ""
    return f"{match['name']} @ git+{without_credentials(match['url'])}@{match['commit']}{fragment}"


def without_credentials(url: str) -> str:
    """Return a URL without password, and without user unless it is ssh's."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    kept = f"{user.partition(':')[0]}@{host}" if "ssh" in parts.scheme else host
    return urlunsplit(parts._replace(netloc=kept))


def shown(what: str) -> str:
    """Return a requirement for a message, without user and password."""
    return re.sub(r"(?<=://)[^/\s]+@", "", what)
