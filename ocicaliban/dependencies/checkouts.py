"""Fetch packages from git on this machine, where ssh's agent and git's credential helpers work."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import asdict, frozen

from ocicaliban.containers import workspace
from ocicaliban.dependencies import packages
from ocicaliban.dependencies.installable import without_credentials
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import git
from ocicaliban.project.source_tree import tree_digest
from ocicaliban.system import files, process

SOURCE = "source"
"""The folder of a made tree with the files of the commit."""
SETTINGS = "package.json"
"""The file beside it that says how the package is built."""
_ENVIRON = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}


@frozen(kw_only=True)
class Checkout:
    """A package at a commit of a git repository, in the folder `subdirectory` of it.

    `addresses` are the repository's addresses as the project declares them, which may hold credentials.
    """

    name: str
    url: str
    commit: str
    subdirectory: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What stands for the files in keys: the commit decides them, wherever it is fetched from."""
        return hashlib.sha256(f"git 1\0{self.commit}\0{self.subdirectory}".encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes that are read, which are unknown."""
        return 0

    def make(self, folder: Path, warn: Callable[[str], None]) -> Tree:
        """Write the files of the commit and how the package is built into a folder below `folder`."""
        place = folder / f"git-{self.digest[:12]}"
        check_out(self, place / SOURCE)
        build = self.build(place / SOURCE)
        origin: dict[str, object] = {"url": self.url, "vcs_info": {"vcs": "git", "commit_id": self.commit}}
        if self.subdirectory:
            origin["subdirectory"] = self.subdirectory
        settings = {**asdict(build), "editable": False, "origin": origin}
        (place / SETTINGS).write_text(json.dumps(settings))
        return _read(place)

    def build(self, source: Path) -> PackageBuild:
        """Return how the package in a checkout is built. Raises UsageError if there is none."""
        build = packages.read_package(source / self.subdirectory)
        if build is None:
            where = f"the folder '{self.subdirectory}' of {self.url}" if self.subdirectory else self.url
            raise UsageError(
                f"{where} has no package at the commit {self.commit[:12]}",
                "name its folder: NAME @ git+URL@COMMIT#subdirectory=FOLDER",
            )
        return build


def parsed(requirement: str, texts: Iterable[str] = ()) -> Checkout:
    """Return the checkout of a requirement in the lock. `texts` declare the dependencies, and may have credentials."""
    match = re.fullmatch(r"(\S+) @ git\+(\S+)@([0-9a-f]{40})(?:#subdirectory=(\S+))?", requirement)
    if match is None:
        raise UsageError(
            f"ocicaliban.lock: '{requirement}' is not NAME @ git+URL@COMMIT", "git checkout ocicaliban.lock"
        )
    declared = (address for text in texts for address in re.findall(r"(?<=git\+)[a-z]+://[^\s#\"']+", text))
    addresses = [_without_reference(os.path.expandvars(address)) for address in declared]
    same = [each for each in addresses if each != match[2] and without_credentials(each) == match[2]]
    return Checkout(
        name=match[1],
        url=match[2],
        commit=match[3],
        subdirectory=match[4] or "",
        addresses=tuple(dict.fromkeys(same)),
    )


def _without_reference(address: str) -> str:
    """Return an address without the branch, tag or commit after it."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host}{slash}{path.partition('@')[0]}"


def check_out(checkout: Checkout, folder: Path) -> None:
    """Write the files of a commit into a new folder, with those of its submodules.

    The repository stays in our cache. Raises ToolError if git cannot fetch it.
    """
    store = files.cache() / "git" / hashlib.sha256(checkout.url.encode()).hexdigest()[:32]
    with workspace.exclusive(store.name):
        if not (store / "HEAD").is_file():
            store.mkdir(parents=True, exist_ok=True)
            _git("init", "--quiet", "--bare", str(store))
        if not _has(store, checkout.commit):
            _fetch(checkout, store)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git("clone", "--quiet", "--no-checkout", "--shared", str(store), str(folder))
    _git("-C", str(folder), "remote", "set-url", "origin", checkout.url)
    _git("-C", str(folder), "checkout", "--quiet", "--detach", checkout.commit)
    if (folder / ".gitmodules").is_file():
        _git("-C", str(folder), "submodule", "--quiet", "update", "--init", "--recursive")


def version(source: Path) -> str:
    """Return what git says about the version of a checkout (see `git.describe`)."""
    return git.describe(source)


def _has(store: Path, commit: str) -> bool:
    return process.ok(("git", "-C", str(store), "cat-file", "-e", f"{commit}^{{commit}}"))


def _fetch(checkout: Checkout, store: Path) -> None:
    """Fetch a commit, with the tags, which may say its version."""
    *others, last = (*checkout.addresses, checkout.url)
    for address in others:
        if _fetched(address, checkout.commit, store, quiet=True):
            return
    _fetched(last, checkout.commit, store, quiet=False)
    if not _has(store, checkout.commit):
        raise UsageError(
            f"the repository {checkout.url} does not have the commit {checkout.commit}",
            "it may have been removed by a forced push: name another one",
        )


def _fetched(address: str, commit: str, store: Path, *, quiet: bool) -> bool:
    """Fetch all branches and tags of a repository, and the commit if it is in none of them; whether it is there."""
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    try:
        _git("-C", str(store), "fetch", "--quiet", "--no-write-fetch-head", address, *everything)
        if not _has(store, commit):
            _git("-C", str(store), "fetch", "--quiet", address, commit)
    except ToolError:
        if not quiet:
            raise
    return _has(store, commit)


def _git(*arguments: str) -> None:
    process.run(
        ("git", *arguments),
        env=_ENVIRON,
        doing="git cannot fetch a dependency",
        hint="check that `git clone` of this address works here without a question: an ssh agent or a credential helper"
        " answers it",
    )


def _read(place: Path) -> Tree:
    """Return a tree of all files in a folder, but git's own."""
    entries: list[TreeEntry] = []
    for above, names, others in os.walk(place):
        names[:] = sorted(name for name in names if name != ".git")
        for name in (*names, *others):
            path = os.path.join(above, name)
            relative = os.path.relpath(path, place)
            if os.path.islink(path):
                entries.append(TreeEntry(path=relative, kind="link", digest=os.readlink(path)))
            elif os.path.isdir(path):
                entries.append(TreeEntry(path=relative, kind="dir"))
            elif name != ".git":
                content = Path(path).read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                executable = os.access(path, os.X_OK)
                entries.append(
                    TreeEntry(path=relative, kind="file", digest=digest, size=len(content), executable=executable)
                )
        names[:] = [name for name in names if not os.path.islink(os.path.join(above, name))]
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    return Tree(root=place, digest=tree_digest(ordered), entries=ordered)


def local_repositories(made: Iterable[object]) -> tuple[Path, ...]:
    """Return the repositories on this machine from which packages among these trees come."""
    from urllib.parse import unquote, urlsplit

    addresses = [url for each in made if isinstance(each, Checkout) for url in (each.url, *each.addresses)]
    plain = [re.sub(r"^git\+", "", url) for url in addresses]
    paths = [unquote(urlsplit(url).path) if url.startswith("file:") else url for url in plain]
    return tuple(Path(path) for path in dict.fromkeys(paths) if path.startswith("/"))
