"""What the output of a failure means, and what to do: looked up in the table `hints.toml`."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from ocicaliban.errors import ToolError
from ocicaliban.model.project import Project

Stage = Literal["resolve", "build", "run"]
"""Where something failed: on this machine, to learn the dependencies; in the image; or in a container."""

_END = 60
"""The lines at the end of a run's output that count: a script may have survived earlier faults."""

_HALF = 1000
"""The characters at the beginning and at the end of a line that count."""


@frozen(kw_only=True)
class Finding:
    """A row of the table that matches: what it is `about` ("" or "module" or "file"), and the words that it caught.

    `packages` are Debian packages that are missing, and `text` is what else there is to say.
    """

    about: str = ""
    words: Mapping[str, str] = field(factory=dict)
    packages: tuple[str, ...] = ()
    text: str = ""

    @property
    def what(self) -> str:
        """The module or the file."""
        return self.words.get("what", "")

    def as_hint(self, *, has_packages: bool = False) -> str:
        """Return the hint; `has_packages` says that the project's configuration names Debian packages already."""
        if not self.packages:
            return self.text
        line = apt_line(self.packages, added=has_packages)
        return f"{line}; {self.text}" if self.text else line


def apt_line(packages: Iterable[str], *, added: bool = False) -> str:
    """Return what to write into ocicaliban.toml for Debian packages, `added` to others or not."""
    names = ", ".join(f'"{name}"' for name in packages)
    return (
        f"in ocicaliban.toml, add {names} to packages under [layers.apt]"
        if added
        else f"in ocicaliban.toml: [layers.apt] packages = [{names}]"
    )


def find(output: str, stage: Stage, exit_code: int = 0) -> Finding | None:
    """Return what a failure's output means; None if no row of the table fits."""
    lines = output.rstrip().splitlines() if stage == "run" else output.split("\n")
    # Some patterns take a time that grows with the square of a line's length.
    output = "\n".join(map(_shortened, lines[-_END:] if stage == "run" else lines))
    best: tuple[int, Finding] | None = None
    for row in _table()["hints"]:
        if stage not in row["stages"]:
            continue
        if "exit" in row:
            if row["exit"] == exit_code and best is None:
                best = (-1, _finding(row, {}))
            continue
        match = _last(row["pattern"], output)
        if match is None:
            continue
        found = _finding(row, match.groupdict())
        if stage != "run":
            return found
        line = output.count("\n", 0, match.end())
        if best is None or line > best[0]:
            best = (line, found)
    return best[1] if best else None


def _shortened(line: str) -> str:
    return line if len(line) <= 2 * _HALF else f"{line[:_HALF]} {line[-_HALF:]}"


def has_packages(project: Project) -> bool:
    """Whether the project's configuration names Debian packages."""
    return bool(project.layers.get("apt", {}).get("packages"))


@contextlib.contextmanager
def explaining(stage: Stage, *, has_packages: bool = False) -> Iterator[None]:
    """Give the failure of a tool in this context the hint that the table has for it, if there is one."""
    try:
        yield
    except ToolError as exc:
        found = find(exc.stderr or exc.message, stage)
        if found and (hint := found.as_hint(has_packages=has_packages)):
            raise ToolError(exc.message, hint, stderr=exc.stderr) from exc
        raise


def package_of(module: str) -> str:
    """Return the package on the Python index that has a module, as far as the table knows."""
    known: dict[str, str] = _table()["modules"]
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if name := known.get(".".join(parts[:length])):
            return name
    return parts[0].replace("_", "-")


def packages_of(module: str) -> tuple[str, ...]:
    """Return the names by which files may declare a package that has a module, the usual one first.

    conda has names of its own, and some packages have variants.
    """
    usual = package_of(module)
    others: dict[str, list[str]] = _table()["other_names"]
    return tuple(dict.fromkeys((usual, *others.get(usual, ()), module.partition(".")[0])))


def of_python(module: str) -> str:
    """Return the hint for a module that is Python's own; "" for another one."""
    return str(_table()["python_modules"].get(module.partition(".")[0], ""))


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _last(pattern: str, text: str) -> re.Match[str] | None:
    last = None
    for last in re.finditer(pattern, text, re.M):  # noqa: B007 - the last one is wanted
        pass
    return last


def _finding(row: Mapping[str, Any], words: dict[str, str | Any]) -> Finding:
    """Return what a row says with the words that its pattern has caught."""
    caught = {name: word for name, word in words.items() if word}
    what = caught.get("what", "")
    packages = tuple(row.get("packages", ()))
    text = str(row.get("text", ""))
    if kind := row.get("look_up"):
        packages = _looked_up(kind, what)
        if packages:
            text = ""
    if kind == "libraries" and not packages:
        text = _no_package(what)
    text = text.format_map(caught | {"package": package_of(what) if what else ""}) if text else ""
    return Finding(about=str(row.get("about", "")), words=caught, packages=packages, text=text)


def _looked_up(kind: str, what: str) -> tuple[str, ...]:
    """Return the Debian packages that a table of the file gives for a header, library or command."""
    table: dict[str, list[str]] = _table()[kind]
    found = next((names for pattern, names in table.items() if fnmatch.fnmatchcase(what, pattern)), None)
    if found is None and kind == "libraries":
        return debian_library(what)
    return tuple(found or ())


def debian_library(name: str) -> tuple[str, ...]:
    """Return the Debian package of a shared library, by Debian's rule: its name, and the number of its ABI.

    (Debian Policy 8.1: libxcb.so.1 is in libxcb1, libpng16.so.16 in libpng16-16.) Without a number there is none.
    """
    match = re.fullmatch(r"(?P<stem>lib.+?)\.so\.(?P<abi>\d[\d.]*)", name)
    if match is None or _FOREIGN.match(name):
        return ()
    stem, abi = match["stem"].lower().replace("_", "-"), match["abi"]
    return (f"{stem}{'-' if stem[-1].isdigit() else ''}{abi}",)


def _no_package(library: str) -> str:
    """Return the hint for a shared library that no Debian package is known for."""
    if library.startswith(("libcuda.", "libnvidia-")):
        return f"{library} comes with NVIDIA's driver: run it with --gpu, on a machine that has one"
    if library.startswith(("libcu", "libnv", "libnccl", "libnpp")):
        return (
            f'{library} is one of CUDA\'s; in ocicaliban.toml, with the right version: [layers.cuda] version = "12.8"'
        )
    search = f"https://packages.debian.org/search?mode=filename&searchon=contents&keywords={library}"
    return f"{library} is missing; the package that has it: {search}, for [layers.apt] packages"


_FOREIGN = re.compile(r"lib(?:cu|nv|nccl|torch|c10|tensorflow|python|jvm|mkl|npp)")
"""Libraries that are in no package of Debian, or of another one than their name says."""
