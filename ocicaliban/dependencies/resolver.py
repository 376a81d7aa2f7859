"""The project's declared dependencies, and what uv resolves them to for the image's Python."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ocicaliban.dependencies import cuda_wheels, host_settings, indexes, requirements, size_tiers
from ocicaliban.errors import ToolError, UsageError, nearest
from ocicaliban.formats.toml import read_toml
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Variant
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.system import process

FOUND = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "setup.py")
"""The files that declare dependencies, the first that exists is taken."""


def declaration(project: Project, given: str) -> Path | None:
    """The file that declares the project's dependencies: the given one, or the first found; None when there is none."""
    if given:
        path = project.root / given
        if not path.is_file():
            raise UsageError(f"layers.python.requirements: there is no file '{given}'", f"looked for {path}")
        return path
    for name in FOUND:
        path = project.root / name
        if path.is_file():
            if name == "pyproject.toml" and "project" not in read_toml(path)[1]:
                continue
            return path
    return None


_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)", re.M)
_NO_LIST = (".toml", ".lock", ".py", ".cfg")
_NAMED = re.compile(r"[\w./-]+\.(?:txt|in|cfg)\b")


def _contents(path: Path, seen: dict[str, str], root: Path) -> None:
    name = os.path.relpath(path, root)
    if name in seen or not path.is_file():
        return
    seen[name] = path.read_text(encoding="utf-8", errors="surrogateescape")
    if path.suffix not in _NO_LIST:
        for other in _INCLUDE.findall(seen[name]):
            _contents(path.parent / other, seen, root)


def _lists(project: Project, path: Path | None) -> dict[str, str]:
    """The declaring file and what it includes, where that is a list of requirements."""
    seen: dict[str, str] = {}
    if path and path.suffix not in _NO_LIST:
        _contents(path, seen, project.root)
    return seen


def declared_indexes(project: Project, given: str) -> indexes.Indexes:
    """The package indexes that the project's own files name."""
    return indexes.declared(project.root, iter(_lists(project, declaration(project, given)).values()))


def _declaring(project: Project, path: Path) -> dict[str, str]:
    """All texts of the project that say what `path` declares, and how uv shall resolve it.

    What computes its dependencies (setup.py, setup.cfg, a pyproject.toml that calls them dynamic) may read any file.
    Counted are those that its text names and whose names end in .txt, .in or .cfg.
    """
    root, seen = project.root, _lists(project, path)
    _contents(path, seen, root)
    _contents(root / "uv.toml", seen, root)
    manifest = root / "pyproject.toml"
    raw: dict[str, Any] = {}
    if manifest.is_file():
        with contextlib.suppress(tomllib.TOMLDecodeError):  # uv tells, if it wants it
            raw = tomllib.loads(manifest.read_text(encoding="utf-8", errors="surrogateescape"))
        if settings := raw.get("tool", {}).get("uv"):
            seen["[tool.uv]"] = json.dumps(settings, sort_keys=True, default=str)
    if path.name in ("uv.lock", "setup.py"):
        _contents(manifest, seen, root)
    if path.name == "setup.py" or (path.name in ("uv.lock", "pyproject.toml") and _dynamic(raw)):
        for name in ("setup.py", "setup.cfg"):
            _contents(root / name, seen, root)
        for name in ("pyproject.toml", "setup.py", "setup.cfg"):
            for other in _NAMED.findall(seen.get(name, "")):
                _contents(root / other, seen, root)
    return seen


def _dynamic(manifest: dict[str, Any]) -> bool:
    """Whether a pyproject.toml leaves it to its build to say what the dependencies are."""
    return bool({"dependencies", "optional-dependencies"} & {*manifest.get("project", {}).get("dynamic", ())})


def _extras(path: Path, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
    """The extras to be resolved: the given ones, and the variant's where there is such a one.

    Raises UsageError for one that a pyproject.toml does not declare.
    """
    # A uv.lock names its extras in the pyproject.toml beside it.
    project = path.with_name("pyproject.toml") if path.name == "uv.lock" else path
    if project.name != "pyproject.toml" or not project.is_file():
        return extras
    raw = read_toml(project)[1]
    declared = raw.get("project", {}).get("optional-dependencies", {})
    known = {requirements.normalized(name) for name in declared}
    unknown = sorted(extra for extra in extras if requirements.normalized(extra) not in known)
    if unknown and not _dynamic(raw):
        raise UsageError(f"pyproject.toml declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
    return tuple(sorted({*extras, *([variant] if variant in declared else [])}))


_IGNORED = ("environment.yml", "environment.yaml", "conda.yml", "Pipfile")


def unread(project: Project) -> str:
    """A file of the project that declares dependencies in a way that is not read; "" for none."""
    manifest = project.root / "pyproject.toml"
    if manifest.is_file() and "poetry" in read_toml(manifest)[1].get("tool", {}):
        return "the [tool.poetry] of pyproject.toml"
    setup = project.root / "setup.cfg"
    if setup.is_file() and "install_requires" in setup.read_text(encoding="utf-8", errors="replace"):
        return setup.name
    return next((name for name in _IGNORED if (project.root / name).is_file()), "")


def inputs_digest(
    project: Project, path: Path | None, base: Base, extras: tuple[str, ...], asked: cuda_wheels.Request | None = None
) -> str:
    """A digest of all that a resolution depends on; when it is unchanged the lock still holds."""
    seen = _declaring(project, path) if path else {}
    sha = hashlib.sha256()
    parts = [path.name if path else "", base.python, base.platform, base.libc, *extras]
    parts += [text for pair in sorted(seen.items()) for text in pair]
    if requirements.declared_hashes(seen.values()):
        parts.append("declared hashes")  # a lock of an older version may not keep to them
    if asked:
        parts += ["cuda", asked.version, *asked.components]
    for part in parts:
        sha.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return f"sha256:{sha.hexdigest()}"


def resolution(
    project: Project,
    lock: Lock,
    base: Base,
    variant: Variant,
    given: str,
    extras: tuple[str, ...],
    asked: cuda_wheels.Request | None = None,
) -> Resolution | None:
    """The project's dependencies, locked, with the CUDA libraries that are `asked` for; None when there are none.

    Resolves with uv for the base's Python and platform where the lock does not hold any more; what is locked
    already is preferred. Raises ToolError with uv's explanation when it cannot be resolved.
    """
    path = declaration(project, given)
    if path is None and asked is None:
        return None
    extras = _extras(path, extras, variant) if path else ()
    digest = inputs_digest(project, path, base, extras, asked)
    known = lock.resolution("python", variant)
    if known and known.inputs == digest:
        return known
    if path:
        _check_python(path, base)
    if path is None:
        text = ""
    elif path.name == "uv.lock":
        text = _exported(project, extras)
    elif path.name.startswith("pylock.") and path.suffix == ".toml":
        text = requirements.from_pylock(read_toml(path)[1], base, extras, project.root)
    else:
        text = _compiled_for(project, path, base, variant, extras, known.requirements if known else "")
    text = requirements.installable(text, project.root)
    settings = host_settings.read().joined(declared_indexes(project, given))
    if asked and (more := cuda_wheels.wheels(asked, text)):
        before = known.requirements if known else ""
        text = _with(text, more, base, settings, before, "what layers.cuda asks for")
    text = requirements.with_declared_hashes(text, requirements.declared_hashes(_lists(project, path).values()))
    return Resolution(inputs=digest, requirements=text, weights=_weights(text, base, settings) if text else {})


def _check_python(path: Path, base: Base) -> None:
    """Raise UsageError when what declares the dependencies wants another Python than the base's."""
    if path.name not in ("pyproject.toml", "uv.lock"):
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    raw = read_toml(path)[1]
    wanted = raw.get("requires-python") if path.name == "uv.lock" else raw.get("project", {}).get("requires-python")
    if not isinstance(wanted, str):
        return
    try:
        fits = SpecifierSet(wanted).contains(base.python, prereleases=True)
    except InvalidSpecifier as exc:
        raise UsageError(f"{path.name}: requires-python: {exc}", 'as in requires-python = ">=3.11"') from exc
    if not fits:
        raise UsageError(
            f"{path.name} requires Python {wanted}, and the base has {base.python}",
            "take another base in [layers.base]: debian:bookworm has 3.11, debian:trixie 3.13, the default image 3.12",
        )


def _exported(project: Project, extras: tuple[str, ...]) -> str:
    env = host_settings.read().uv_environ()
    try:
        # It needs a Python that the project allows, and `export --locked` would fetch one.
        process.run(
            [process.tool("uv"), "lock", "--locked"], env={**env, "UV_PYTHON_DOWNLOADS": "never"}, cwd=project.root
        )
    except ToolError as exc:
        # Where it could not look, for want of a Python or the network, the lock is taken at its word.
        if "needs to be updated" in exc.stderr:
            raise UsageError("uv.lock is not up to date with what the project declares", "run `uv lock`") from exc
    flags = [flag for extra in extras for flag in ("--extra", extra)]
    plain = ("--no-emit-project", "--no-dev", "--no-header", "--no-annotate")
    argv = [process.tool("uv"), "export", "--frozen", *plain, *flags]
    return process.run(argv, env=env, cwd=project.root, doing="uv cannot export uv.lock")


def jupyter(
    locked: str, more: tuple[str, ...], base: Base, known: Resolution | None, named: indexes.Indexes
) -> Resolution:
    """What has to be installed beside the locked requirements `locked` for `more`, and changes nothing of them.

    `known` is what was resolved last, which is taken while it holds, and preferred otherwise; `named` are the indexes
    that the project names. Raises ToolError with uv's explanation when `more` does not fit.
    """
    sha = hashlib.sha256("\0".join((base.python, base.platform, *more, "", locked)).encode())
    digest = f"sha256:{sha.hexdigest()}"
    if known and known.inputs == digest:
        return known
    settings = host_settings.read().joined(named)
    # What is locked may be for other platforms too, and so not be there.
    there = _with(locked, (), base, settings, "", "the lock") if ";" in locked else locked
    before = locked + (known.requirements if known else "")
    whole = _with(locked, more, base, settings, before, "Jupyter")
    names = {requirements.name(entry) for entry in requirements.entries(there)}
    found = (entry for entry in requirements.entries(whole) if requirements.name(entry) not in names)
    return Resolution(inputs=digest, requirements="".join(found))


def _with(
    text: str, more: tuple[str, ...], base: Base, settings: host_settings.HostSettings, before: str, what: str
) -> str:
    """The locked entries in `text`, as they are, with what `more` needs beside them, and those alone for none.

    `before` has the versions to be preferred; `what` is the name of it all for an error.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given = Path(folder) / "given.txt"
        given.write_text(text + "".join(f"{entry}\n" for entry in more))
        try:
            return _uv_compile([*([] if more else ["--no-deps"]), str(given)], base, settings, before)
        except ToolError as exc:
            raise ToolError(
                f"{what} does not fit the dependencies\n{exc.stderr}",
                f"uv was asked for {' '.join(more)}, for Python {base.python} on {base.platform}",
                stderr=exc.stderr,
            ) from exc


def _uv_compile(
    arguments: list[str], base: Base, settings: host_settings.HostSettings, before: str, cwd: Path | None = None
) -> str:
    """What `uv pip compile` with these arguments resolves to; the versions in `before` are preferred."""
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        out = Path(folder) / "requirements.txt"
        if before:
            out.write_text(before)
        argv = [process.tool("uv"), "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
        argv += [*_for_base(base), "--output-file", str(out), *arguments]
        process.run(argv, env=settings.uv_environ(), cwd=cwd)
        return out.read_text()


def _compiled_for(
    project: Project, path: Path, base: Base, variant: Variant, extras: tuple[str, ...], before: str
) -> str:
    # Which extras a setup.py declares is known only to who runs it, as uv does: so uv is asked for cpu or gpu.
    if path.name == "setup.py" and variant not in extras:
        try:
            return _compiled(project, path, base, (*extras, variant), before)
        except ToolError as exc:
            if f"Requested extra not found: {variant}" not in exc.stderr:
                raise
    return _compiled(project, path, base, extras, before)


def _compiled(project: Project, path: Path, base: Base, extras: tuple[str, ...], before: str) -> str:
    flags = [flag for extra in extras for flag in ("--extra", extra)]
    try:
        return _uv_compile([*flags, str(path)], base, host_settings.read(), before, cwd=project.root)
    except ToolError as exc:
        words = exc.stderr.removeprefix("error:").strip()
        hint = ""
        if "No solution found" in words:
            hint = f"uv resolved them for Python {base.python} on {base.platform}"
        elif "extra" in words and path.suffix not in _NO_LIST:
            hint = "extras are declared in a pyproject.toml; a list of requirements has none"
        message = f"the dependencies in {path.name} cannot be resolved\n{words}"
        raise ToolError(message, hint, stderr=exc.stderr) from exc


_GLIBC = (17, 28, *range(31, 41))


def _for_base(base: Base) -> list[str]:
    platform = f"{base.machine}-unknown-linux-gnu"
    if base.libc.startswith("2."):
        # Wheels are for a glibc and all newer ones; these are the steps that uv knows.
        minor = base.libc.split(".")[1]
        known = [step for step in _GLIBC if minor.isdecimal() and step <= int(minor)]
        platform = f"{base.machine}-manylinux_2_{known[-1]}" if known else platform
    wanted = ["--python-version", base.python, "--python-platform", platform]
    return ["--python", sys.executable, *wanted, *host_settings.read().uv_arguments()]


def _weights(requirements: str, base: Base, settings: host_settings.HostSettings) -> dict[str, int]:
    """What the indexes tell of the archives' sizes (uv has their answers in its cache, having just resolved).

    Where they cannot be asked again all packages count as light: that costs room in the store, and nothing else.
    """
    from urllib.parse import unquote, urlsplit

    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given, out = Path(folder) / "requirements.txt", Path(folder) / "pylock.toml"
        given.write_text(requirements)
        argv = [process.tool("uv"), "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml"]
        argv += [*_for_base(base), "--output-file", str(out), str(given)]
        try:
            process.run(argv, env=settings.uv_environ())
        except ToolError:
            return {}
        raw = tomllib.loads(out.read_text())
    for package in raw.get("packages", []):
        for archive in package.get("wheels", []):
            # An index on disk does not tell; the file does.
            if "size" not in archive and str(archive.get("url", "")).startswith("file://"):
                with contextlib.suppress(OSError):
                    archive["size"] = os.path.getsize(unquote(urlsplit(archive["url"]).path))
    return size_tiers.of_packages(raw)
