"""Call uv to resolve requirements."""

from __future__ import annotations

import contextlib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve

from ocicaliban.dependencies import generated_pyproject, local_folders, locked_requirements, size_tiers, uv_lock_state
from ocicaliban.dependencies.host_settings import HostSettings, read_host_settings
from ocicaliban.dependencies.indexes import matching, without_credentials
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Base
from ocicaliban.system import process

_GLIBC = (17, 28, *range(31, 41))
"""The minor versions of glibc that uv knows as platforms."""
_NO_HASHES = "write the lock again with an index that can be reached, or name the index in the project's settings"
_IMPATIENT = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "15", "UV_HTTP_CONNECT_TIMEOUT": "5"}


def version() -> str:
    """Return what uv says of its version."""
    return process.run((process.tool("uv"), "--version"))


def compiled(
    arguments: list[str],
    base: Base,
    settings: HostSettings,
    preferred: str,
    cwd: Path | None = None,
    *,
    patient: bool = True,
) -> str:
    """Return what `uv pip compile` resolves with these arguments, with hashes.

    `preferred` is an earlier result, whose versions are kept where possible. Unless it is `patient`, uv asks an index
    once and not for long. Raises ToolError.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        out = Path(folder) / "requirements.txt"
        if preferred:
            out.write_text(preferred)
        argv = [process.tool("uv"), "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
        argv += ["--emit-index-annotation", *target_arguments(base), *settings.uv_arguments()]
        argv += ["--output-file", str(out), *arguments]
        env = settings.uv_environ() | ({} if patient else _IMPATIENT)
        process.run(argv, env=env, cwd=cwd)
        text = out.read_text()
        if cwd and local_folders.relative_paths(text):
            pylock = Path(folder).resolve() / "pylock.toml"
            argv = [*argv[:3], "--quiet", "--format", "pylock.toml", *target_arguments(base)]
            argv += settings.uv_arguments()
            process.run([*argv, "--output-file", str(pylock), *arguments], env=env, cwd=cwd)
            packages = tomllib.loads(pylock.read_text()).get("packages", [])
            text = local_folders.placed(text, cwd, local_folders.of_pylock(packages, pylock.parent))
        return _with_own_indexes(text, settings)


def _with_own_indexes(text: str, settings: HostSettings) -> str:
    """Return what uv compiled with the indexes of those packages alone that come from an index of their own."""
    known = (*settings.explicit, *settings.pins.values())
    found = locked_requirements.origins(text)
    return locked_requirements.with_origins(
        text, lambda entry: without_credentials(matching(found.get(locked_requirements.name(entry), ""), known))
    )


def _given(folder: Path, lines: list[str], settings: HostSettings) -> str:
    """Write requirements, as a lock has them, to a file in `folder` that uv compiles, and return its path.

    Packages that come from one index alone are looked for nowhere else.
    """
    text = "".join(lines)
    names = {locked_requirements.name(entry) for entry in locked_requirements.entries(text)}
    pins = {package: index for package, index in settings.pins.items() if package in names}
    given = folder / ("pyproject.toml" if pins else "given.txt")
    if pins:
        text = generated_pyproject.pyproject(locked_requirements.heads(text), pins, settings.explicit)
    given.write_text(text)
    return str(given)


def with_additions(
    locked: str,
    additions: tuple[str, ...],
    base: Base,
    settings: HostSettings,
    preferred: str,
    what: str,
    provided: tuple[str, ...] = (),
) -> str:
    """Return the locked requirements as they are, together with what `additions` need; without additions those alone.

    `what` names the additions in a message, and `provided` are packages that the environment has already. Raises
    ToolError with uv's explanation if they do not fit.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given = _given(Path(folder), [locked, *(f"{requirement}\n" for requirement in additions)], settings)
        arguments = [*([] if additions else ["--no-deps"]), given]
        try:
            with provided_beforehand(provided, settings) as (constraints, settings):
                text = compiled([*arguments, *constraints], base, settings, preferred)
            return locked_requirements.without(text, provided)
        except ToolError as exc:
            raise ToolError(
                f"{what} does not fit the dependencies\n{exc.stderr}",
                f"uv was asked for {' '.join(additions)}, for Python {base.python} on {base.platform}",
                stderr=exc.stderr,
            ) from exc


@contextlib.contextmanager
def provided_beforehand(packages: tuple[str, ...], settings: HostSettings) -> Iterator[tuple[list[str], HostSettings]]:
    """Give arguments and settings with which uv takes `packages` (NAME==VERSION) as they are, without an index.

    For each there is a wheel without contents and without dependencies. Its version has a local part, so that no index
    has the same one.
    """
    if not packages:
        yield [], settings
        return
    from ocicaliban.dependencies import stub_wheels  # only for conda's environments

    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{pin}\n" for pin in stub_wheels.write(Path(folder), packages)))
        found = evolve(settings, find_links=(*settings.find_links, folder))
        yield ["--constraint", str(constraints)], found


def exported_lock(root: Path, extras: tuple[str, ...], groups: tuple[str, ...] = ()) -> str:
    """Return the requirements that uv.lock has for the project in `root`, with exactly these extras and groups.

    The lock may be that of a workspace, in a folder above. Folders are relative to that of the lock, the project itself
    included. Raises UsageError if the lock is out of date.
    """
    env = read_host_settings().uv_environ()
    try:
        # It needs a Python that the project allows, and `export --locked` would download one.
        process.run([process.tool("uv"), "lock", "--locked"], env={**env, "UV_PYTHON_DOWNLOADS": "never"}, cwd=root)
    except ToolError as exc:
        # uv may not be able to check, for want of a Python or the network.
        if "needs to be updated" in exc.stderr or uv_lock_state.lacks_requirements(root):
            raise UsageError("uv.lock is not up to date with what the project declares", "run `uv lock`") from exc
    flags = [flag for extra in extras for flag in ("--extra", extra)]
    flags += ["--no-default-groups", *(flag for group in groups for flag in ("--group", group))]
    argv = [process.tool("uv"), "export", "--frozen", "--no-header", "--no-annotate", *flags]
    return process.run(argv, env=env, cwd=root, doing="uv cannot export uv.lock")


def with_hashes(text: str, base: Base, settings: HostSettings) -> str:
    """Return locked requirements with hashes from the indexes for the entries without any.

    Entries without hashes for another platform are left out. If an index does not tell hashes, uv computes them from
    the archives. Raises ToolError if an index does not have a version, and UsageError if there is no hash.
    """
    bare = [entry for entry in locked_requirements.entries(text) if "--hash" not in entry]
    if not bare:
        return text
    try:
        found = locked_archives("".join(bare), base, settings)
    except ToolError as exc:
        message = f"the lock has no hashes for some packages, and the package index gives none\n{exc.stderr}"
        raise ToolError(message, _NO_HASHES, stderr=exc.stderr) from exc
    hashes = {locked_requirements.normalized(package["name"]): _hashes(package) for package in found}
    kept: list[str] = []
    for entry, head in zip(locked_requirements.entries(text), locked_requirements.heads(text), strict=True):
        name = locked_requirements.name(entry)
        if "--hash" in entry:
            kept.append(entry)
        elif hashes.get(name):
            kept.append(" \\\n    ".join([head, *(f"--hash={value}" for value in hashes[name])]) + "\n")
        elif name in hashes:
            raise UsageError(f"the package index gives no hash for {head}", _NO_HASHES)
    return "".join(kept)


def _hashes(package: Mapping[str, Any]) -> list[str]:
    """Return the hashes of the archives of a package in a pylock.toml."""
    archives = [*package.get("wheels", ()), package.get("sdist"), package.get("archive")]
    digests = {archive["hashes"]["sha256"] for archive in archives if archive and "sha256" in archive.get("hashes", {})}
    return sorted(f"sha256:{digest}" for digest in digests)


def exported_script(path: Path) -> str:
    """Return the requirements in the lock of a script. Raises ToolError with uv's explanation."""
    plain = ("--no-header", "--no-annotate")
    argv = [process.tool("uv"), "export", "--frozen", *plain, "--script", str(path)]
    env = read_host_settings().uv_environ()
    return process.run(argv, env=env, cwd=path.parent, doing=f"uv cannot export {path.name}.lock")


def archive_sizes(requirements: str, base: Base, settings: HostSettings) -> dict[str, int]:
    """Return the bytes of the heavy packages among locked requirements, as the package indexes tell them.

    uv has the indexes' answers in its cache. If they cannot be asked again, all packages count as light: that costs
    room in the store, and nothing else.
    """
    from urllib.parse import unquote, urlsplit

    try:
        packages = locked_archives(requirements, base, settings)
    except ToolError:
        return {}
    for package in packages:
        for archive in package.get("wheels", []):
            # An index on disk tells no sizes; its files do.
            if "size" not in archive and str(archive.get("url", "")).startswith("file://"):
                with contextlib.suppress(OSError):
                    archive["size"] = os.path.getsize(unquote(urlsplit(archive["url"]).path))
    return size_tiers.heavy_packages({"packages": packages})


def locked_archives(requirements: str, base: Base, settings: HostSettings) -> list[dict[str, Any]]:
    """Return the packages of the pylock.toml that uv makes of locked requirements, with their archives.

    Raises ToolError.
    """
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given, out = _given(Path(folder), [requirements], settings), Path(folder) / "pylock.toml"
        argv = [process.tool("uv"), "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml"]
        argv += [*target_arguments(base), *settings.uv_arguments(), "--output-file", str(out), given]
        process.run(argv, env=settings.uv_environ())
        packages: list[dict[str, Any]] = tomllib.loads(out.read_text()).get("packages", [])
        return packages


def target_arguments(base: Base) -> list[str]:
    """Return uv's arguments for the Python and platform of a base image."""
    platform = f"{base.machine}-unknown-linux-gnu"
    if base.libc.startswith("2."):
        # A wheel is for one glibc and all newer ones.
        minor = base.libc.split(".")[1]
        steps = [step for step in _GLIBC if minor.isdecimal() and step <= int(minor)]
        platform = f"{base.machine}-manylinux_2_{steps[-1]}" if steps else platform
    wanted = ["--python-version", base.python, "--python-platform", platform]
    return ["--python", sys.executable, *wanted]
