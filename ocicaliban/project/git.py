"""Ask git which commit a project is at, and whether its files differ from that commit."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.system import process

_PUBLISHED = "published"
"""The branch in a bundle."""
_TIMEOUT = 20.0
"""Seconds that git may take to examine the files."""
_OID = "# branch.oid "
_LOGIN = re.compile(r"^([a-z+]+://)[^/]*@")


def head(folder: Path) -> tuple[str, bool]:
    """Return the commit (hex) of a folder's checkout, and whether its files differ or are unknown to git.

    Return ("", False) without git, repository or commit. The same if git does not trust the repository because another
    user owns it: its settings could make git run any command.
    """
    # Without optional locks it does not disturb a concurrent `git commit`.
    argv = ("git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--", ".")
    try:
        # It changes nothing, so it may outlive us.
        lines = process.ask(argv, limit=_TIMEOUT).splitlines()
    except OcicalibanError:
        return "", False
    commit = next((line.removeprefix(_OID) for line in lines if line.startswith(_OID)), "")
    if not commit.isalnum():  # "(initial)"
        return "", False
    return commit, any(not line.startswith("#") for line in lines)


def remote(folder: Path) -> str:
    """Return the address that `origin` has in a folder's repository, without a login; "" if there is none."""
    try:
        url = process.ask(("git", "-C", str(folder), "remote", "get-url", "origin"), limit=_TIMEOUT).strip()
    except OcicalibanError:
        return ""
    if url.startswith(("/", ".", "file:")):
        return ""  # a folder of this machine
    return without_login(url)


def without_login(url: str) -> str:
    """Return the address of a repository without a user, "" for one that is a folder of a person's machine."""
    plain = _LOGIN.sub(r"\1", url)
    if "://" not in plain:  # HOST:PATH, as ssh has it
        host, _, path = plain.rpartition("@")[2].partition(":")
        return "" if path.startswith(("/", "~")) else f"{host}:{path}"
    return plain


def bundle(folder: Path, commit: str) -> bytes:
    """Return the history of a commit as a git bundle, with that commit as the branch `published`.

    The same history gives a bundle with the same objects, but not always the same bytes. Raises ToolError if the
    repository does not have the commit any more, UsageError if it lacks the beginning of the history.
    """
    from tempfile import TemporaryDirectory  # a replay reads commits without it

    top = process.run(("git", "-C", str(folder), "rev-parse", "--show-toplevel")).strip()
    if process.run(("git", "-C", top, "rev-parse", "--is-shallow-repository")).strip() == "true":
        # git makes a bundle of it all the same, which cannot be cloned.
        raise UsageError(f"{top} is a shallow clone, without the whole history of the commit", "git fetch --unshallow")
    with TemporaryDirectory(prefix="ocicaliban-") as made:
        # A bundle needs a name for the commit; a clone of our own keeps it out of the user's repository.
        process.run(("git", "clone", "--quiet", "--bare", "--shared", "--no-tags", top, made))
        inside = ("git", "-C", made)
        process.run((*inside, "branch", "--force", _PUBLISHED, commit))
        process.run((*inside, "bundle", "create", "--quiet", f"{made}/bundle", _PUBLISHED))
        return Path(made, "bundle").read_bytes()


def count(folder: Path, commit: str) -> int:
    """Return the number of commits in the history of a commit, with itself. Raises ToolError if it is gone."""
    return int(process.run(("git", "-C", str(folder), "rev-list", "--count", commit, "--")))


def folder_in_repository(folder: Path) -> str:
    """Return where a folder is in its repository, "" for the top or if git cannot tell."""
    try:
        return process.ask(("git", "-C", str(folder), "rev-parse", "--show-prefix"), limit=_TIMEOUT).strip().rstrip("/")
    except OcicalibanError:
        return ""


def checkout(source: str, commit: str, to: Path) -> None:
    """Make a checkout of a commit of a repository (an address, a folder or a bundle) in a new folder.

    Raises UsageError for what is no commit, ToolError if git cannot get it.
    """
    if not re.fullmatch("[0-9a-f]{7,64}", commit):
        raise UsageError(f"'{commit}' is no git commit", "the jobs ran outside of a git repository")
    doing = f"the commit {commit[:12]} cannot be fetched from {without_login(source)}"
    # Nothing of a stranger's repository runs: no hooks are cloned, and no submodules are fetched.
    process.run(("git", "clone", "--quiet", "--no-checkout", "--", source, str(to)), doing=doing)
    process.run(("git", "-C", str(to), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit), doing=doing)


def is_in_repository(folder: Path) -> bool:
    """Whether a folder is in a git checkout; git is not asked."""
    return _git_folder(folder) is not None


def state_files(folder: Path) -> tuple[str, ...]:
    """Return the files that change with a checkout's commit or index, existing or not; git is not asked."""
    found: list[Path] = []
    for above in (folder.absolute(), *folder.absolute().parents):
        place = above / ".git"
        found += [place, place / "HEAD"] if place.is_file() else [place / "HEAD"]
        if not place.exists():
            continue
        own = _named_folder(place, above) if place.is_file() else place
        common = _git_folder(folder)
        if own is None or common is None:
            break
        found += [own / "HEAD", own / "index", common / "packed-refs"]
        with contextlib.suppress(OSError):
            head = (own / "HEAD").read_text(encoding="utf-8", errors="surrogateescape")
            name = head.removeprefix("ref:").strip()
            if head.startswith("ref:") and "\0" not in name:
                found.append(common / name)
        break
    return tuple(map(str, found))


def tags(folder: Path) -> tuple[str, ...]:
    """Return the tags of a folder's repository, read from its files; git is not asked."""
    place = _git_folder(folder)
    if place is None:
        return ()
    names = [str(path.relative_to(place / "refs" / "tags")) for path in (place / "refs" / "tags").rglob("*")]
    try:
        packed = (place / "packed-refs").read_text(encoding="utf-8", errors="replace")
    except OSError:
        packed = ""
    found = (line.partition(" refs/tags/")[2] for line in packed.splitlines())
    return tuple(sorted({*names, *filter(None, found)}))


def describe(folder: Path) -> str:
    """Return TAG-COMMITS-gID for the commit of a folder's checkout, ID alone without tags, "" if git cannot tell."""
    argv = ("git", "-C", str(folder), "describe", "--tags", "--long", "--always", "--match", "*[0-9]*")
    try:
        return process.ask(argv, limit=_TIMEOUT).strip()
    except OcicalibanError:
        return ""


def _git_folder(folder: Path) -> Path | None:
    """Return the folder with the repository of a checkout, or None."""
    for above in (folder.absolute(), *folder.absolute().parents):
        place = above / ".git"
        if place.is_dir():
            return place
        if place.is_file():  # a worktree or a submodule
            named = _named_folder(place, above)
            common = named / "commondir" if named else None
            return _named_folder(common, named) if named and common and common.is_file() else named
    return None


def _named_folder(file: Path, beside: Path) -> Path | None:
    """Return the folder that a file of git's names, relative to another one; None if it names none."""
    try:
        name = file.read_text(encoding="utf-8", errors="surrogateescape").removeprefix("gitdir:").strip()
    except OSError:
        return None
    return beside / name if name and "\0" not in name else None
