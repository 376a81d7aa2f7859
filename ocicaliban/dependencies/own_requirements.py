"""Requirements in a tool's own form, turned into those that uv compiles, with the tool's package indexes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from ocicaliban.dependencies import generated_pyproject
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.indexes import PYPI
from ocicaliban.dependencies.locked_packages import git_url, marker_environment
from ocicaliban.dependencies.locked_requirements import entries, name, origins, version, without_origins
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from ocicaliban.dependencies.host_settings import HostSettings

_MARKERS = (
    "os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release",
    "platform_system", "platform_version", "python_version", "python_full_version", "implementation_name",
    "implementation_version",
)  # fmt: skip
_OPERATOR = re.compile(r"\s*(?:[<>=!~]=?|===)")


@frozen(kw_only=True)
class OwnRequirements:
    """What a tool's file declares: requirements (PEP 508), and where their packages come from.

    `indexes` are asked for every package, in this order, as `NAME=URL`; a `""` among them is the host's default one.
    `pins` has the index of each package that comes from it alone.
    """

    lines: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    pins: Mapping[str, str]

    def settings(self, host: HostSettings) -> HostSettings:
        """Return the host's settings with the indexes of the file instead of the host's default one."""
        if not any(self.indexes):
            return host
        *first, last = (index or host.index_url or PYPI for index in self.indexes)
        url = re.sub(r"^[\w.-]+=", "", last)
        return evolve(host, index_url=url, extra_index_urls=(*host.extra_index_urls, *first))


def compile_own(declaration: Declaration, own: OwnRequirements, target: ResolutionTarget, preferred: str) -> str:
    """Return what uv resolves from a tool's requirements. Raises ToolError with uv's explanation."""
    from ocicaliban.dependencies import host_settings

    explicit = declaration.indexes().explicit
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        path = Path(folder) / "pyproject.toml"
        path.write_text(generated_pyproject.pyproject(own.lines, own.pins, explicit))
        plain = evolve(target, extras=(), groups=())
        files = (path, *declaration.beside)
        return declaration.compiled(plain, preferred, files, own.settings(host_settings.read_host_settings()))


def with_added(declaration: Declaration, text: str, lines: Iterable[str], target: ResolutionTarget) -> str:
    """Return locked requirements together with what more requirements need; the locked versions stay.

    Raises ToolError with uv's explanation if they do not fit.
    """
    from ocicaliban.dependencies import uv
    from ocicaliban.dependencies.host_settings import read_host_settings

    pins = origins(text, marker_environment(target.base))
    settings = evolve(read_host_settings(), explicit=declaration.indexes().explicit, pins=pins)
    held = "".join(entry for entry in entries(without_origins(text)) if version(entry))
    whole = uv.with_additions(held, tuple(lines), target.base, settings, "", f"what {declaration.shown} lacks")
    names = {name(entry) for entry in entries(text)}
    return text + "".join(entry for entry in entries(whole) if name(entry) not in names)


def requirement_line(package: str, wanted: Any, root: Path, place: str, *, prereleases: bool = False) -> str:
    """Return an entry of a Pipfile, or of an old [tool.pdm.dependencies], as a requirement (PEP 508); pure.

    `root` is the project's folder, and `place` names the table in the UsageError for an entry in an unknown form.
    With `prereleases`, they count as versions.
    """
    table = wanted if isinstance(wanted, dict) else {"version": wanted}
    specifier = table.get("version", "*")
    if not isinstance(specifier, str):
        raise UsageError(f"{place}: {package} = {wanted!r} is not a version", f'for example {package} = "*"')
    extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
    head = f"{package}{extras}"
    location = table.get("path") or table.get("file") or table.get("url") or ""
    if "git" in table:
        head += f" @ {_git(str(table['git']), str(table.get('ref', '')), str(table.get('subdirectory', '')))}"
    elif "://" in location:
        head += f" @ {location}"
    elif location:
        head += f" @ {Path(os.path.normpath(root / location)).as_uri()}"
    else:
        if specifier.strip() in ("*", ""):
            specifier = ""
        elif not _OPERATOR.match(specifier):
            specifier = f"=={specifier}"
        head += ",".join(filter(None, [specifier, ">=0.dev0" if prereleases else ""]))
    markers = [str(table[key]) for key in ("markers", "marker") if table.get(key)]
    markers += [f"{key} {table[key]}" for key in _MARKERS if table.get(key)]
    return f"{head} ; {' and '.join(f'({marker})' for marker in markers)}" if markers else head


def _git(url: str, ref: str, subdirectory: str) -> str:
    """Return a repository as a requirement names it, at the tip of its default branch if there is no `ref`."""
    located = git_url(url, ref or "HEAD", subdirectory)
    return located if ref else located.replace("@HEAD", "", 1)


def with_variables(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a URL with the host's variables (`${NAME}`) in it, as tools read user and password from them."""
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda match: environ.get(match[1] or match[2], match[0]), url)


def named_indexes(sources: object) -> tuple[dict[str, Any], ...]:
    """Return the tables of a list of package indexes that have a URL, each with a name."""
    tables = sources if isinstance(sources, list) else []
    found = [table for table in tables if isinstance(table, dict) and isinstance(table.get("url"), str)]
    return tuple({**table, "name": str(table.get("name") or f"index-{at}")} for at, table in enumerate(found, 1))


def unique(lines: Iterable[str]) -> tuple[str, ...]:
    """Return lines in their order, each once."""
    return tuple(dict.fromkeys(lines))
