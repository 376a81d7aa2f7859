"""Read the options of pip in lists of requirements; pure.

uv honours some of them by itself where it resolves, and passes over others without a word. The step that installs sees
only the locked requirements. So each option is read here: what it asks for is done in both places, or it is an error.
"""

from __future__ import annotations

import codecs
import io
import optparse
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.errors import UsageError

ALL, NONE = ":all:", ":none:"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_LISTS = (".toml", ".lock", ".py", ".cfg", ".yml", ".yaml")
_COMMENT = re.compile(r"(?:^|(?<!\s)\s+)#.*$")
_JOINED_COMMENT = re.compile(r"\s*[^\s#].*\s#")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s*)(.+)")
_PER_REQUIREMENT = ("--config-settings", "--config-setting", "-C", "--global-option", "--install-option")
_DROPPED = ("-Z", "--always-unzip", "--use-wheel", "--no-use-wheel", "--allow-external", "--allow-unverified",
            "--allow-all-external", "--process-dependency-links")  # fmt: skip
_BUILD = (
    "build the wheel with it yourself (`pip wheel --no-deps -w wheels ...`), remove the option, and add the line:"
    " --find-links wheels"
)


@frozen(kw_only=True)
class PipOptions:
    """What the options in lists of requirements ask for.

    `no_binary` and `only_binary` are normalized names of packages, or `:all:`. `indexes` and `find_links` have no
    variables any more, and a folder is an absolute path. `harmless` are those without an effect on what is installed.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    insecure_hosts: tuple[str, ...] = ()
    no_binary: frozenset[str] = frozenset()
    only_binary: frozenset[str] = frozenset()
    prefer_binary: bool = False
    prereleases: bool = False
    require_hashes: bool = False
    harmless: tuple[str, ...] = ()

    @property
    def decide_on_archives(self) -> bool:
        """Whether they allow some of a package's archives alone."""
        return bool(self.no_binary or self.only_binary or self.prefer_binary)

    @property
    def decide(self) -> bool:
        """Whether they decide on versions or archives."""
        return self.decide_on_archives or self.prereleases or self.require_hashes

    def wanted_format(self, package: str) -> str:
        """Return "source" or "wheel" if only such an archive of a package may be installed, else ""."""
        if package in self.no_binary:
            return "source"
        if package in self.only_binary:
            return "wheel"
        return "source" if ALL in self.no_binary else "wheel" if ALL in self.only_binary else ""


def is_list(path: Path) -> bool:
    """Whether a file is a list of requirements, by its name."""
    return path.suffix.lower() not in _NOT_LISTS and path.name.lower() != "pipfile"


def decoded(data: bytes) -> str:
    """Return the text of a file as pip and uv decode it: the mark at its beginning, if there is one, says how."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape").read()


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list as pip joins them, without comments, each with the number of its first line."""
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            whole += line.strip("\\")
            continue
        yield first, _COMMENT.sub("", whole if is_comment and whole else whole + line).strip()
        whole, first = "", 0
    if whole:
        yield first, _COMMENT.sub("", whole).strip()


def joined(text: str) -> str:
    """Return a list in which each requirement that continues on the next line, as pip reads it, is on a single one.

    uv joins lines only before a hash, a comment and the value of an option; these stay as they are.
    """
    lines = text.splitlines(keepends=True)
    wholes = [*logical_lines(text), (len(lines) + 1, "")]
    out: list[str] = []
    for (first, whole), (following, _) in pairwise(wholes):
        own = lines[first - 1 : following - 1]
        more = [line.strip() for line in own[1:]]
        kept = all(line.startswith(("--hash", "#")) for line in more) and not (
            own[-1].rstrip("\r\n").endswith("\\") and not _COMMENT.match(own[-1])
        )
        out += own if kept else [f"{whole}\n"]
    return "".join(out)


def included(text: str) -> list[str]:
    """Return the paths of the lists that a list includes, as it writes them."""
    found = (_INCLUDE.fullmatch(line) for _, line in logical_lines(text))
    return [" ".join(_words(match[1])) for match in found if match]


def read_options(texts: Mapping[str, str], root: Path, environ: Mapping[str, str] = os.environ) -> PipOptions:
    """Return the options in lists of requirements, given their texts by their paths relative to `root`.

    Raises UsageError, with file and line, for one that cannot be honoured.
    """
    found = _Found()
    for name, text in texts.items():
        folder = (root / name).parent
        for number, line in enumerate(text.splitlines(), 1):
            if line.endswith("\\") and _JOINED_COMMENT.match(line):
                message = f"{name}:{number}: a comment ends with a backslash, so pip skips the next line"
                raise UsageError(message, "remove the backslash")
        for number, line in logical_lines(text):
            place = f"{name}:{number}"
            expanded = _VARIABLE.sub(lambda match: environ.get(match[1], match[0]), line)
            if line.startswith("-"):
                found.add(_parsed(expanded, place), folder)
            elif option := re.search(r"\s(-{1,2}[A-Za-z][\w-]*)", line):
                _check_requirement(option[1], place)
    return found.options()


def _check_requirement(option: str, place: str) -> None:
    """Raise UsageError for an option of a single requirement that is not its hash."""
    if option == "--hash":
        return
    if option in _PER_REQUIREMENT:
        raise UsageError(f"{place}: {option} of a requirement is not supported", _BUILD)
    raise UsageError(f"{place}: {option} cannot follow a requirement", "write the option on a line of its own")


class _Parser(optparse.OptionParser):
    """pip's options of a list. One that it does not know is an error."""

    place = ""

    def error(self, msg: str) -> NoReturn:
        """Raise UsageError with optparse's message."""
        option = next(iter(re.findall(r"-{1,2}[A-Za-z][\w-]*", msg)), "")
        if option in _PER_REQUIREMENT:
            raise UsageError(f"{self.place}: {option} is not supported", _BUILD)
        if option in _DROPPED:
            raise UsageError(f"{self.place}: pip has dropped the option {option}", "remove the line")
        hint = "remove the line: pip knows no such option in a list of requirements"
        raise UsageError(f"{self.place}: {msg}", hint)


def _parser(place: str) -> _Parser:
    parser = _Parser(add_help_option=False, usage=optparse.SUPPRESS_USAGE)
    parser.place = place
    for names in (
        ("-i", "--index-url", "--pypi-url"),
        ("-r", "--requirement"),
        ("-c", "--constraint"),
        ("-e", "--editable"),
        ("--hash",),
    ):
        parser.add_option(*names)
    for names in (
        ("--extra-index-url",),
        ("-f", "--find-links"),
        ("--trusted-host",),
        ("--use-feature",),
    ):
        parser.add_option(*names, action="append", default=[])
    for name in ("--no-index", "--prefer-binary", "--require-hashes", "--pre"):
        parser.add_option(name, action="store_true", default=False)
    # Both in one list: a later one takes the names from the earlier.
    parser.add_option("--no-binary", "--only-binary", action="callback", callback=_format, type="string", default=())
    return parser


def _format(option: optparse.Option, name: str, value: str, parser: optparse.OptionParser) -> None:
    assert parser.values
    parser.values.no_binary = (*parser.values.no_binary, (name, value))


def _parsed(line: str, place: str) -> Any:
    parser = _parser(place)
    options, _ = parser.parse_args(_words(line))
    return options


def _words(line: str) -> list[str]:
    """Return the words of a line, which may be quoted."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


class _Found:
    """The options, as they add up."""

    def __init__(self) -> None:
        """Begin without any."""
        self._indexes: list[str] = []
        self._links: list[str] = []
        self._hosts: list[str] = []
        self._formats: dict[str, set[str]] = {"--no-binary": set(), "--only-binary": set()}
        self._flags: set[str] = set()
        self._harmless: list[str] = []

    def add(self, given: Any, folder: Path) -> None:
        """Add the options of a line. Paths are relative to the `folder` of the list, if they exist there."""
        self._indexes += [*filter(None, [given.index_url]), *given.extra_index_url]
        self._links += [_place(link, folder) for link in given.find_links]
        self._hosts += given.trusted_host
        self._harmless += [f"--use-feature {name}" for name in given.use_feature]
        self._flags |= {name for name in ("no_index", "prefer_binary", "require_hashes", "pre") if getattr(given, name)}
        for option, value in given.no_binary:
            self._set_format(option, value)

    def _set_format(self, option: str, value: str) -> None:
        """Take the names of --no-binary or --only-binary, as pip does: `:none:` clears those before it."""
        target = self._formats[option]
        other = next(names for name, names in self._formats.items() if name != option)
        for name in value.split(","):
            if name == NONE:
                target.clear()
            elif name == ALL:
                other.clear()
                target.clear()
                target.add(ALL)
            elif name.strip():
                target.add(normalized(name.strip()))
                other.discard(normalized(name.strip()))

    def options(self) -> PipOptions:
        """Return all of them."""
        return PipOptions(
            indexes=tuple(dict.fromkeys(self._indexes)),
            find_links=tuple(dict.fromkeys(self._links)),
            no_index="no_index" in self._flags,
            insecure_hosts=tuple(dict.fromkeys(self._hosts)),
            no_binary=frozenset(self._formats["--no-binary"]),
            only_binary=frozenset(self._formats["--only-binary"]),
            prefer_binary="prefer_binary" in self._flags,
            prereleases="pre" in self._flags,
            require_hashes="require_hashes" in self._flags,
            harmless=tuple(dict.fromkeys(self._harmless)),
        )


def _place(link: str, folder: Path) -> str:
    """Return a page or folder with links to archives: a relative path is meant from the list's folder."""
    path = folder / link
    return str(path.resolve()) if "://" not in link and path.exists() else link
