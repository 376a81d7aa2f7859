"""Read a folder of the project into a `Tree`: the files that enter the image, and their digest."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import ignore_rules, tree_entries, tree_memo
from ocicaliban.project.ignore_rules import DESCEND, GIT_FILE, IGNORED, IS_DIR, GitRules, Rules, printable_path
from ocicaliban.project.tree_memo import TreeMemo


def read_tree(
    root: Path,
    *,
    memo: Path | None = None,
    exclude: tuple[str, ...] = (),
    never: tuple[Path, ...] = (),
    ignore: bool = True,
    top: str = "",
    allowed: tuple[str, ...] = (),
) -> Tree:
    """Read a folder as it enters an image, without the files that its ignore files leave out.

    Inputs: `root`, the folder; `memo`, a file that keeps digests and ignore decisions between reads (one for each root
    and set of options; it is never part of the tree); `exclude`, paths relative to `root` that are always left out;
    `never`, files that are left out under any name, hard links included; `top`, the folder's own path in the project,
    which links may not leave; `ignore`, False to read all files except credentials, whatever the ignore files say;
    `allowed`, files that may contain credentials, relative to the project.

    The first ignore file that exists applies: .containerignore, .dockerignore (with Docker's patterns, except that
    `**` within a name stops at `/`), or else every .gitignore and .git/info/exclude.

    Output: the `Tree`, its entries sorted by path. Its digest depends only on paths, contents, link targets and the
    owner's executable bit.

    Raises OcicalibanError if `root` is not a folder. Raises it, for a path that is not ignored, if a link leaves the
    project; a name is not UTF-8 or starts with .wh.; it is a socket, FIFO or device; it cannot be read; or its
    contents are a credential.
    """
    if not root.is_dir():
        raise OcicalibanError(f"{printable_path(str(root))}: no such folder", "name the folder of the project")
    options = _Options(
        exclude=frozenset(posixpath.normpath(path) for path in exclude),
        never=_identities(never),
        memo=Path(os.path.abspath(memo)) if memo is not None else None,
        ignore=ignore,
        top=top,
        allowed=frozenset(allowed),
    )
    old = tree_memo.load(options.memo)
    reader = _Reader(os.path.abspath(root), old, options)
    try:
        reader.walk()
    except tree_entries.Refused as fault:
        raise fault.as_error(top, ignore_rules.ignore_file_name(root) if ignore else "") from fault
    if options.memo is not None and reader.new != old:
        tree_memo.save(options.memo, reader.new)
    entries = tuple(sorted(reader.entries, key=lambda entry: entry.path))
    return Tree(root=root, digest=tree_digest(entries), entries=entries)


def tree_digest(entries: tuple[TreeEntry, ...]) -> str:
    """Hash entries; no field contains a NUL, so the NULs separate fields and entries."""
    lines = [f"{e.kind}\0{'x' if e.executable else '-'}\0{e.digest}\0{e.path}\0" for e in entries]
    return hashlib.sha256(b"ocicaliban-tree 1\0" + "".join(lines).encode()).hexdigest()


def left_out(root: Path, *, memo: Path | None = None, exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the paths that the ignore files of a folder, or the built-in rules, keep out of an image.

    An ignored folder is one path, which ends with a slash. Only ignore files are read; `memo` is that of `read_tree`,
    and is not written. A folder that cannot be read counts as empty.
    """
    options = _Options(exclude=frozenset(posixpath.normpath(path) for path in exclude), memo=memo)
    reader = _Reader(os.path.abspath(root), tree_memo.load(memo), options)
    ignored = (
        printable_path(path) + ("/" if code & IS_DIR else "")
        for _, path, code, _ in reader.visit(lenient=True)
        if code & IGNORED and not code & DESCEND
    )
    return tuple(sorted(ignored))


def names(root: Path, *, memo: Path | None = None, exclude: tuple[str, ...] = ()) -> dict[str, bool]:
    """Return the paths that `read_tree` would read, and whether each is a folder. Only ignore files are read.

    `memo` and `exclude` are those of `read_tree`. A folder that cannot be read counts as empty.
    """
    options = _Options(exclude=frozenset(posixpath.normpath(path) for path in exclude), memo=memo)
    reader = _Reader(os.path.abspath(root), tree_memo.load(memo), options)
    found: dict[str, bool] = {}
    for _, path, code, _ in reader.visit(lenient=True):
        if not code & IGNORED and tree_entries.is_utf8(path):
            found[path] = bool(code & IS_DIR)
            folder = posixpath.dirname(path)
            while folder and folder not in found:
                found[folder] = True
                folder = posixpath.dirname(folder)
    return found


def read_entry(root: Path, path: str, *, top: str = "", allowed: tuple[str, ...] = ()) -> TreeEntry | None:
    """Return one file or link as `read_tree` reads it; None if an image cannot contain it.

    Raises OcicalibanError if it contains a credential, and is not `allowed` to.
    """
    try:
        absolute = os.path.join(root, path)
        if os.path.islink(absolute):
            return tree_entries.read_link(absolute, path, "")
        return tree_entries.read_file(absolute, path, may_be_secret=posixpath.join(top, path) in allowed)[0]
    except tree_entries.Refused as fault:
        if fault.line:
            raise fault.as_error(top, "") from fault
        return None


def whole_folders(tree: Tree) -> frozenset[str]:
    """Return the folders of a tree ("" for its root) of whose contents on disk nothing is left out."""
    paths = {entry.path for entry in tree.entries}
    folders = [entry.path for entry in tree.entries if entry.kind == "dir"]
    whole: set[str] = set()
    for folder in sorted(["", *folders], reverse=True):  # the contents of a folder come before it
        inside = _scan(os.path.join(tree.root, folder))
        if all(
            (path := posixpath.join(folder, item.name)) in paths
            and (path in whole or not item.is_dir(follow_symlinks=False))
            for item in inside
        ):
            whole.add(folder)
    return frozenset(whole)


def _identities(files: tuple[Path, ...]) -> frozenset[tuple[int, int]]:
    """Return device and inode of each file that exists: they identify it under any name."""
    found = set()
    for file in files:
        try:
            status = os.stat(file)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
                raise
        else:
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _scan(absolute: str) -> list[os.DirEntry[str]]:
    with os.scandir(absolute) as entries:
        return list(entries)


_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
"""The file by which Python recognizes a virtual environment; it has absolute paths of this machine in it."""

_Visited = tuple["os.DirEntry[str]", str, int, bool]
"""An entry, its path in the tree, the decision about it, and whether its folder is ignored."""


@frozen(kw_only=True)
class _Options:
    """What a walk leaves out; see `read_tree`. `never` holds device and inode of files."""

    exclude: frozenset[str] = frozenset()
    never: frozenset[tuple[int, int]] = frozenset()
    memo: Path | None = None
    ignore: bool = True
    top: str = ""
    allowed: frozenset[str] = frozenset()


class _Reader:
    """One walk over a folder."""

    def __init__(self, root: str, old: TreeMemo, options: _Options) -> None:
        self.root = root
        self.old = old
        self.options = options
        self.new = TreeMemo()
        self.entries: list[TreeEntry] = []
        self.dirs: set[str] = set()

    def walk(self) -> None:
        """Fill `entries` and `new`."""
        for item, path, code, ignored in self.visit():
            if code & IGNORED:
                continue
            if not tree_entries.is_utf8(path):
                raise tree_entries.Refused(path, "has a name that is not UTF-8", "rename it")
            if item.name.startswith(".wh."):
                raise tree_entries.Refused(path, "has a name that marks a removed file in an image layer", "rename it")
            if ignored:
                self._add_dir(posixpath.dirname(path))
            if code & IS_DIR:
                self._add_dir(path)
            else:
                self._add(item, path)

    def visit(self, *, lenient: bool = False) -> Iterator[_Visited]:
        """Yield each entry with its path, its decision, and whether its folder is ignored.

        Of an ignored folder only the folder is yielded, unless the rules may include something in it again. A virtual
        environment, whatever its name, is not yielded. A folder that cannot be read is a fault unless the visit is
        `lenient`.
        """
        if "." in self.options.exclude:
            return
        rules = ignore_rules.project_rules(self.root) if self.options.ignore else ignore_rules.data_rules()
        pending: list[tuple[str, str, bool, Rules, _Visited | None]] = [(self.root, "", False, rules, None)]
        while pending:
            absolute, prefix, ignored, rules, itself = pending.pop()
            try:
                items = _scan(absolute)
            except OSError as fault:
                if ignored or lenient:
                    if itself:
                        yield itself
                    continue
                raise tree_entries.unreadable(prefix.rstrip("/") or ".", fault) from fault
            if itself:
                if self.options.ignore and any(item.name == _VIRTUAL_ENVIRONMENT for item in items):
                    continue
                yield itself
            if self.options.ignore and isinstance(rules, GitRules):
                for item in items:
                    if item.name == GIT_FILE and item.is_file(follow_symlinks=False):
                        rules = rules.within(prefix, ignore_rules.read_ignore_file(item.path, prefix + GIT_FILE))
            for item, code in self._decisions(items, prefix, rules):
                path = prefix + item.name
                if path in self.options.exclude or self._is_memo(item):
                    continue
                entry = item, path, code, ignored
                if code & DESCEND if code & IGNORED else code & IS_DIR:
                    pending.append((item.path, path + "/", bool(code & IGNORED), rules, entry))
                else:
                    yield entry

    def _decisions(
        self, items: list[os.DirEntry[str]], prefix: str, rules: Rules
    ) -> list[tuple[os.DirEntry[str], int]]:
        """Return the decision about each entry, from the memo if the ignore files have not changed."""
        known = self.old.dirs.get(prefix)
        codes: dict[str, int] = known[1] if known is not None and known[0] == rules.key else {}
        result = []
        for item in items:
            is_dir = item.is_dir(follow_symlinks=False)
            code = codes.get(item.name)
            if code is None or bool(code & IS_DIR) != is_dir:
                code = rules.decide(prefix + item.name, is_dir)
            result.append((item, code))
        self.new.dirs[prefix] = [rules.key, {item.name: code for item, code in result}]
        return result

    def _is_memo(self, item: os.DirEntry[str]) -> bool:
        """Return whether an entry is the memo, or a memo being written: neither is part of the tree."""
        memo = self.options.memo
        if memo is None or memo.name not in item.name:
            return False
        temporary = item.name.startswith(f".{memo.name}.") and item.name.endswith(".tmp")
        return (item.name == memo.name or temporary) and os.path.dirname(item.path) == str(memo.parent)

    def _add_dir(self, path: str) -> None:
        """Add a folder, and those above it that were ignored but contain an entry that is included again."""
        while path and path not in self.dirs:
            self.dirs.add(path)
            self.entries.append(TreeEntry(path=path, kind="dir"))
            path = posixpath.dirname(path)

    def _add(self, item: os.DirEntry[str], path: str) -> None:
        try:
            status = item.stat(follow_symlinks=False)
        except OSError as fault:
            raise tree_entries.unreadable(path, fault) from fault
        if (status.st_dev, status.st_ino) in self.options.never:
            return
        if stat.S_ISLNK(status.st_mode):
            self.entries.append(tree_entries.read_link(item.path, path, self.options.top))
            return
        if not stat.S_ISREG(status.st_mode):
            raise tree_entries.special(path)
        known = self.old.files.get(path)
        if (
            known is not None
            and known[0] == status.st_size
            and known[1] == status.st_mtime_ns
            and known[2] == status.st_ctime_ns
            and known[3] == status.st_ino
        ):
            executable = bool(status.st_mode & stat.S_IXUSR)
            entry = TreeEntry(path=path, kind="file", digest=known[4], size=status.st_size, executable=executable)
        else:
            may = posixpath.join(self.options.top, path) in self.options.allowed
            entry, known = tree_entries.read_file(item.path, path, may_be_secret=may)
        self.entries.append(entry)
        if known is not None:
            self.new.files[path] = known
