"""Read a folder of the project into a `Tree`: what enters the image, and the digest of it."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import json
import os
import posixpath
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.system import files as paths

_CREDENTIALS = (
    # All of .env.* but .env.example: a `!` would have every ignored folder searched for one.
    *(".env", ".env.[!e]*", ".env.e[!x]*", ".netrc", ".pypirc", ".git-credentials", ".docker/config.json"),
    *(".aws", ".ssh", "id_rsa", "id_ed25519", "application_default_credentials.json"),
)
"""Left out of folders of data too: they are named by the folder, and nobody means these by it."""

DEFAULT_IGNORES = (
    *(".git", ".hg", ".svn", "__pycache__", "*.py[cod]", ".venv", "venv", ".tox", ".nox", ".mypy_cache"),
    *(".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".DS_Store", *_CREDENTIALS),
    ".ocicaliban.lock.*",  # one that another command is just writing
)
"""Left out unless an ignore file re-includes them with `!`; at any depth."""

_BUILT_IN = re.compile("|".join(map(fnmatch.translate, DEFAULT_IGNORES)))
_DOCKER_FILES = (".containerignore", ".dockerignore")
_GIT_FILE = ".gitignore"
_GIT_EXCLUDE = ".git/info/exclude"
_MEMO_HEADER = b"ocicaliban-tree-memo 2 "  # since 2 no file of it is a credential
_RACY_NS = 2_000_000_000
_CHUNK = 1 << 20
_END = "\x01"  # ends a pattern and the path it is held against, so that it cannot match a mere prefix of the path

_Search = Callable[[str], object]
_IS_DIR, _IGNORED, _DESCEND = 1, 2, 4


# --- ignore rules ---


def _compile(body: str) -> _Search | None:
    """Let pathspec compile a gitignore pattern; None where git would drop it."""
    from pathspec import GitIgnoreSpec

    try:
        # The "!" keeps a body that starts with "#" or "!" literal; what counts here is the regex alone.
        patterns = list(GitIgnoreSpec.from_lines(["!" + body]).patterns)
    except ValueError:
        return None
    regex = patterns[0].regex if patterns else None
    return regex.search if isinstance(regex, re.Pattern) else None


@frozen
class _GitRule:
    """A line of a .gitignore, held against the whole path of one entry (git descends into no ignored folder)."""

    search: _Search
    include: bool
    dir_only: bool
    below: bool  # "x/**": all below x

    def matches(self, path: str, is_dir: bool) -> bool:
        """Whether this line is about that entry; `path` relative to the folder of the .gitignore."""
        if self.dir_only and not is_dir:
            return False
        return self.search(path if self.below else path + _END) is not None


@functools.cache
def _git_rules(text: str) -> tuple[_GitRule, ...]:
    """Parse a .gitignore."""
    rules = []
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        if line.startswith("#"):
            continue
        stripped = line.rstrip(" ")
        escapes = len(stripped) - len(stripped.rstrip("\\"))
        if escapes % 2:
            if stripped == line:
                continue  # a dangling backslash: git never matches it
            stripped += " "
        include = stripped.startswith("!")
        body = stripped[1:] if include else stripped
        dir_only = body.endswith("/")
        body = body.removesuffix("/")
        if not body:
            continue
        if body == "**":
            body = "*"
        below = body.endswith("/**")
        search = _compile(body if below else body + _END)
        if search is not None:
            rules.append(_GitRule(search, include, dir_only, below))
    return tuple(rules)


@frozen
class _DockerRule:
    """A line of a .dockerignore; what matches a folder matches all below it."""

    search: _Search
    include: bool
    prefixes: tuple[_Search | None, ...]  # by depth: which folders may hold a match; None: any from here on

    def may_match_below(self, path: str) -> bool:
        """Whether something under the folder `path` could match (errs on the side of yes)."""
        depth = path.count("/")
        for position, prefix in enumerate(self.prefixes):
            if prefix is None:
                return True
            if position == depth:
                return prefix(path + _END) is not None
        return False


def _docker_rule(pattern: str, include: bool) -> _DockerRule | None:
    """Translate a cleaned Docker pattern (relative to the root) into an anchored gitignore pattern."""
    search = _compile("/" + pattern)
    if search is None:
        return None
    prefixes: list[_Search | None] = []
    if include:
        segments = pattern.split("/")
        for depth in range(1, len(segments) + 1):
            if "**" in segments[depth - 1]:
                prefixes.append(None)
                break
            if depth < len(segments):
                prefixes.append(_compile("/" + "/".join(segments[:depth]) + _END))
    return _DockerRule(search, include, tuple(prefixes))


@functools.cache
def _docker_rules(text: str) -> tuple[_DockerRule, ...]:
    """Parse a .dockerignore as moby does: trimmed, cleaned as a path, anchored."""
    rules = []
    for raw in text.splitlines():
        if raw.startswith("#"):
            continue
        line = raw.strip()
        include = line.startswith("!")
        body = line[1:].strip() if include else line
        if not body:
            continue
        pattern = posixpath.normpath(body).lstrip("/")
        if pattern in ("", "."):
            continue
        rule = _docker_rule(pattern, include)
        if rule is not None:
            rules.append(rule)
    return tuple(rules)


@frozen
class _Docker:
    """The decision by one .dockerignore over the whole project; its text is parsed when there is one to make."""

    key: str
    texts: tuple[str, ...]

    def decide(self, path: str, is_dir: bool) -> int:
        """The code (_IS_DIR | _IGNORED | _DESCEND) of an entry."""
        code = _IS_DIR if is_dir else 0
        rules = [rule for text in self.texts for rule in _docker_rules(text)]
        last = -1
        for index in range(len(rules) - 1, -1, -1):
            if rules[index].search(path) is not None:
                last = index
                break
        if last < 0 or rules[last].include:
            return code
        if is_dir and any(rule.include and rule.may_match_below(path) for rule in rules[last + 1 :]):
            code |= _DESCEND
        return code | _IGNORED


@frozen
class _Git:
    """The decision by the .gitignore files from the root down to a folder, the deepest first; parsed when needed."""

    key: str
    levels: tuple[tuple[int, str], ...]  # (length of the folder's path with "/", the file's text)

    def decide(self, path: str, is_dir: bool) -> int:
        """The code (_IS_DIR | _IGNORED) of an entry."""
        code = _IS_DIR if is_dir else 0
        for start, text in self.levels:
            relative = path[start:]
            for rule in reversed(_git_rules(text)):
                if rule.matches(relative, is_dir):
                    return code if rule.include else code | _IGNORED
        return code

    def within(self, prefix: str, text: str) -> _Git:
        """The decision below the folder `prefix`, which holds a .gitignore of its own."""
        key = _sha256(f"{self.key}\0{prefix}\0{text}")
        return _Git(key, ((len(prefix), text), *self.levels))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read_ignore_file(path: str, relative: str) -> str:
    try:
        return Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as fault:
        raise OcicalibanError(
            f"cannot read the ignore file {_shown(relative)}: {fault.strerror}",
            f"Make {_shown(relative)} readable, or remove it.",
        ) from fault


def _anywhere(patterns: tuple[str, ...]) -> str:
    """The lines of an ignore file, of either kind, that hold for these patterns at any depth."""
    return "\n".join(f"**/{pattern}" for pattern in patterns)


def ignore_file(root: Path) -> str:
    """The name of the ignore file that counts for the project in `root`, or would if it were there.

    A first .containerignore would switch off what the .gitignore says.
    """
    return next((name for name in _DOCKER_FILES if (root / name).is_file()), _GIT_FILE)


def _rules_of(root: str) -> _Docker | _Git:
    for name in _DOCKER_FILES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            text = _read_ignore_file(path, name)
            defaults = _anywhere(DEFAULT_IGNORES)
            return _Docker(_sha256(f"docker\0{defaults}\0{text}"), (defaults, text))
    text = _anywhere(DEFAULT_IGNORES)
    # What git ignores by the clone's own list is untracked by nature, so that leaving it out keeps it from leaking
    # and brings two clones closer together. The user's global list (core.excludesFile) is not read: its patterns are
    # general, may hit files that the project tracks, and would so make one user's image differ from another's.
    # Opened without asking whether it is there, so that it is on record as something this reading depends on.
    text += "\n" + _read_ignore_file(os.path.join(root, _GIT_EXCLUDE), _GIT_EXCLUDE)
    return _Git(_sha256(f"git\0{text}"), ((0, text),))


def takes(root: Path, folder: str) -> bool:
    """Whether what is put into `folder` (relative to `root`) would be part of the project's source."""
    rules = _rules_of(str(root))
    if isinstance(rules, _Git):
        rules = rules.within("", _read_ignore_file(str(root / _GIT_FILE), _GIT_FILE))
    names = folder.split("/")
    return not any(rules.decide("/".join(names[:depth]), True) & _IGNORED for depth in range(1, len(names) + 1))


_DATA = _anywhere(_CREDENTIALS)


# --- memo ---


@frozen
class _Memo:
    """What an earlier read found: `files` path -> [size, mtime_ns, ctime_ns, inode, digest]; `dirs` folder ->
    [key of the ignore rules, {name: code}]."""

    files: dict[str, list[Any]] = field(factory=dict)
    dirs: dict[str, list[Any]] = field(factory=dict)


def _load_memo(path: Path) -> _Memo:
    """Read a memo; an absent, corrupt or foreign one is empty."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return _Memo()
    if head != _MEMO_HEADER + hashlib.sha256(body).hexdigest().encode():
        return _Memo()
    data = json.loads(body)  # its checksum holds, so this is what _save_memo wrote
    return _Memo(data["files"], data["dirs"])


def _save_memo(path: Path, memo: _Memo) -> None:
    """Replace a memo at once; it only saves time, so a folder that cannot be written to is no fault."""
    body = json.dumps({"files": memo.files, "dirs": memo.dirs}, separators=(",", ":")).encode()
    with contextlib.suppress(OSError):
        head = _MEMO_HEADER + hashlib.sha256(body).hexdigest().encode()
        paths.keep(path, head + b"\n" + body, mode=0o600)


# --- reading ---


def _shown(path: str) -> str:
    """A path as it can be printed, also if it is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class _Refused(Exception):
    """Something that no image can hold, or should."""

    def __init__(self, path: str, what: str, fix: str) -> None:
        super().__init__(path, what, fix)
        self.path, self.what, self.fix = path, what, fix

    def told(self, top: str, ignores: str) -> OcicalibanError:
        """The error, of a tree that lies in the folder `top` of the project; `ignores`, the ignore file that counts."""
        path = _shown(posixpath.join(top, self.path))
        hint = f"Add {path} to {ignores}, or {self.fix}." if ignores else f"{self.fix[:1].upper()}{self.fix[1:]}."
        return OcicalibanError(f"{path}: {self.what}", hint)


def _unreadable(path: str, fault: OSError) -> _Refused:
    return _Refused(path, f"cannot be read: {fault.strerror}", "make it readable")


_LARGEST_CREDENTIAL = 16384  # bytes: no login, and no key of an account, has more


def _credential(data: bytes) -> str:
    """What a file's contents give away to whoever reads them; "" where they are no such thing.

    Known by their form are the key and login files of Google (AIP-4110 has their types), and the auth files of
    containers-auth.json(5), of Docker's too.
    """
    if not re.search(rb'"(?:private_key|refresh_token|auths)"', data):
        return ""
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(held, dict):
        return ""
    if held.get("private_key") and held.get("type") in ("service_account", "gdch_service_account"):
        return "the private key of a service account"
    if held.get("refresh_token") and held.get("type") in ("authorized_user", "external_account_authorized_user"):
        return "somebody's login at Google"
    auths = held.get("auths")
    entries = auths.values() if isinstance(auths, dict) else ()
    if any(isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")) for entry in entries):
        return "a login at a registry"
    return ""


def _special(path: str) -> _Refused:
    return _Refused(path, "is a socket, FIFO or device, which an image cannot hold", "remove it")


def _link(absolute: str, path: str, top: str) -> TreeEntry:
    try:
        target = os.readlink(absolute)
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    if not _is_utf8(target):
        raise _Refused(path, "links to a name that is not UTF-8", "rename its target")
    place = posixpath.join(top, path)
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        mount = f'--podman-args "-v {_shown(os.path.realpath(absolute))}:/usr/app/{_shown(place)}:ro"'
        raise _Refused(
            path,
            f"links out of the project, to {target}",
            f"link to something inside it, by a relative path; what is left out can be mounted: {mount}",
        )
    return TreeEntry(path=path, kind="link", digest=target)


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _signature(status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hash_file(absolute: str, path: str) -> tuple[TreeEntry, list[Any] | None]:
    """Read a file; also what to remember of it, or None if it changed too lately to be trusted.

    Raises _Refused for what cannot be read, and for a credential: no image holds one.
    """
    now = time.time_ns()
    hasher = hashlib.sha256()
    size = 0
    last = b""
    try:
        handle = os.open(absolute, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise _special(path)
            while chunk := os.read(handle, _CHUNK):
                hasher.update(chunk)
                size += len(chunk)
                last = chunk
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    if size == len(last) <= _LARGEST_CREDENTIAL and (what := _credential(last)):
        fix = "move it elsewhere (--cloud-key lets a container have a key of Google's, and no image)"
        raise _Refused(path, f"holds {what}, which must not get into an image", fix)
    digest = hasher.hexdigest()
    entry = TreeEntry(path=path, kind="file", digest=digest, size=size, executable=bool(after.st_mode & stat.S_IXUSR))
    settled = now - max(after.st_mtime_ns, after.st_ctime_ns) > _RACY_NS
    if not settled or _signature(before) != _signature(after) or size != after.st_size:
        return entry, None
    return entry, [*_signature(after), digest]


def _scan(absolute: str) -> list[os.DirEntry[str]]:
    with os.scandir(absolute) as found:
        return list(found)


class _Reader:
    """One walk over a folder."""

    def __init__(
        self,
        root: str,
        old: _Memo,
        exclude: frozenset[str],
        never: frozenset[tuple[int, int]],
        memo: Path | None,
        ignore: bool,
        top: str = "",
    ) -> None:
        self.root = root
        self.top = top
        self.never = never
        self.old = old
        self.new = _Memo()
        self.exclude = exclude
        self.memo = memo
        self.ignore = ignore
        self.entries: list[TreeEntry] = []
        self.dirs: set[str] = set()

    def walk(self) -> None:
        """Fill `entries` and `new`."""
        for item, path, code, ignored in self.visit():
            if code & _IGNORED:
                continue
            if not _is_utf8(path):
                raise _Refused(path, "has a name that is not UTF-8", "rename it")
            if item.name.startswith(".wh."):
                raise _Refused(path, "has a name that means a removed file in an image's layer", "rename it")
            if ignored:
                self._add_dir(posixpath.dirname(path))
            if code & _IS_DIR:
                self._add_dir(path)
            else:
                self._add(item, path)

    def visit(self, *, lenient: bool = False) -> Iterator[tuple[os.DirEntry[str], str, int, bool]]:
        """Each entry with its path, its code, and whether its folder is ignored.

        Of an ignored folder only the folder, unless something in it may be let in again. A folder that cannot be read
        is a fault, but for a `lenient` visitor.
        """
        if "." in self.exclude:
            return
        rules = _rules_of(self.root) if self.ignore else _Git(_sha256(f"data\0{_DATA}"), ((0, _DATA),))
        pending: list[tuple[str, str, bool, _Docker | _Git]] = [(self.root, "", False, rules)]
        while pending:
            absolute, prefix, ignored, rules = pending.pop()
            try:
                found = _scan(absolute)
            except OSError as fault:
                if ignored or lenient:
                    continue
                raise _unreadable(prefix.rstrip("/") or ".", fault) from fault
            if self.ignore and isinstance(rules, _Git):
                for item in found:
                    if item.name == _GIT_FILE and item.is_file(follow_symlinks=False):
                        rules = rules.within(prefix, _read_ignore_file(item.path, prefix + _GIT_FILE))
            for item, code in self._decisions(found, prefix, rules):
                path = prefix + item.name
                if path in self.exclude or self._is_memo(item):
                    continue
                yield item, path, code, ignored
                if code & _DESCEND if code & _IGNORED else code & _IS_DIR:
                    pending.append((item.path, path + "/", bool(code & _IGNORED), rules))

    def _decisions(
        self, found: list[os.DirEntry[str]], prefix: str, rules: _Docker | _Git
    ) -> list[tuple[os.DirEntry[str], int]]:
        """Each entry's code, remembered as long as the ignore files stay as they are."""
        known = self.old.dirs.get(prefix)
        codes: dict[str, int] = known[1] if known is not None and known[0] == rules.key else {}
        result = []
        for item in found:
            is_dir = item.is_dir(follow_symlinks=False)
            code = codes.get(item.name)
            if code is None or bool(code & _IS_DIR) != is_dir:
                code = rules.decide(prefix + item.name, is_dir)
            result.append((item, code))
        self.new.dirs[prefix] = [rules.key, {item.name: code for item, code in result}]
        return result

    def _is_memo(self, item: os.DirEntry[str]) -> bool:
        """Whether this is the memo itself, or one being written: no part of the tree it is about."""
        if self.memo is None or self.memo.name not in item.name:
            return False
        temporary = item.name.startswith(f".{self.memo.name}.") and item.name.endswith(".tmp")
        return (item.name == self.memo.name or temporary) and os.path.dirname(item.path) == str(self.memo.parent)

    def _add_dir(self, path: str) -> None:
        """Take a folder, and those above it that came only with a re-included entry."""
        while path and path not in self.dirs:
            self.dirs.add(path)
            self.entries.append(TreeEntry(path=path, kind="dir"))
            path = posixpath.dirname(path)

    def _add(self, item: os.DirEntry[str], path: str) -> None:
        try:
            status = item.stat(follow_symlinks=False)
        except OSError as fault:
            raise _unreadable(path, fault) from fault
        if (status.st_dev, status.st_ino) in self.never:
            return
        if stat.S_ISLNK(status.st_mode):
            self.entries.append(_link(item.path, path, self.top))
            return
        if not stat.S_ISREG(status.st_mode):
            raise _special(path)
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
            entry, known = _hash_file(item.path, path)
        self.entries.append(entry)
        if known is not None:
            self.new.files[path] = known


def _digest(entries: tuple[TreeEntry, ...]) -> str:
    """Hash entries; no field can hold a NUL, so the NULs keep fields and entries apart."""
    lines = [f"{e.kind}\0{'x' if e.executable else '-'}\0{e.digest}\0{e.path}\0" for e in entries]
    return hashlib.sha256(b"ocicaliban-tree 1\0" + "".join(lines).encode()).hexdigest()


def read_tree(
    root: Path,
    *,
    memo: Path | None = None,
    exclude: tuple[str, ...] = (),
    never: tuple[Path, ...] = (),
    ignore: bool = True,
    top: str = "",
) -> Tree:
    """Read a folder as it enters an image, without what its ignore files leave out.

    Inputs: `root`, the folder; `memo`, a file that keeps digests and ignore decisions between reads (one for
    each root and set of options; never part of the tree itself); `exclude`, paths relative to `root` that are
    always left out; `never`, files that are left out under whatever name the folder has them, hard links included;
    `top`, the folder's own path in the project, within which links may lead; `ignore`, False to read everything but
    files that hold credentials, whatever the ignore files and the rest of the built-in list say.

    Of the ignore files the first that exists counts: .containerignore, .dockerignore (patterns as Docker reads
    them, except that `**` within a name stops at `/`), else every .gitignore and .git/info/exclude.

    Output: the `Tree`, its entries sorted by path; its digest depends on paths, contents, link targets and the
    owner's executable bit alone.

    Raises OcicalibanError, never because of an ignored path: `root` is no folder; a link leaves it; a name is
    not UTF-8, or begins with .wh.; a socket, FIFO or device; something that cannot be read; a file that is a credential
    by its contents.
    """
    if not root.is_dir():
        raise OcicalibanError(f"{_shown(str(root))}: no such folder", "Name the folder that holds the project.")
    absolute = os.path.abspath(root)
    memo = Path(os.path.abspath(memo)) if memo is not None else None
    old = _load_memo(memo) if memo is not None else _Memo()
    excluded = frozenset(posixpath.normpath(path) for path in exclude)
    reader = _Reader(absolute, old, excluded, _identities(never), memo, ignore, top)
    try:
        reader.walk()
    except _Refused as fault:
        raise fault.told(top, ignore_file(root) if ignore else "") from fault
    if memo is not None and reader.new != old:
        _save_memo(memo, reader.new)
    entries = tuple(sorted(reader.entries, key=lambda entry: entry.path))
    return Tree(root=root, digest=_digest(entries), entries=entries)


_HEAVY = 1_000_000
"""From how many bytes a folder is a part of its own: storing less takes no longer than storing one more layer."""
_MOST = 8
"""How many folders are; each costs a tenth of a second whenever one below it changes."""


def parts(tree: Tree) -> tuple[tuple[str, Tree], ...]:
    """A project's tree in parts that change seldom together: heavy folders at its top, and "" for all else.

    The heaviest come first, the rest last; every entry is in exactly one part. Pure.
    """
    weights: dict[str, int] = {}
    for entry in tree.entries:
        top, slash, _ = entry.path.partition("/")
        if slash:
            weights[top] = weights.get(top, 0) + entry.size
    heavy = sorted((name for name, size in weights.items() if size >= _HEAVY), key=lambda name: (-weights[name], name))
    if not heavy:
        return (("", tree),)
    found: dict[str, list[TreeEntry]] = {name: [] for name in (*heavy[:_MOST], "")}
    for entry in tree.entries:
        top = entry.path.partition("/")[0]
        found[top if top in found else ""].append(entry)
    divided = ((name, tuple(entries)) for name, entries in found.items())
    return tuple((name, Tree(root=tree.root, digest=_digest(entries), entries=entries)) for name, entries in divided)


def _identities(files: tuple[Path, ...]) -> frozenset[tuple[int, int]]:
    """What tells a file from all others, by whatever name it is found: of the files that there are."""
    found = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(file)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def left_out(root: Path, *, memo: Path | None = None, exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What the ignore files of a folder, or the built-in list, keep out of an image, by path.

    An ignored folder stands for all in it, and ends with a slash. No file is read but the ignore files; `memo` is the
    one of `read_tree`, which is not written here. A folder that cannot be read counts as empty.
    """
    old = _load_memo(memo) if memo is not None else _Memo()
    excluded = frozenset(posixpath.normpath(path) for path in exclude)
    reader = _Reader(os.path.abspath(root), old, excluded, frozenset(), memo, ignore=True)
    found = (
        _shown(path) + ("/" if code & _IS_DIR else "")
        for _, path, code, _ in reader.visit(lenient=True)
        if code & _IGNORED and not code & _DESCEND
    )
    return tuple(sorted(found))


def is_built_in(path: str) -> bool:
    """Whether the built-in list says of a path that is left out what anybody would expect: caches, `.git`, secrets."""
    parts = path.rstrip("/").split("/")
    return any(_BUILT_IN.fullmatch("/".join(parts[-depth:])) is not None for depth in (1, 2))


def whole_folders(tree: Tree) -> frozenset[str]:
    """The folders of a tree, "" for itself, of which nothing that lies on the disk is left out."""
    paths = {entry.path for entry in tree.entries}
    folders = [entry.path for entry in tree.entries if entry.kind == "dir"]
    whole: set[str] = set()
    for folder in sorted(["", *folders], reverse=True):  # what lies in a folder comes before it
        inside = _scan(os.path.join(tree.root, folder))
        if all(
            (path := posixpath.join(folder, item.name)) in paths
            and (path in whole or not item.is_dir(follow_symlinks=False))
            for item in inside
        ):
            whole.add(folder)
    return frozenset(whole)
