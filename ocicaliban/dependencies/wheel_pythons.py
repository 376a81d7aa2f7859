"""For which Pythons the index has a wheel of a package, when one for the image's Python is missing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import frozen

from ocicaliban.errors import ToolError
from ocicaliban.system import process

if TYPE_CHECKING:
    from ocicaliban.dependencies.host_settings import HostSettings

_BUILD = re.compile(r"Failed to (?:download and )?build `([A-Za-z0-9][\w.-]*)==([^`]+)`")
_TAGS = re.compile(
    r"we only found wheels for\s+`([A-Za-z0-9][\w.-]*)`\s+\(v?([^)]+)\)\s+with\s+the\s+following\s+Python(?:\s+ABI)?"
    r"\s+tags?:((?:,?\s*`\w+`)+)"
)
_TAG = re.compile(r"`cp3(\d+)\w*`")
_MINORS = range(6, 16)


@frozen(kw_only=True)
class MissingWheel:
    """A package without a wheel for the image's Python, and the Pythons 3.x that have one, as their x, from the oldest.

    They are None if uv's message does not name them, and the index has to be asked.
    """

    name: str
    version: str
    minors: tuple[int, ...] | None


def missing_wheel(stderr: str) -> MissingWheel | None:
    """Return the package that uv could not install for want of a wheel, from what it wrote; None for another fault."""
    if match := _TAGS.search(stderr):
        found = {int(minor) for minor in _TAG.findall(match[3])}
        return MissingWheel(name=match[1], version=match[2], minors=tuple(sorted(found)))
    if match := _BUILD.search(stderr):
        return MissingWheel(name=match[1], version=match[2], minors=None)
    return None


def pythons_of(names: Iterable[str], machine: str) -> tuple[int, ...]:
    """Return the Pythons 3.x that wheels with these file names are for, as their x, on Linux with this processor."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    found: set[int] = set()
    for name in names:
        try:
            tags = parse_wheel_filename(name)[3]
        except InvalidWheelFilename:
            continue
        for tag in tags:
            runs = tag.platform == "any" or ("linux" in tag.platform and tag.platform.endswith(f"_{machine}"))
            interpreter = re.fullmatch(r"cp3(\d+)", tag.interpreter)
            if not runs or "musllinux" in tag.platform:
                continue
            if interpreter:
                first = int(interpreter[1])
                found.update(minor for minor in _MINORS if minor == first or (tag.abi == "abi3" and minor > first))
            elif tag.interpreter in ("py3", "py2.py3"):
                found.update(_MINORS)
    return tuple(sorted(found))


def ask_index(wheel: MissingWheel, machine: str, settings: HostSettings) -> tuple[int, ...]:
    """Return the Pythons 3.x for which the index has a wheel of a package, as their x; () if it does not tell.

    uv asks, so that indexes, logins and its cache are those of a resolution.
    """
    found = pythons_of_all(f"{wheel.name}=={wheel.version}\n", machine, settings)
    return next(iter(found.values()), ())


def pythons_of_all(locked: str, machine: str, settings: HostSettings) -> dict[str, tuple[int, ...]]:
    """Return the Pythons 3.x, as their x, for which the index has a wheel of each locked package, by its name.

    Those that have no wheel at all are left out. The result is {} if the index does not tell.
    """
    if not locked:
        return {}
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given, out = Path(folder) / "given.txt", Path(folder) / "pylock.toml"
        given.write_text(locked)
        # uv leaves out wheels for older Pythons than it resolves for, and resolves for none that the package refuses.
        for minor in _MINORS:
            argv = [process.tool("uv"), "pip", "compile", "--quiet", "--no-deps", "--universal", "--no-build"]
            argv += ["--python-version", f"3.{minor}", "--format", "pylock.toml", "--output-file", str(out), str(given)]
            try:
                process.run([*argv, *settings.uv_arguments()], env=settings.uv_environ())
            except ToolError:
                continue
            found: dict[str, tuple[int, ...]] = {}
            for package in tomllib.loads(out.read_text()).get("packages", []):
                if wheels := package.get("wheels"):
                    found[package["name"]] = pythons_of((_file_name(each) for each in wheels), machine)
            return found
    return {}


def _file_name(wheel: dict[str, str]) -> str:
    from urllib.parse import unquote, urlsplit

    return wheel.get("name") or unquote(urlsplit(wheel.get("url") or wheel.get("path", "")).path).rpartition("/")[2]
