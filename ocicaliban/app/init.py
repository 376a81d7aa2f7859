"""Examine a project, and write a first ocicaliban.toml for it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import field, frozen

from ocicaliban.app import schemas
from ocicaliban.build.base import python_choice, python_table
from ocicaliban.build.base.python_choice import WantedPython
from ocicaliban.dependencies import survey
from ocicaliban.dependencies.environment import DeclaredEnvironment, EnvironmentRequest
from ocicaliban.doctor import reach
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.text import printable
from ocicaliban.project import config
from ocicaliban.recipes import catalog
from ocicaliban.system import files

SCHEMA = ".ocicaliban.schema.json"
"""The schema beside the settings, for editors. No image has it."""

_USUAL_SUITE = "debian:bookworm"

_LARGE = 50 << 20  # bytes of a folder that deserves a layer of its own
_MOST = 20_000  # files that are looked at in a folder


@frozen(kw_only=True)
class Examined:
    """What was found in a project: its environment, or what is wrong with it, scripts, and large folders of data."""

    root: Path
    environment: DeclaredEnvironment = field(factory=DeclaredEnvironment)
    fault: UsageError | None = None
    scripts: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    registry: float | str = ""
    suite: str = _USUAL_SUITE

    @property
    def bootstraps(self) -> bool:
        """Whether the base image has to be made from Debian's packages, since no registry can be reached."""
        return isinstance(self.registry, str)


def init(*, dry_run: bool = False, ask: Callable[[str], float | str] = reach.ask) -> tuple[str, Path, str]:
    """Examine the project in the current folder, and write its ocicaliban.toml unless it is a dry run.

    Return the file's text, its path, and the command to try next. Raises UsageError if the project has settings.
    """
    root = Path.cwd()
    path, _ = config.settings_file(root)
    if path.is_file():
        raise UsageError(f"{path} has the settings of this project already", "ocicaliban plan run shows what they do")
    found = examine(root, ask)
    # A path with a newline must not end the comment that it is in.
    text = "".join(f"{printable(line)}\n" for line in lines(found))
    if not dry_run:
        files.replace(path, text)
        files.replace(root / SCHEMA, (schemas.FOLDER / schemas.PROJECT).read_text())
    script = found.scripts[0] if found.scripts else "SCRIPT"
    return text, path, f"ocicaliban run {shlex.quote(script)}"


def examine(root: Path, ask: Callable[[str], float | str]) -> Examined:
    """Look at the files of a project, and at what can be reached from here."""
    fault = None
    environment = DeclaredEnvironment()
    try:
        environment = survey.read_environment(EnvironmentRequest(root=root))
    except UsageError as exc:
        fault = exc
    return Examined(
        root=root,
        environment=environment,
        fault=fault,
        scripts=tuple(_scripts(root)),
        data=tuple(_data(root)),
        registry=next((ask(place.url) for place in reach.places() if place.name == "registry"), ""),
        suite=_suite(environment),
    )


def _suite(environment: DeclaredEnvironment) -> str:
    """Return the suite of Debian whose Python suits the project, by default the usual one."""
    if not environment.python:
        return _USUAL_SUITE
    table = python_table.load_table(catalog.builtin_layers() / "base" / "pythons.toml")
    try:
        fitting = python_choice.fitting_suite(WantedPython(requirements=environment.python), table)
    except OcicalibanError:
        fitting = ""
    return fitting or _USUAL_SUITE


def _scripts(root: Path) -> Iterator[str]:
    """Yield the scripts at the top of a project, those first that look like the one to start."""
    names = sorted(path.name for path in root.glob("*.py") if path.name not in ("setup.py", "conftest.py"))
    likely = ("train.py", "main.py", "run.py")
    yield from sorted(names, key=lambda name: likely.index(name) if name in likely else len(likely))


def _data(root: Path) -> Iterator[str]:
    """Yield the folders at the top of a project that are large, as data is.

    One with a name that no setting can have is left out: a colon ends a path of `volumes`.
    """
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or folder.is_symlink() or not folder.is_dir():
            continue
        if ":" in folder.name or not folder.name.isprintable():  # which a name that is not UTF-8 is not either
            continue
        size = count = 0
        for above, _, names in os.walk(folder):
            count += len(names)
            for name in names:
                try:
                    size += os.lstat(os.path.join(above, name)).st_size
                except OSError:
                    continue
            if size >= _LARGE or count >= _MOST:
                break
        if size >= _LARGE and not (folder / "pyvenv.cfg").is_file():
            yield folder.name


def lines(found: Examined) -> Iterator[str]:
    """Yield the lines of ocicaliban.toml: what was found, and what the user may want to set."""
    yield f"#:schema ./{SCHEMA}"
    yield "# The settings of this project for ocicaliban. A line that begins with # is a comment: what was found, or a"
    yield "# setting that you may want. All keys: docs/reference/configuration.md"
    yield ""
    yield from _environment_lines(found)
    yield ""
    yield "[layers.base]"
    if found.bootstraps:
        why = f": {found.registry}" if found.registry else ""
        yield f"# No registry of images can be reached{why}. So the base is made from Debian's packages."
        yield f'bootstrap = "{found.suite}"'
    else:
        yield f"# The registry of images answers in {found.registry:.2f} s. Without this key the image follows from the"
        yield "# project's files, and ocicaliban.lock keeps its digest."
        yield '# image = "docker.io/library/python:3.12-slim-bookworm"'
    yield ""
    yield "# Packages of Debian's that the project needs: compilers, system libraries."
    yield "# [layers.apt]"
    yield '# packages = ["git"]'
    if found.data:
        names = ", ".join(_quoted(name) for name in found.data)
        yield from ("", f"# Large folders. This keeps each in a layer of its own: dirs = [{names}]")
        yield "# To mount them instead, leave them out of the image in .gitignore or .containerignore, and set volumes:"
        volumes = ", ".join(_quoted(f"./{name}:/usr/app/{name}:ro") for name in found.data)
    else:
        yield from ("", "# What containers on this machine get.")
        volumes = '"/path/of/data:/data:ro"'
    yield "# [run]"
    yield f"# volumes = [{volumes}]"
    yield '# env = { OMP_NUM_THREADS = "4" }'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML has JSON's escapes, but not its pairs of \\u


def _environment_lines(found: Examined) -> Iterator[str]:
    environment = found.environment
    if found.fault:
        yield "# The dependencies are not clear yet:"
        yield from (f"#   {line}" for line in found.fault.message.splitlines())
        yield "# Possible settings:"
        yield from (f"#   {line}" for line in found.fault.hint.splitlines())
        return
    if environment.source:
        yield f"# The dependencies come from {environment.source}."
    else:
        yield "# No file declares dependencies. requirements.txt or pyproject.toml would be found."
    for each in environment.files:
        if each.use == "honoured":
            yield f"# Honoured, too: {each.path}"
        elif each.use == "unread":
            yield f"# Not read: {each.path}{f', {each.why}' if each.why else ''}"
            if each.setting:
                yield from (f"#   to use it: {line}" for line in each.setting.splitlines())
    for wanted in environment.python:
        yield f"# Python: {wanted.specifier}"
    if environment.debian_packages:
        yield f"# Packages of Debian's, from a file of the project: {', '.join(environment.debian_packages)}"
