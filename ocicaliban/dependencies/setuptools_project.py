"""The dependencies of a project that setuptools builds: read from its files, or else from its build."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from attrs import evolve

from ocicaliban.dependencies import setup_metadata, setup_reads
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_build_files, add_text, manifest
from ocicaliban.dependencies.setup_metadata import SetupMetadata
from ocicaliban.errors import ToolError, UsageError, nearest
from ocicaliban.formats.file_faults import check_mark
from ocicaliban.formats.toml import table_in
from ocicaliban.model.recipe import Variant

_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_BUILD_FOLDERS = ("src", "lib", "python")
_FLAT = "discovered in a flat-layout"
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_NO_EXTRA = re.compile(r"Requested extras? not found: (.+)")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class SetuptoolsProject(Declaration):
    """The dependencies that a project's setup.py, setup.cfg and pyproject.toml declare for setuptools."""

    PROJECT: ClassVar[bool] = True

    def lists_dependencies(self) -> bool:
        """Whether the files declare a dependency or an extra, or leave them to the project's build."""
        metadata = self.metadata()
        return metadata is None or bool(metadata.requires or metadata.extras)

    def texts(self) -> dict[str, str]:
        """Return the file, uv's settings, and what the build computes the dependencies from."""
        texts = super().texts()
        add_text(texts, self.root / "pyproject.toml", self.root)
        add_build_files(texts, self.root)
        if self.metadata() is None:
            for path in setup_reads.files_read(self.path.parent):
                add_text(texts, path, self.root)
        return texts

    def metadata(self) -> SetupMetadata | None:
        """Return what the files spell out; None if only the project's build knows."""
        folder = self.path.parent
        return setup_metadata.read_metadata(folder, manifest(folder))

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that is known not to be declared."""
        metadata = self.metadata()
        if metadata is None:
            return extras
        for extra in extras:
            if setup_metadata.extra_named(metadata, extra) is None:
                hint = nearest(extra, [*metadata.extras]) if metadata.extras else f"{self.shown} declares no extras"
                raise UsageError(f"{self.shown} declares no extra '{extra}'", hint)
        return tuple(sorted({*extras, *([variant] if variant in metadata.extras else [])}))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements. Runs the project's build only if its files do not spell them out.

        Raises ToolError with the explanation of uv or of the build.
        """
        metadata = self.metadata()
        if metadata is None:
            return self._built(target, preferred)
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            path = Path(folder) / "pyproject.toml"
            path.write_text(_as_pyproject(metadata, manifest(self.path.parent), self.path.parent))
            return self.compiled(target, preferred, (path, *self.compiled_files()[1:]))

    def _built(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the project's build says, with the requirements of the extra `cpu` or `gpu` if it has one."""
        for name in _BUILD_FILES:
            if not name.endswith(".py"):  # Python takes the mark
                check_mark(self.path.parent / name)
        # Only running the build tells which extras it declares. uv runs it, so ask for the variant's and see.
        if target.variant not in target.extras:
            try:
                return self._asked(evolve(target, extras=(*target.extras, target.variant)), preferred)
            except ToolError as exc:
                if target.variant not in _unknown_extras(exc.stderr):
                    raise
        return self._asked(target, preferred)

    def _asked(self, target: ResolutionTarget, preferred: str) -> str:
        try:
            return self._discovered(target, preferred)
        except ToolError as exc:
            if unknown := _unknown_extras(exc.stderr):
                raise ToolError(f"{self.shown} declares no extra '{unknown[0]}'", stderr=exc.stderr) from exc
            missing = _MISSING.search(exc.stderr)
            if not missing:
                raise
            package = missing[1].partition(".")[0]
            raise ToolError(
                f"{self.shown} needs the module '{missing[1]}' while it is asked for the project's dependencies",
                "write the dependencies into requirements.txt, or name what it needs in pyproject.toml: "
                f'[build-system] requires = ["setuptools", "{package}"]',
                stderr=exc.stderr,
            ) from exc

    def _discovered(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the build says, without a search for packages if that is what setuptools refuses."""
        files = self.compiled_files()
        with _copied(self.path.parent) as folder:
            copies = (folder / self.path.name, *files[1:])
            try:
                text = self.compiled(target, preferred, copies)
            except ToolError as exc:
                if _FLAT not in exc.stderr:
                    raise
                # setuptools takes an empty `src` for the place of the packages, and so refuses none.
                (folder / "src").mkdir()
                text = self.compiled(target, preferred, copies)
            return text.replace(str(folder), str(self.path.parent))


def _unknown_extras(stderr: str) -> list[str]:
    """Return the extras that a project does not have, according to uv."""
    match = _NO_EXTRA.search(stderr)
    return [name.strip() for name in match[1].split(",")] if match else []


@contextmanager
def _copied(root: Path) -> Iterator[Path]:
    """Yield a folder with the same contents, for a build to write into.

    It has links to what is in the project. uv builds where a file really is, so those that it may be given are copies,
    and the places in which setuptools writes are real folders.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as name:
        folder = Path(name)
        _link(root, folder)
        yield folder


def _link(source: Path, to: Path) -> None:
    for entry in os.scandir(source):
        if entry.name in _BUILD_FILES and entry.is_file():
            shutil.copyfile(entry.path, to / entry.name)
        elif entry.name in _BUILD_FOLDERS and entry.is_dir():
            (to / entry.name).mkdir()
            _link(Path(entry.path), to / entry.name)
        elif not entry.name.endswith(".egg-info"):
            (to / entry.name).symlink_to(Path(entry.path).absolute())


def _as_pyproject(metadata: SetupMetadata, raw: Mapping[str, Any], root: Path) -> str:
    """Return the metadata as the pyproject.toml of a project that needs no build, with uv's sources of packages."""
    import tomli_w  # few plans resolve anything

    name = metadata.name if _NAME.fullmatch(metadata.name) else "project"
    extras = {re.sub(r"[^A-Za-z0-9.-]+", "_", key): list(lines) for key, lines in metadata.extras.items()}
    whole: dict[str, Any] = {
        "project": {
            "name": name,
            "version": "0",
            "dependencies": list(metadata.requires),
            "optional-dependencies": extras,
        }
    }
    settings = table_in(raw, "tool", "uv")
    kept = {key: settings[key] for key in ("sources", "index") if key in settings}
    if kept:
        whole["tool"] = {"uv": _with_absolute_paths(kept, root)}
    return tomli_w.dumps(whole)


def _with_absolute_paths(value: Any, root: Path) -> Any:
    """Return uv's settings with the values of `path`, and of a `url` that is a path, as absolute paths."""
    if isinstance(value, list):
        return [_with_absolute_paths(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(root / each)
        if key == "path" or (key == "url" and isinstance(each, str) and "://" not in each)
        else _with_absolute_paths(each, root)
        for key, each in value.items()
    }
