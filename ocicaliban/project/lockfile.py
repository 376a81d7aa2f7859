"""ocicaliban.lock: the base's digest, and the dependencies resolved by uv to versions and hashes."""

from __future__ import annotations

from pathlib import Path

from attrs import asdict, evolve, field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant
from ocicaliban.recipes.loader import read_toml, structure
from ocicaliban.system import files

NAME = "ocicaliban.lock"


@frozen(kw_only=True)
class Resolved:
    """One resolution: for which inputs (a digest), uv's requirements with hashes, and the heavy packages' bytes."""

    inputs: str
    requirements: str
    weights: dict[str, int] = field(factory=dict)


@frozen(kw_only=True)
class Lock:
    """What ocicaliban.lock holds, by variant (cpu, gpu); `jupyter` by interface and variant (lab-cpu)."""

    version: int = 1
    base: dict[str, Base] = field(factory=dict)
    python: dict[str, Resolved] = field(factory=dict)
    jupyter: dict[str, Resolved] = field(factory=dict)


def read(root: Path) -> Lock:
    """The project's lock, or an empty one. Raises UsageError for a lock that is broken or newer than we are."""
    path = root / NAME
    if not path.is_file():
        return Lock()
    text, raw = read_toml(path)
    version = raw.get("version", Lock().version)
    if type(version) is int and version > Lock().version:
        raise UsageError(
            f"{path}: written by a newer ocicaliban (version {version}, known is {Lock().version})",
            "upgrade ocicaliban, for example: pip install -U ocicaliban",
        )
    lock = structure(raw, Lock, path=path, text=text)
    assert isinstance(lock, Lock)
    return lock


def write(root: Path, lock: Lock) -> None:
    """Replace the project's lock atomically; raises OSError when that cannot be, and leaves nothing then."""
    import tomli_w  # few commands write a lock

    held = {name: value for name, value in asdict(lock).items() if value != {}}
    body = tomli_w.dumps(held, multiline_strings=True)
    head = "# Written by ocicaliban; commit it, so that everyone builds the same image.\n"
    files.replace(root / NAME, head + body, lasting=True)


def with_base(lock: Lock, variant: Variant, base: Base) -> Lock:
    """The lock with the base of a variant in it."""
    return evolve(lock, base={**lock.base, variant: base})


def with_python(lock: Lock, variant: Variant, resolution: Resolved) -> Lock:
    """The lock with the resolution of a variant in it."""
    return evolve(lock, python={**lock.python, variant: resolution})


def with_jupyter(lock: Lock, name: str, resolution: Resolved) -> Lock:
    """The lock with the resolution of an interface of Jupyter's and a variant ("lab-cpu") in it."""
    return evolve(lock, jupyter={**lock.jupyter, name: resolution})
