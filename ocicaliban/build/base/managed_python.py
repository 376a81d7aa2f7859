"""A Python that uv downloads and that a layer adds to a base image, for a base whose own does not fit."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit

from attrs import evolve, frozen

from ocicaliban.errors import ToolError
from ocicaliban.model.image import Base, Tree, TreeEntry
from ocicaliban.system import files, installation, process

_RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
_FORMAT = "uv-python-1"
"""Part of every tree's digest: raise it when the same archive would give other files."""


@frozen(kw_only=True)
class ArchiveTree:
    """The archive of a base's Python as a tree with one file, which is fetched when a layer needs it."""

    base: Base

    @property
    def digest(self) -> str:
        """What stands for the tree in keys: a digest of the archive's digest."""
        return hashlib.sha256(f"{_FORMAT}\0{self.base.archive_sha256}".encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of the archive, 0 if it was not fetched yet."""
        held = _held(self.base.archive, self.base.archive_sha256)
        return held.stat().st_size if held.is_file() else 0

    def make(self, folder: Path, warn: Callable[[str], None]) -> Tree:  # nothing to warn of
        """Return the tree, and fetch the archive first unless the cache has it.

        Raises ToolError if it cannot be fetched, or if it is another one than the locked one.
        """
        held = _held(self.base.archive, self.base.archive_sha256)
        if not held.is_file():
            _fetch_again(self.base)
        entry = TreeEntry(path=held.name, kind="file", digest=self.base.archive_sha256, size=held.stat().st_size)
        return Tree(root=held.parent, digest=self.digest, entries=(entry,))


@frozen(kw_only=True)
class ManagedPython:
    """A Python that uv has downloaded: its version, its file in the release, and the file's digest."""

    version: str
    archive: str
    sha256: str


def added(base: Base, python: ManagedPython) -> Base:
    """Return a base with this Python in the place of its own; pure."""
    return evolve(base, python=python.version, archive=python.archive, archive_sha256=python.sha256, missing="")


def fetch(specifier: str, root: Path) -> ManagedPython:
    """Download the newest Python of uv that suits a set of specifiers, and keep its archive in the cache.

    uv compares the archive with the hash that it knows. `root` is the project's folder, in whose settings uv may find
    a mirror. Raises ToolError if uv has no such Python, or if it cannot be downloaded.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        archive, version = _downloaded(specifier, Path(folder), root, {})
        name = archive.name.partition("-")[2]
        url = next((each["url"] for each in _known(root) if _name(each["url"]) == name), "")
        release = urlsplit(url).path.rpartition("/releases/download/")[2] if "/releases/download/" in url else ""
        found = ManagedPython(version=version, archive=unquote(release) or name, sha256=_digest(archive))
        _keep(archive, _held(found.archive, found.sha256))
    return found


def _fetch_again(base: Base) -> None:
    """Fetch the archive that a lock names: as uv knows it now, or else from the place of the release."""
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        place, root = Path(folder), Path.cwd()
        known = f"cpython-{base.python}-linux-{base.machine}-gnu"
        minor = base.python.split(".")
        entry = {
            "name": "cpython", "arch": {"family": base.machine, "variant": None}, "os": "linux", "libc": "gnu",
            "major": int(minor[0]), "minor": int(minor[1]), "patch": int(minor[2]), "prerelease": "", "variant": None,
            "build": None, "url": f"{_RELEASES}/{quote(base.archive)}", "sha256": base.archive_sha256,
        }  # fmt: skip
        (place / "python.json").write_text(json.dumps({known: entry}))
        ways: list[dict[str, str]] = [{}]
        if "/" in base.archive:
            ways.insert(0, {"UV_PYTHON_DOWNLOADS_JSON_URL": (place / "python.json").as_uri()})
        fault: ToolError | None = None
        for number, env in enumerate(ways):
            try:
                archive, _ = _downloaded(f"=={base.python}", place / str(number), root, env)
            except ToolError as exc:
                fault = exc
                continue
            if _digest(archive) == base.archive_sha256:
                _keep(archive, _held(base.archive, base.archive_sha256))
                return
        message = f"the Python {base.python} in ocicaliban.lock ({base.archive}) cannot be fetched"
        hint = "`ocicaliban lock --upgrade base` takes the one that uv offers now"
        raise ToolError(f"{message}{_why(fault)}", hint) from fault


def _downloaded(specifier: str, folder: Path, root: Path, env: dict[str, str]) -> tuple[Path, str]:
    """Return the archive of a Python that uv has downloaded into `folder`, and the Python's version."""
    from ocicaliban.dependencies.host_settings import read_host_settings

    installed, archives = folder / "installed", folder / "archives"
    given = {**read_host_settings().uv_environ(), "UV_PYTHON_CACHE_DIR": str(archives), **env}
    if "UV_HTTP_RETRIES" not in os.environ:
        given["UV_HTTP_RETRIES"] = "1"
    argv = (process.tool("uv"), "python", "install", "--no-bin", "--install-dir", str(installed), specifier)
    process.run(argv, env=given, cwd=root, doing="uv cannot download a Python")
    names = [path.name for path in installed.iterdir() if path.is_dir() and not path.is_symlink()]
    version = next((m[1] for name in names if (m := re.match(r"cpython-(\d+\.\d+\.\d+)-", name))), "")
    archive = next(iter(archives.iterdir()), None) if archives.is_dir() else None
    if archive is None or not version:
        raise ToolError(
            f"uv has installed no Python for {specifier}", f"update uv: {installation.with_package('uv')} --upgrade"
        )
    return archive, version


def _known(root: Path) -> list[dict[str, str]]:
    """Return what uv says of the Pythons that it can download."""
    argv = (process.tool("uv"), "python", "list", "--only-downloads", "--all-versions", "--output-format", "json")
    found: list[dict[str, str]] = json.loads(process.run(argv, cwd=root))
    return [each for each in found if each.get("url")]


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _held(archive: str, sha256: str) -> Path:
    """Return where the cache has an archive."""
    return files.cache() / "python" / sha256 / archive.rpartition("/")[2]


def _keep(archive: Path, held: Path) -> None:
    """Move a downloaded archive to its place in the cache."""
    held.parent.mkdir(parents=True, exist_ok=True)
    half = held.with_name(f".{held.name}.{os.getpid()}")
    shutil.move(archive, half)
    os.replace(half, held)


def _why(fault: ToolError | None) -> str:
    return f"\n{fault.stderr or fault.message}" if fault else ": uv offers another one"
