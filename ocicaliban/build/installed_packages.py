"""Keep the files of each Python package that is installed once, for all environments of the same Python.

A layer's script installs all packages of a list with one call of uv. Each package has files of its own, the same ones
whatever the others are. So what is missing is installed into an environment without packages, in a container, and then
divided by the records that installers write. Environments have hard links to the files that are kept.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import json
import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build import built_wheels, changes, folder_store
from ocicaliban.build.mounting import RunPart
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store, oci_layout, overlay_folder, workspace
from ocicaliban.dependencies import installed_files, locked_requirements, uv
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image, Run
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems

_FORMAT = "ocicaliban-package-2"
"""Part of every key: raise it when the same package would get other files."""

_FILES = "files"
_PYTHON = "python.json"
_SINGLY = 64
"""The number of new files that are written to the disk one by one. For more, one call for all is faster."""

_LOOK = """
"$OC_WITHIN/bin/python" -IB - > "$OC_WITHIN/python.json" <<'END'
import importlib.util, json, os, sys, sysconfig

paths = sysconfig.get_paths()
names = ("purelib", "platlib", "scripts", "data", "include", "platinclude")
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (ValueError, OSError):
    libc = ""
print(json.dumps({
    "sites": sorted({os.path.relpath(paths[name], sys.prefix) for name in names[:2]}),
    "python": [
        list(sys.version_info), sys.implementation.name, sys.implementation.cache_tag, sysconfig.get_platform(), libc,
        str(sysconfig.get_config_var("SOABI")), importlib.util.MAGIC_NUMBER.hex(), getattr(sys, "abiflags", ""),
        [paths.get(name, "") for name in names],
    ],
}))
END
"""
"""What a container says of its environment: where its modules are, and all that decides which files a wheel gives."""


@frozen(kw_only=True)
class _Environment:
    """An environment without packages: its files, the folders for modules, and what tells its Python from others."""

    files: Path
    sites: tuple[str, ...]
    python: object


@frozen(kw_only=True)
class _Package:
    """An entry of a list of packages, and where its files are if it came as a wheel, or was built in an image."""

    name: str
    entry: str
    as_wheel: Path
    as_built: Path

    def there(self) -> Path | None:
        """Return where its files are, None if they are not there."""
        return next((path for path in (self.as_wheel, self.as_built) if path.is_dir()), None)


@frozen(kw_only=True)
class _Making:
    """How packages are installed: a layer's script in a container of an image. `again` replaces what is kept."""

    part: RunPart
    step: Run
    image: Image
    context: BuildContext
    again: bool

    def run(self, entries: str, script: str, below: Path | None, half: Path, how: Reporter) -> Path:
        """Run a script that sees these entries, and a copy of the environment `below`; return the environment then."""
        files = {**dict(self.step.files), self.step.singly: entries}
        step = evolve(self.step, script=script, files=tuple(sorted(files.items())))
        part = evolve(self.part, layer=evolve(self.part.layer, steps=(step,)))
        half.mkdir(mode=0o700, parents=True)
        place = half / "environment"
        if below:
            shutil.copytree(below, place, symlinks=True)
        else:
            place.mkdir()
            place.chmod(0o755)
        with workspace.open_workspace() as folder:
            changes.run_script(part, self.image, f"{place}:{part.within}", folder, self.context, how)
        _finish(str(place))
        return place


def make(
    part: RunPart, parent: Callable[[], Image], context: BuildContext, how: Reporter, *, again: bool = False
) -> tuple[Path, ...] | None:
    """Return the folders with the files of all packages that a layer installs, and make those that are not there.

    The first has the environment itself. The script runs in a container of the image `parent`. With `again`, what is
    there is made again. None: the packages cannot be told apart. Raises OcicalibanError if the script fails.
    """
    [step] = (step for step in part.layer.steps if isinstance(step, Run))
    entries = locked_requirements.entries(dict(step.files).get(step.singly, ""))
    # A build that sees the other packages may depend on them.
    if not step.singly or not part.within or "no-build-isolation" in step.uv_settings:
        return None
    part = evolve(part, settings=())  # whatever layer installs a package, its files are the same
    making = _Making(part=part, step=step, image=parent(), context=context, again=again)
    place = folder_store.package_of(f".{part.key}")
    with workspace.exclusive(part.key):
        _remove_halves(place)  # of a process that was killed
        try:
            environment = _environment(making, place, how)
            packages = _packages(making, environment, entries)
            if packages is None:
                return None
            _mark_used(environment, packages)  # so that `clean` leaves them meanwhile
            missing = [each for each in packages if again or not each.there()]
            if missing:
                with how.making(part.layer.name) as made:
                    size = _install(making, environment, missing, place, how)
                    made.measure = lambda: size or 0
                if size is None:
                    return None
        finally:
            _remove_halves(place)
    found = _mark_used(environment, packages)  # so that `clean` leaves them until they are linked
    gone = [each.name for each in packages if not each.there()]
    if gone or not environment.files.is_dir():
        what = f"the package {gone[0]}" if gone else "the environment"
        raise OcicalibanError(f"{what} vanished while it was used", "run the command again")
    return (environment.files, *(kept / _FILES for kept in found))


def _remove_halves(place: Path) -> None:
    """Remove what is half-made for a layer. The caller has its lock."""
    for half in (*place.parent.glob(f"{place.name}*"),):
        overlay_folder.remove(half)


def _mark_used(environment: _Environment, packages: Iterable[_Package]) -> list[Path]:
    """Note that an environment, and the packages that are there, are used now; return where these packages are."""
    found = [kept for each in packages if (kept := each.there())]
    for kept in (environment.files.parent, *found):
        image_store.mark_used(kept.name)
    return found


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest()


def _environment(making: _Making, place: Path, how: Reporter) -> _Environment:
    """Return the environment without packages in an image, and make it if it is not there."""
    step, within = making.step, making.part.within
    kept = folder_store.package_of(_key("environment", making.image.id, step.script, step.env, within))
    if making.again or not kept.is_dir():
        half = place.with_name(f"{place.name}.environment")
        changed = making.run("", f"{step.script}\nOC_WITHIN={shlex.quote(within)}\n{_LOOK}", None, half, how)
        done = half / "done"
        done.mkdir()
        (changed / _PYTHON).rename(done / _PYTHON)
        changed.rename(done / _FILES)
        filesystems.flush(done)
        _keep(done, kept, again=making.again)
    found = json.loads((kept / _PYTHON).read_text())
    return _Environment(files=kept / _FILES, sites=tuple(found["sites"]), python=found["python"])


def _packages(making: _Making, environment: _Environment, entries: Iterable[str]) -> tuple[_Package, ...] | None:
    """Return the packages of a list; None if it has an entry without a name."""
    texts: dict[str, str] = {}
    for entry in entries:  # a package has several entries if they are for different environments
        name = locked_requirements.name(entry)
        texts[name] = texts.get(name, "") + locked_requirements.without_origins(entry)
    if "" in texts:
        return None
    step = making.step
    others = [(name, _digest(text)) for name, text in step.files if name != step.singly]
    same = [environment.python, uv.version(), step.script, step.env, others, step.uv_settings]
    return tuple(
        _Package(
            name=name,
            entry=entry,
            as_wheel=folder_store.package_of(_key("wheel", same, entry)),
            as_built=folder_store.package_of(_key("built", same, entry, making.image.id)),
        )
        for name, entry in texts.items()
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _install(
    making: _Making, environment: _Environment, packages: list[_Package], place: Path, how: Reporter
) -> int | None:
    """Install packages and keep their files. Return the bytes; None if they cannot be told apart."""
    half = place.with_name(f"{place.name}.{len(packages)}.{packages[0].name}")
    entries = "".join(package.entry for package in packages)
    changed = making.run(entries, making.step.script, environment.files, half, how)
    found = installed_files.of_packages(changed, environment.sites)
    if not all(_is_same(changed / path, environment.files / path) for path in found.rest):
        return None
    whole = [each for each in packages if len(packages) == 1 or each.name not in found.replaced]
    if any(each.name not in found.packages and " ; " not in each.entry for each in whole):
        return None
    built = built_wheels.names(making.image.id)
    total, ready = _taken(changed, found.packages, half / "done", whole, built)
    for made, kept in ready:
        _keep(made, kept, again=making.again)
    for package in packages:
        if package not in whole:
            alone = _install(making, environment, [package], place, how)
            if alone is None:
                return None
            total += alone
    return total


def _taken(
    changed: Path, files: Mapping[str, tuple[str, ...]], done: Path, packages: Iterable[_Package], built: frozenset[str]
) -> tuple[int, list[tuple[Path, Path]]]:
    """Put the `files` of packages, by their names, from the folder `changed` into a folder for each, below `done`.

    Return the bytes, and each folder with where to keep it.
    """
    total, regular = 0, []
    ready: list[tuple[Path, Path]] = []
    for package in packages:
        top = done / package.name / _FILES
        _folder(top, "")
        for path in files.get(package.name, ()):
            _folder(top, os.path.dirname(path))
            share(changed / path, top / path)
            status = os.lstat(top / path)
            total += status.st_size
            regular += [top / path] if stat.S_ISREG(status.st_mode) else []
        ready.append((top.parent, package.as_built if package.name in built else package.as_wheel))
    if len(regular) > _SINGLY:
        filesystems.flush(done)
    else:
        for file in regular:
            folder_store.sync(file)
    return total, ready


def _finish(folder: str) -> None:
    """Give all files the modes and times that they have in a layer."""
    for item in os.scandir(folder):
        if item.is_dir(follow_symlinks=False):
            os.chmod(item.path, 0o755)
            _finish(item.path)
            continue
        if not item.is_symlink():
            os.chmod(item.path, 0o755 if item.stat().st_mode & stat.S_IXUSR else 0o644)
        os.utime(item.path, (oci_layout.EPOCH, oci_layout.EPOCH), follow_symlinks=False)


def share(path: Path, to: Path) -> None:
    """Put a file at another place too: two packages may have the same one."""
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(path, to, follow_symlinks=False)


def _folder(top: Path, place: str) -> None:
    """Make a folder, and those above it."""
    path = top / place
    if path.is_dir():
        return
    if place:
        _folder(top, os.path.dirname(place))
    path.mkdir(parents=not place)
    path.chmod(0o755)


def _keep(path: Path, kept: Path, *, again: bool) -> None:
    """Move a folder to where it is kept. One that another process has made meanwhile stays, unless it is made again."""
    if again and kept.is_dir():
        old = kept.with_name(f".{kept.name}.{os.urandom(4).hex()}")
        with contextlib.suppress(FileNotFoundError):
            kept.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        path.rename(kept)
    except OSError as fault:
        if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    image_store.mark_used(kept.name)


def _is_same(path: Path, other: Path) -> bool:
    """Return whether two files have the same contents, or two links the same target."""
    if path.is_symlink() or other.is_symlink():
        return path.is_symlink() and other.is_symlink() and path.readlink() == other.readlink()
    return path.is_file() and other.is_file() and filecmp.cmp(path, other, False)
