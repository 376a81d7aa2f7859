"""ocicaliban.lock: the base's digest, and the dependencies resolved by uv to versions and hashes."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import tomli_w
from attrs import asdict, evolve, field, frozen

from ocicaliban import host, proc, weights
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.load import read_toml, structure
from ocicaliban.model import Base, Project, Variant

NAME = "ocicaliban.lock"
FOUND = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "setup.py")
"""The files that declare dependencies, the first that exists is taken."""


@frozen(kw_only=True)
class Resolved:
    """One resolution: for which inputs (a digest), uv's requirements with hashes, and the heavy packages' bytes."""

    inputs: str
    requirements: str
    weights: dict[str, int] = field(factory=dict)


@frozen(kw_only=True)
class Lock:
    """What ocicaliban.lock holds, by variant (cpu, gpu)."""

    version: int = 1
    base: dict[str, Base] = field(factory=dict)
    python: dict[str, Resolved] = field(factory=dict)


def read(root: Path) -> Lock:
    """The project's lock, or an empty one."""
    path = root / NAME
    if not path.is_file():
        return Lock()
    text, raw = read_toml(path)
    lock = structure(raw, Lock, path=path, text=text)
    assert isinstance(lock, Lock)
    return lock


def write(root: Path, lock: Lock) -> None:
    """Replace the project's lock atomically."""
    body = tomli_w.dumps(asdict(lock), multiline_strings=True)
    temporary = root / f".{NAME}.{os.getpid()}"
    head = "# Written by ocicaliban; commit it, so that everyone builds the same image.\n"
    temporary.write_text(head + body, encoding="utf-8")
    temporary.replace(root / NAME)


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


def _contents(path: Path, seen: dict[str, str], root: Path) -> None:
    name = os.path.relpath(path, root)
    if name in seen or not path.is_file():
        return
    seen[name] = path.read_text(encoding="utf-8", errors="surrogateescape")
    if path.suffix == ".txt":
        for other in _INCLUDE.findall(seen[name]):
            _contents(path.parent / other, seen, root)


def _extras(path: Path, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
    # A uv.lock names its extras in the pyproject.toml beside it.
    project = path.with_name("pyproject.toml") if path.name == "uv.lock" else path
    if project.name != "pyproject.toml" or not project.is_file():
        return extras
    declared = read_toml(project)[1].get("project", {}).get("optional-dependencies", {})
    return tuple(sorted({*extras, *([variant] if variant in declared else [])}))


def inputs_digest(project: Project, path: Path, base: Base, extras: tuple[str, ...]) -> str:
    """A digest of all that a resolution depends on; when it is unchanged the lock still holds."""
    seen: dict[str, str] = {}
    _contents(path, seen, project.root)
    if path.name in ("setup.py", "uv.lock"):
        for name in ("setup.cfg", "pyproject.toml"):
            _contents(project.root / name, seen, project.root)
    sha = hashlib.sha256()
    for part in (path.name, base.python, base.platform, *extras, *(t for kv in sorted(seen.items()) for t in kv)):
        sha.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return f"sha256:{sha.hexdigest()}"


def resolution(
    project: Project, lock: Lock, base: Base, variant: Variant, given: str, extras: tuple[str, ...]
) -> Resolved | None:
    """The project's dependencies, locked; None when it declares none.

    Resolves with uv for the base's Python and platform where the lock does not hold any more; what is locked
    already is preferred. Raises ToolError with uv's explanation when it cannot be resolved.
    """
    path = declaration(project, given)
    if path is None:
        return None
    extras = _extras(path, extras, variant)
    digest = inputs_digest(project, path, base, extras)
    known = lock.python.get(variant)
    if known and known.inputs == digest:
        return known
    text = _resolve(project, path, base, extras, known.requirements if known else "")
    return Resolved(inputs=digest, requirements=text, weights=_weights(text, base) if text else {})


def _resolve(project: Project, path: Path, base: Base, extras: tuple[str, ...], before: str) -> str:
    settings = host.read()
    uv = proc.tool("uv")
    flags = [flag for extra in extras for flag in ("--extra", extra)]
    if path.name == "uv.lock":
        argv = [uv, "export", "--frozen", "--no-emit-project", "--no-dev", "--no-header", "--no-annotate", *flags]
        text = proc.run(argv, env=settings.uv_environ(), cwd=project.root, doing="uv cannot export uv.lock")
    else:
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            out = Path(folder) / "requirements.txt"
            if before:
                out.write_text(before)
            argv = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
            argv += [*_for_base(base), "--output-file", str(out), *flags, str(path)]
            try:
                proc.run(argv, env=settings.uv_environ(), cwd=project.root)
            except ToolError as exc:
                raise ToolError(
                    f"the dependencies in {path.name} cannot be resolved\n{exc.stderr}",
                    f"uv resolved them for Python {base.python} on {base.platform}",
                    stderr=exc.stderr,
                ) from exc
            text = out.read_text()
    return text.strip() + "\n" if text.strip() else ""


def _for_base(base: Base) -> list[str]:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}.get(base.platform, "x86_64")
    wanted = ["--python-version", base.python, "--python-platform", f"{machine}-unknown-linux-gnu"]
    return ["--python", sys.executable, *wanted]


def _weights(requirements: str, base: Base) -> dict[str, int]:
    """What the index tells of the archives' sizes (uv has its answers in the cache, having just resolved)."""
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        given, out = Path(folder) / "requirements.txt", Path(folder) / "pylock.toml"
        given.write_text(requirements)
        argv = [proc.tool("uv"), "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml"]
        argv += [*_for_base(base), "--output-file", str(out), str(given)]
        proc.run(argv, env=host.read().uv_environ(), doing="uv cannot tell the sizes of the dependencies")
        return weights.of_packages(tomllib.loads(out.read_text()))


def with_base(lock: Lock, variant: Variant, base: Base) -> Lock:
    """The lock with the base of a variant in it."""
    return evolve(lock, base={**lock.base, variant: base})


def with_python(lock: Lock, variant: Variant, resolution: Resolved) -> Lock:
    """The lock with the resolution of a variant in it."""
    return evolve(lock, python={**lock.python, variant: resolution})
