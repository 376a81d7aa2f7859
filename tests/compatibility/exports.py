"""Compare what we install of other tools' locks with what the tools export: `python -m tests.compatibility.exports`.

`exports.toml` has projects with odd dependencies. Each is locked by its tool, which uvx fetches, and for several
Pythons the name, version, address and hashes of each package are compared with those in the tool's own list of
requirements. The tool's pylock.toml, where it writes one, is compared with the same list. The exit code is the number
of projects that differ, or that their tool could not lock.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import Factory, frozen
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ocicaliban.dependencies import survey
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.errors import OcicalibanError
from tests import locks
from tests.compatibility.compared import environment
from tests.folders import write

TABLE = Path(__file__).with_name("exports.toml")
PYTHONS = ("3.9.2", "3.11.2", "3.13.5")


@frozen(kw_only=True)
class Tool:
    """A tool that locks: its lock, and the commands that write the lock, a list of requirements and a pylock.toml.

    `{groups}` and `{extras}` stand for the options that name them, for which `group` and `extra` are the forms.
    """

    file: str
    lock: str
    export: str
    pylock: str = ""
    group: str = ""
    extra: str = ""

    def words(self, command: str, groups: tuple[str, ...], extras: tuple[str, ...]) -> list[str]:
        """Return a command with the options for groups and extras."""
        named = {
            "groups": " ".join(self.group.format(shlex.quote(name)) for name in groups),
            "extras": " ".join(self.extra.format(shlex.quote(name)) for name in extras),
        }
        return shlex.split(command.format(**named))


POETRY = "uvx --from poetry --with poetry-plugin-export poetry --no-interaction"
PDM = "uvx --with hishel<2 --with httpx<0.28 pdm"  # it does not work with later ones
PIPENV = "uvx pipenv"
UV_EXPORT = "uv export -q --frozen --no-emit-workspace {groups} {extras}"
TOOLS: Mapping[str, Tool] = {
    "uv": Tool(
        file="uv.lock",
        lock="uv lock -q",
        export=UV_EXPORT,
        pylock=f"{UV_EXPORT} --format pylock.toml",
        group="--group {}",
        extra="--extra {}",
    ),
    "poetry": Tool(
        file="poetry.lock",
        lock=f"{POETRY} lock",
        export=f"{POETRY} export {{groups}} {{extras}}",
        pylock=f"{POETRY} export --format pylock.toml {{groups}} {{extras}}",
        group="--with {}",
        extra="--extras {}",
    ),
    "pdm": Tool(
        file="pdm.lock",
        lock=f"{PDM} lock -q -G :all",
        export=f"{PDM} export -f requirements {{groups}} {{extras}}",
        group="-G {}",
        extra="-G {}",
    ),
    "pipenv": Tool(
        file="Pipfile.lock",
        lock=f"{PIPENV} lock -q",
        export=f"{PIPENV} requirements --hash {{groups}}",
        group="--categories packages,{}",
    ),
}


@frozen(kw_only=True)
class Odd:
    """A project: the tool that locks it, its files, and what of it is installed.

    `groups` and `extras` are asked for; `always` are groups that are installed without being asked for, and that the
    tool's export must be asked for. `apart` are packages that are not compared.
    """

    name: str
    tool: str
    files: Mapping[str, str]
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    pythons: tuple[str, ...] = Factory(lambda: PYTHONS)
    pylock: bool = True


Listed = Mapping[str, tuple[str, frozenset[str]]]
"""By a package's name: its version or address, and its hashes."""


def listed(text: str, python: str) -> Listed:
    """Return the packages of a list of requirements that a Python on Linux gets, with one address or version each."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).partition(" --hash")
        if not words[0].strip() or re.match(r"\s*(-i|--index|--extra|--find|-e|\.)", words[0]):
            continue
        requirement = Requirement(words[0].strip())
        if requirement.marker is None or requirement.marker.evaluate({**environment(python), "extra": ""}):
            what = requirement.url or str(requirement.specifier).removeprefix("==").removeprefix("=")
            hashes = frozenset(re.findall(r"sha\d+:[0-9a-f]+", "".join(words[1:])))
            found[canonicalize_name(requirement.name)] = (what.partition("#")[0], hashes)
    return found


def ours(folder: Path, file: str, python: str, odd: Odd) -> Listed:
    """Return the packages that we install of a lock."""
    asked = EnvironmentRequest(root=folder, named=file, setting="layers.python.requirements", script="")
    declaration = survey.read_environment(asked).declaration
    assert declaration is not None
    return listed(locks.resolved(declaration, python, odd.extras, odd.groups), python)


def different(ours: Listed, theirs: Listed, apart: tuple[str, ...]) -> Iterator[str]:
    """Yield where two lists differ."""
    for name in sorted({*ours, *theirs} - {*apart}):
        mine, other = ours.get(name), theirs.get(name)
        if mine is None or other is None:
            yield f"{name}: {mine and mine[0]} here, {other and other[0]} there"
        elif mine[0] != other[0]:
            yield f"{name}: {mine[0]} here, {other[0]} there"
        elif mine[1] != other[1]:
            yield f"{name}: {len(mine[1])} hashes here, {len(other[1])} there"


def _call(folder: Path, words: list[str]) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("VIRTUAL_ENV")}
    env |= {"PIPENV_IGNORE_VIRTUALENVS": "1", "PIPENV_VENV_IN_PROJECT": "1", "PDM_CHECK_UPDATE": "0"}
    done = subprocess.run(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemError(f"{shlex.join(words)}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


def compared(odd: Odd, folder: Path) -> Iterator[str]:
    """Lock a project in a folder and yield where what we install differs from its tool's export."""
    tool = TOOLS[odd.tool]
    write(folder, odd.files)
    if not (folder / tool.file).exists():
        _call(folder, tool.words(tool.lock, (), ()))
    groups = (*odd.always, *odd.groups)
    whole = _call(folder, tool.words(tool.export, groups, odd.extras))
    also = ""
    if tool.pylock and odd.pylock:
        also = _call(folder, tool.words(tool.pylock, groups, odd.extras))
    for python in odd.pythons:
        theirs = listed(whole, python)
        assert theirs or not odd.files.get("packages"), "nothing is exported"
        try:
            yield from (
                f"{python}: {each}" for each in different(ours(folder, tool.file, python, odd), theirs, odd.apart)
            )
        except OcicalibanError as fault:
            yield f"{python}: {fault.message}"
        if also:
            yield from (f"{python}, pylock.toml: {each}" for each in _of_pylock(also, python, theirs, odd))


def _of_pylock(text: str, python: str, theirs: Listed, odd: Odd) -> Iterator[str]:
    """Yield where what we install of a pylock.toml, without the project that it was made from, differs."""
    with tempfile.TemporaryDirectory(prefix="pylock-") as place:
        (Path(place) / "pylock.toml").write_text(text)
        try:
            plain = Odd(name=odd.name, tool=odd.tool, files={})
            yield from different(ours(Path(place), "pylock.toml", python, plain), theirs, odd.apart)
        except OcicalibanError as fault:
            yield fault.message


def rows(names: list[str]) -> list[Odd]:
    """Return the projects of exports.toml whose names have one of these words, or all."""
    lists = ("groups", "extras", "always", "apart", "pythons")
    raw = tomllib.loads(TABLE.read_text())["project"]
    made = [Odd(**{**row, **{key: tuple(row[key]) for key in lists if key in row}}) for row in raw]
    return [each for each in made if not names or any(name in f"{each.tool} {each.name}" for name in names)]


def locked_projects(folder: Path, scratch: Path) -> Iterator[Odd]:
    """Yield the projects in a folder that have been locked, each with a copy in `scratch`."""
    for path in sorted(folder.iterdir()):
        tool = next((name for name, tool in TOOLS.items() if (path / tool.file).is_file()), "")
        if tool:
            shutil.copytree(path, scratch / f"{tool}-{path.name}", symlinks=True)
            asked = EnvironmentRequest(root=path, named=TOOLS[tool].file, setting="", script="")
            found = survey.read_environment(asked)
            assert found.declaration is not None
            # uv exports its default groups.
            always = found.declaration.resolved_groups(()) if tool != "uv" else ()
            allowed = [SpecifierSet(each.specifier) for each in found.python]
            pythons = tuple(one for one in PYTHONS if all(each.contains(one) for each in allowed))
            yield Odd(name=path.name, tool=tool, files={}, always=always, pythons=pythons, pylock=False)


def main() -> int:
    """Compare the projects, and print what differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility.exports", description=__doc__)
    parser.add_argument("names", nargs="*", help="only projects whose tool and name have one of these words")
    parser.add_argument("--keep", type=Path, help="a folder in which the locked projects stay")
    parser.add_argument("--locked", type=Path, help="compare the projects in this folder that have a lock, not the odd")
    options = parser.parse_intermixed_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="exports-") as scratch:
        folder = options.keep or Path(scratch)
        if options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        for odd in locked_projects(options.locked, folder) if options.locked else rows(options.names):
            try:
                found = list(compared(odd, folder / f"{odd.tool}-{odd.name}"))
            except SystemError as fault:
                found = [f"not exported: {fault}"]
            print(f"{odd.tool}: {odd.name}: {'differs' if found else 'equal'}", *found, sep="\n  ", flush=True)
            wrong += bool(found)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
