"""What every way of declaring dependencies has in common."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from attrs import evolve, frozen

from ocicaliban.dependencies import dependency_groups, locked_requirements, pip_options, uv_hints
from ocicaliban.dependencies.indexes import Indexes, project_indexes, with_options
from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import ToolError
from ocicaliban.formats.sizes import check_size
from ocicaliban.formats.toml import parse_toml, table_in
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant

if TYPE_CHECKING:
    from ocicaliban.dependencies.host_settings import HostSettings

_WORD = re.compile(r"[\w./-]+")
_ENDING = re.compile(r"(?<=.)\.(?:txt|in|cfg)\b")
_LONGEST_NAME = 255  # bytes, as Linux has it


@frozen(kw_only=True)
class ResolutionTarget:
    """What dependencies are resolved for: the base image's Python and platform, the variant, extras and groups.

    In `resolve`, `groups` are all dependency groups to install: those that the project installs by default, and those
    that the user adds to them. `torch` says whether an image without a GPU takes CPU builds of torch alone. `also` are
    files with further requirements. `provided` are the packages that conda has installed before, as NAME==VERSION: they
    stay as they are.
    """

    base: Base
    variant: Variant
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    torch: Literal["cpu", "any"] = "cpu"
    also: tuple[Path, ...] = ()
    provided: tuple[str, ...] = ()


@frozen(kw_only=True)
class Declaration:
    """A file that declares the dependencies of the project in the folder `root`.

    This class suits any file that uv can compile. Each way of declaring dependencies is a subclass, without fields of
    its own. `beside` are lists of requirements that are resolved together with those of the project itself.
    """

    root: Path
    path: Path
    member: str = ""
    """The folder of the uv workspace's member that is meant, relative to the root; "" for the root itself."""
    beside: tuple[Path, ...] = ()

    FILE: ClassVar[str] = ""
    """The name of the file, in the project's folder."""

    NAMES: ClassVar[tuple[str, ...]] = ()
    """The names that the file may have, in their order, where there are several."""

    LOCK: ClassVar[bool] = False
    """Whether the file holds the versions that a tool has locked."""

    TOOL: ClassVar[str] = ""
    """The tool whose file it is; "" for a file of many tools."""

    TABLE: ClassVar[str] = ""
    """The table in the file, if the file has others that are declarations too."""

    PROJECT: ClassVar[bool] = False
    """Whether it declares what the project itself needs, as `pip install .` reads it."""

    ALONE: ClassVar[bool] = False
    """Whether it declares the whole environment of a script, which the project itself is no part of."""

    EXTRAS_HINT: ClassVar[str] = ""
    """What to do if the file has no such extra."""

    BRINGS_PYTHON: ClassVar[bool] = False
    """Whether its packages include Python, so that the one in the base image does not matter."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of files: `find` is asked for a folder that holds one of them."""
        return cls.NAMES or (cls.FILE,)

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration of the project in `root`, or None if it does not declare dependencies this way."""
        paths = (root / name for name in cls.names())
        return next((cls(root=root, path=path) for path in paths if path.is_file()), None)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file that the project's configuration names is of this form, by its name."""
        return path.name in cls.names()

    @property
    def shown(self) -> str:
        """What messages call it: the path relative to the project, and the table in it if there can be several."""
        *beside, own = (os.path.relpath(path, self.root) for path in (*self.beside, self.path))
        return " and ".join((*beside, f"[{self.TABLE}] of {own}" if self.TABLE else own))

    def tool(self) -> str:
        """Return the tool that has written the file, "" if it is unknown."""
        return self.TOOL

    def lists_dependencies(self) -> bool:
        """Whether it declares a dependency. One that declares none leaves it to the next file to be the source."""
        return True

    def not_locked(self) -> tuple[str, ...]:
        """Return the packages that a lock which is out of date lacks, and that are resolved beside it."""
        return ()

    def is_out_of_date(self) -> bool:
        """Whether a lock was made for another state of the file that it was made from, if its tool can tell."""
        return False

    def debian_packages(self) -> tuple[str, ...]:
        """Return the Debian packages that the file asks for."""
        return ()

    def unread_parts(self) -> tuple[str, ...]:
        """Return what in the file has no effect, as messages call it."""
        return ()

    @property
    def groups_file(self) -> Path:
        """The pyproject.toml that declares the project's dependency groups, if it exists."""
        return self.root / self.member / "pyproject.toml"

    def covers(self) -> tuple[str, ...]:
        """Return the paths, relative to the project, of the files whose contents this one includes or is made from."""
        return ()

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return what the file says about the project's Python. Planning asks each time, so it must be quick."""
        return ()

    def requirement_lists(self) -> dict[str, str]:
        """Return the texts of lists of requirements, in which pip's options may be, by their paths in the project."""
        texts: dict[str, str] = {}
        for path in self.beside:
            add_text(texts, path, self.root)
        return texts

    def pip_options(self) -> PipOptions:
        """Return pip's options in the lists of requirements. Raises UsageError for one that cannot be honoured."""
        return pip_options.read_options(self.requirement_lists(), self.root)

    def indexes(self) -> Indexes:
        """Return the package indexes that the project names."""
        return with_options(project_indexes(self.root), self.pip_options(), self.root)

    def uv_settings(self) -> dict[str, Any]:
        """Return uv's settings beside the file."""
        return table_in(manifest(self.path.parent), "tool", "uv")

    def texts(self) -> dict[str, str]:
        """Return all texts that determine the resolution, by their paths in the project."""
        texts: dict[str, str] = {}
        for path in (*self.beside, self.path):
            add_text(texts, path, self.root)
        add_uv_settings(texts, self.root)
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras, and the variant if the project declares an extra of this name (`cpu` or `gpu`).

        Raises UsageError for one that the project does not declare, if that is known before resolving.
        """
        return extras

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the dependency groups to install: the given ones, and those that the project installs by default.

        Only uv and other tools with a lock install any by default; pip, for example, does not. Raises UsageError for
        one that the project's pyproject.toml does not declare.
        """
        return dependency_groups.checked(groups, manifest(self.groups_file.parent), "pyproject.toml") if groups else ()

    def compiled_files(self) -> tuple[Path, ...]:
        """Return the files whose requirements uv resolves; the declaration's own is the first."""
        return (self.path, *self.beside)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements, as uv writes them.

        `preferred` is an earlier result, whose versions are kept where possible. Raises ToolError with uv's explanation
        if the requirements cannot be resolved.
        """
        return self.compiled(target, preferred, self.compiled_files())

    def compiled(
        self,
        target: ResolutionTarget,
        preferred: str,
        files: tuple[Path, ...],
        host: HostSettings | None = None,
        cwd: Path | None = None,
    ) -> str:
        """Return what uv resolves from these files, with the extras and groups of the target. Raises ToolError.

        What the environment has already is left out. `host` replaces the host's settings. uv
        runs in the project's folder, or in `cwd`, where it finds settings.
        """
        from ocicaliban.dependencies import editable_git, host_settings, uv  # most plans resolve nothing

        flags = [flag for extra in target.extras for flag in ("--extra", extra)]
        flags += [flag for group in target.groups for flag in ("--group", f"{self.groups_file}:{group}")]
        try:
            # uv finds the project's indexes by itself.
            options = self.pip_options()
            settings = (host or host_settings.read_host_settings()).with_options(options)
            settings = evolve(settings, explicit=self.indexes().explicit)
            with (
                uv.provided_beforehand(target.provided, settings) as (constraints, settings),
                editable_git.rewritten((*files, *target.also), self.root) as lists,
            ):
                arguments = [*flags, *constraints, *option_flags(options), *map(str, lists)]
                text = uv.compiled(arguments, target.base, settings, preferred, cwd=cwd or self.root)
            return locked_requirements.without(text, target.provided)
        except ToolError as exc:
            explanation = exc.stderr.removeprefix("error:").strip()
            hint = ""
            if "No solution found" in explanation:
                hint = f"uv resolved them for Python {target.base.python} on {target.base.platform}"
            elif "dependency groups" in explanation:
                hint = "correct [dependency-groups] in pyproject.toml: each include-group names a group in it"
            elif "extra" in explanation:
                hint = self.EXTRAS_HINT
            if options.prefer_binary and "no usable wheels" in explanation:
                hint = "--prefer-binary is taken as --only-binary :all: here; write --only-binary NAME in its place"
            hint = hint or uv_hints.hint_for(explanation)
            message = f"the dependencies in {self.path.name} cannot be resolved\n{explanation}"
            raise ToolError(message, hint, stderr=exc.stderr) from exc


def option_flags(options: PipOptions) -> list[str]:
    """Return uv's arguments for those of pip's options that uv passes over in a list of requirements."""
    flags = ["--prerelease", "allow"] if options.prereleases else []
    return [*flags, "--only-binary", ":all:"] if options.prefer_binary else flags


# --- texts that determine a resolution ---


def add_text(texts: dict[str, str], path: Path, root: Path) -> None:
    """Add the text of a file, and of those that it includes if it is a list of requirements. Skip missing ones."""
    name = os.path.relpath(path, root)
    if name in texts or not path.is_file():
        return
    check_size(path)
    texts[name] = pip_options.decoded(path.read_bytes())
    if pip_options.is_list(path):
        for other in pip_options.included(texts[name]):
            if "://" not in other:
                add_text(texts, path.parent / other, root)


def add_uv_settings(texts: dict[str, str], root: Path) -> None:
    """Add uv's settings in the project, which change what uv resolves."""
    add_text(texts, root / "uv.toml", root)
    if settings := table_in(manifest(root), "tool", "uv"):
        texts["[tool.uv]"] = json.dumps(settings, sort_keys=True, default=str)


def add_build_files(texts: dict[str, str], root: Path) -> None:
    """Add what the project's build may compute the dependencies from.

    The build may read any file. Counted are setup.py and setup.cfg, and the files that they or pyproject.toml name and
    whose names end in .txt, .in or .cfg.
    """
    for name in ("setup.py", "setup.cfg"):
        add_text(texts, root / name, root)
    for name in ("pyproject.toml", "setup.py", "setup.cfg"):
        for other in _named_files(texts.get(name, "")):
            add_text(texts, root / other, root)


def _named_files(text: str) -> Iterator[str]:
    """Yield what in a text can be the path of a list of requirements.

    One pattern for both the word and its ending would take quadratic time for a long word.
    """
    for word in _WORD.findall(text):
        ends = [ending.end() for ending in _ENDING.finditer(word)]
        if ends and all(len(os.fsencode(part)) <= _LONGEST_NAME for part in word[: ends[-1]].split("/")):
            yield word[: ends[-1]]


def build_texts(root: Path) -> dict[str, str]:
    """Return the texts that declare the dependencies of the package in a folder, by their paths in it."""
    texts: dict[str, str] = {}
    add_text(texts, root / "pyproject.toml", root)
    add_build_files(texts, root)
    if "setup.py" in texts:
        from ocicaliban.dependencies import setup_reads  # few packages have one

        for path in setup_reads.files_read(root):
            add_text(texts, path, root)
    return texts


def manifest(root: Path) -> dict[str, Any]:
    """Return the values of the project's pyproject.toml, {} if there is none or it is not TOML: uv reports that."""
    path = root / "pyproject.toml"
    if path.is_file():
        with contextlib.suppress(ValueError):
            return parse_toml(path.read_text(encoding="utf-8-sig", errors="surrogateescape"))
    return {}


def is_dynamic(manifest: dict[str, Any]) -> bool:
    """Whether a pyproject.toml leaves the dependencies to the project's build."""
    dynamic = table_in(manifest, "project").get("dynamic", ())
    return isinstance(dynamic, list) and bool({"dependencies", "optional-dependencies"} & {*map(str, dynamic)})
