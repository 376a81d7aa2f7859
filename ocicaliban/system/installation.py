"""How ocicaliban is installed, and the commands that add a part to it or replace it.

No index has the package, so a hint cannot tell everybody to install it by its name. What its extras need is on the
index.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from attrs import frozen

_NAME = "ocicaliban"
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([\w-]+)['"]""")

Kind = Literal["uv tool", "pipx", "pip", "uv"]
"""The program that installed it. "uv" made the virtual environment, which has no pip."""


@frozen(kw_only=True)
class Installation:
    """Where ocicaliban is installed: the folder of its environment, its Python, and the address it came from, or ""."""

    kind: Kind
    prefix: str
    python: str
    source: str = ""

    def adding(self, requirements: Iterable[str]) -> str:
        """Return the command that adds packages."""
        words = shlex.join(requirements)
        if self.kind == "pipx":
            return f"pipx inject {_NAME} {words}"
        if self.kind == "pip":
            return f"{_short(self.python)} -m pip install {words}"
        return f"uv pip install --python {_short(self.python)} {words}"

    def renewing(self) -> str:
        """Return the command that installs a newer version."""
        what = _short(self.source) if self.source else _NAME
        if self.kind == "uv tool":
            return f"uv tool install --reinstall {what}"
        if self.kind == "pipx":
            return f"pipx install --force {what}"
        if self.kind == "pip":
            return f"{_short(self.python)} -m pip install --upgrade {what}"
        return f"uv pip install --python {_short(self.python)} --upgrade {what}"


def found() -> Installation:
    """Return how the running program is installed."""
    prefix = Path(sys.prefix)
    kind: Kind = "pip"
    if (prefix / "uv-receipt.toml").is_file():
        kind = "uv tool"
    elif (prefix / "pipx_metadata.json").is_file():
        kind = "pipx"
    # Not importlib.util.find_spec: setuptools takes this for pip at work, and cannot be imported from then on.
    elif PathFinder.find_spec("pip") is None:
        kind = "uv"
    return Installation(kind=kind, prefix=sys.prefix, python=sys.executable, source=_source())


def with_extra(extra: str) -> str:
    """Return the command that adds what an extra of ocicaliban needs to the running installation."""
    return found().adding(_of_extra(extra))


def with_package(requirement: str) -> str:
    """Return the command that adds a package to the running installation."""
    return found().adding([requirement])


def renewal() -> str:
    """Return the command that installs a newer version of the running installation."""
    return found().renewing()


def _of_extra(extra: str) -> tuple[str, ...]:
    from importlib import metadata

    try:
        declared = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return _of_checkout(extra)
    return tuple(each.partition(";")[0].strip() for each in declared if (m := _EXTRA.search(each)) and m[1] == extra)


def _of_checkout(extra: str) -> tuple[str, ...]:
    import tomllib

    try:
        text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return (f"{_NAME}[{extra}]",)
    return tuple(tomllib.loads(text)["project"]["optional-dependencies"][extra])


def _source() -> str:
    """Return the folder or the address from which it was installed, "" if that was an index."""
    from importlib import metadata

    try:
        address = json.loads(metadata.distribution(_NAME).read_text("direct_url.json") or "{}").get("url", "")
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    return str(address).removeprefix("file://")


def _short(path: str) -> str:
    """Return a path as a user would type it."""
    home = os.path.expanduser("~").rstrip("/") + "/"
    if shlex.quote(path) == path and len(home) > 1 and path.startswith(home):
        return f"~/{path.removeprefix(home)}"
    return shlex.quote(path)
