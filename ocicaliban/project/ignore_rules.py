"""Decide which files of a project stay out of the image: .containerignore, .dockerignore, .gitignore, built-in rules.

The first of .containerignore and .dockerignore that exists applies alone, with Docker's rules; otherwise every
.gitignore applies, with git's rules.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.sizes import check_size
from ocicaliban.project import credential_files

DEFAULT_IGNORES = (
    *(".git", ".hg", ".svn", "__pycache__", "*.py[cod]", "*.egg-info", ".venv", "venv", ".tox", ".nox", ".mypy_cache"),
    *(".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".DS_Store", *credential_files.NAMES),
    ".ocicaliban.schema.json",  # of `init`, for editors
    *(".ocicaliban.lock.*", ".ocicaliban.notebook.lock.*"),  # lock files that another command is writing
)
"""The built-in rules, at any depth; an ignore file includes such a file again with a line that starts with `!`."""

GIT_FILE = ".gitignore"
_DOCKER_FILES = (".containerignore", ".dockerignore")
_GIT_EXCLUDE = ".git/info/exclude"
_BUILT_IN = re.compile("|".join(map(fnmatch.translate, DEFAULT_IGNORES)))
_END = "\x01"  # ends both a pattern and the path to match, so that the pattern cannot match a mere prefix of the path

IS_DIR, IGNORED, DESCEND = 1, 2, 4
"""What a decision about a path consists of; DESCEND: an ignored folder may contain files that are included again."""

_MOST = 10
"""Stars in one name of a pattern, and `**/` in a pattern."""
_Search = Callable[[str], object]


def _compile(body: str) -> _Search | None:
    """Compile a gitignore pattern; return None if git would drop it."""
    from pathspec import GitIgnoreSpec

    # git takes more stars for two of them. Many in one name, or many folders, would be tried in all combinations.
    body = re.sub(r"(?:\*\*/){2,}", "**/", re.sub(r"\*{3,}", "**", body))
    if body.count("**/") > _MOST or any(segment.count("*") > _MOST for segment in body.split("/")):
        raise UsageError(f"an ignore file has a pattern with too many stars: {body}", "divide it into several patterns")
    try:
        # The "!" keeps a leading "#" or "!" of the body literal; only the regex is used.
        patterns = list(GitIgnoreSpec.from_lines(["!" + body]).patterns)
    except (ValueError, re.error):  # re.error: [a-[x]
        return None
    regex = patterns[0].regex if patterns else None
    return regex.search if isinstance(regex, re.Pattern) else None


@frozen
class _GitRule:
    """A line of a .gitignore; it is matched against the whole path of an entry (git never enters ignored folders)."""

    search: _Search
    include: bool
    dir_only: bool
    below: bool  # the pattern "x/**": everything below x

    def matches(self, path: str, is_dir: bool) -> bool:
        """Return whether the line matches an entry; `path` is relative to the folder of the .gitignore."""
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
                continue  # a trailing backslash: git never matches such a line
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
    """A line of a .dockerignore; a line that matches a folder matches everything below it."""

    search: _Search
    include: bool
    prefixes: tuple[_Search | None, ...]  # by depth: which folders may contain a match; None: any folder from here on

    def may_match_below(self, path: str) -> bool:
        """Return whether something under the folder `path` could match (True if in doubt)."""
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
    """Parse a .dockerignore as moby does: trim each line, normalize it as a path, anchor it."""
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
class DockerRules:
    """The rules of one .dockerignore for the whole project; `texts` are parsed at the first decision."""

    key: str
    texts: tuple[str, ...]

    def decide(self, path: str, is_dir: bool) -> int:
        """Return the decision about an entry: a sum of IS_DIR, IGNORED and DESCEND."""
        code = IS_DIR if is_dir else 0
        rules = [rule for text in self.texts for rule in _docker_rules(text)]
        last = -1
        for index in range(len(rules) - 1, -1, -1):
            if rules[index].search(path) is not None:
                last = index
                break
        if last < 0 or rules[last].include:
            return code
        if is_dir and any(rule.include and rule.may_match_below(path) for rule in rules[last + 1 :]):
            code |= DESCEND
        return code | IGNORED


@frozen
class GitRules:
    """The rules of the .gitignore files from the root down to a folder, deepest first; parsed at the first decision."""

    key: str
    levels: tuple[tuple[int, str], ...]  # (length of the folder's path with "/", the file's text)

    def decide(self, path: str, is_dir: bool) -> int:
        """Return the decision about an entry: a sum of IS_DIR and IGNORED."""
        code = IS_DIR if is_dir else 0
        for start, text in self.levels:
            relative = path[start:]
            for rule in reversed(_git_rules(text)):
                if rule.matches(relative, is_dir):
                    return code if rule.include else code | IGNORED
        return code

    def within(self, prefix: str, text: str) -> GitRules:
        """Return the rules below the folder `prefix`, which has a .gitignore with this text."""
        key = _sha256(f"{self.key}\0{prefix}\0{text}")
        return GitRules(key, ((len(prefix), text), *self.levels))


Rules = DockerRules | GitRules


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _anywhere(patterns: tuple[str, ...]) -> str:
    """Return the lines of an ignore file, of either kind, that apply these patterns at any depth."""
    return "\n".join(f"**/{pattern}" for pattern in patterns)


def printable_path(path: str) -> str:
    """Return a path as it can be printed, even if it is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_ignore_file(path: str, relative: str) -> str:
    """Return the text of an ignore file, "" if there is none; `relative` names it in the error."""
    try:
        check_size(Path(path))
        return Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as fault:
        name = printable_path(relative)
        raise OcicalibanError(
            f"cannot read the ignore file {name}: {fault.strerror}", f"make {name} readable, or remove it"
        ) from fault


def ignore_file_name(root: Path) -> str:
    """Return the name of the ignore file that applies to the project in `root`, or to create if there is none.

    That is .gitignore unless a Docker file exists: a new .containerignore would disable the rules of .gitignore.
    """
    return next((name for name in _DOCKER_FILES if (root / name).is_file()), GIT_FILE)


def project_rules(root: str) -> Rules:
    """Read the rules that apply at the root of a project.

    A .gitignore, the root's included, is added with `GitRules.within`.
    """
    for name in _DOCKER_FILES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            text = read_ignore_file(path, name)
            defaults = _anywhere(DEFAULT_IGNORES)
            return DockerRules(_sha256(f"docker\0{defaults}\0{text}"), (defaults, text))
    text = _anywhere(DEFAULT_IGNORES)
    # Files that the clone's own list excludes are untracked, so leaving them out prevents leaks and makes two clones
    # more alike. The user's global list (core.excludesFile) is not read: its patterns are general, may match files
    # that the project tracks, and would make one user's image differ from another's.
    # The file is opened even if it may not exist, so that the recording notes that this result depends on it.
    text += "\n" + read_ignore_file(os.path.join(root, _GIT_EXCLUDE), _GIT_EXCLUDE)
    return GitRules(_sha256(f"git\0{text}"), ((0, text),))


def data_rules() -> GitRules:
    """Return the rules for a folder of data: only the names of credential files are left out."""
    text = _anywhere(credential_files.NAMES)
    return GitRules(_sha256(f"data\0{text}"), ((0, text),))


def is_source(root: Path, folder: str) -> bool:
    """Return whether files in `folder` (relative to `root`) are part of the project's source."""
    rules = project_rules(str(root))
    if isinstance(rules, GitRules):
        rules = rules.within("", read_ignore_file(str(root / GIT_FILE), GIT_FILE))
    names = folder.split("/")
    return not any(rules.decide("/".join(names[:depth]), True) & IGNORED for depth in range(1, len(names) + 1))


def is_built_in(path: str) -> bool:
    """Return whether the built-in rules leave a path out, as everybody expects: caches, `.git`, credentials."""
    parts = path.rstrip("/").split("/")
    return any(_BUILT_IN.fullmatch("/".join(parts[-depth:])) is not None for depth in (1, 2))
