"""Read and write `ocicaliban.lock`: the digest of the base image, and the resolved dependencies with their hashes."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml, structure
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant
from ocicaliban.system import files, installation

NAME = "ocicaliban.lock"
NOTEBOOK = "ocicaliban.notebook.lock"
NAMES = (NAME, NOTEBOOK)
SEPARATE = ("jupyter", "papermill")
"""The sections that are in the second file: what only notebooks need is much, and would swell the lock."""
_PLACE = "the requirements, number "
_HEAD = "# Written by ocicaliban; commit it, so that everyone builds the same image.\n"
VERSION = 1


@frozen(kw_only=True)
class Resolution:
    """Resolved requirements.

    `inputs` is a digest of all that they were resolved from, and `requirements` the result, with hashes, as uv writes
    it. `weights` holds the bytes of the heavy packages. `folders` are packages in folders of the project, and
    `checkouts` those from git, as `NAME @ git+URL@COMMIT#subdirectory=FOLDER`. `version` is that of a package that
    takes its version from git. `indexes` has the index of each package that comes from that index alone, as `NAME=URL`
    or `URL`.
    """

    inputs: str
    requirements: str
    weights: dict[str, int] = field(factory=dict)
    folders: tuple[str, ...] = ()
    checkouts: tuple[str, ...] = ()
    version: str = ""
    indexes: dict[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Lock:
    """The contents of a lock.

    `base` holds the base image of each variant (cpu, gpu). `sections` holds the resolutions of each kind of input: by
    the name of its section, and in it by the variant, or what else it depends on ("lab-cpu").
    """

    base: dict[str, Base] = field(factory=dict)
    sections: dict[str, dict[str, Resolution]] = field(factory=dict)

    def resolution(self, section: str, name: str) -> Resolution | None:
        """Return a resolution, or None if the lock does not have it."""
        return self.sections.get(section, {}).get(name)

    def with_base(self, variant: Variant, base: Base) -> Lock:
        """Return the lock with the base image of a variant added or replaced."""
        return evolve(self, base={**self.base, variant: base})

    def with_resolution(self, section: str, name: str, resolution: Resolution) -> Lock:
        """Return the lock with a resolution added or replaced."""
        held = {**self.sections.get(section, {}), name: resolution}
        return evolve(self, sections={**self.sections, section: held})


@frozen(kw_only=True)
class _BaseRecord:
    """A base image as the file has it, whatever `Base` becomes."""

    kind: Literal["registry", "local", "archive", "bootstrap"]
    reference: str
    digest: str = ""
    python: str = ""
    platform: str = ""
    libc: str = ""
    archive: str = ""
    archive_sha256: str = ""
    missing: str = ""


@frozen(kw_only=True)
class _ResolutionRecord:
    """A resolution as the file has it, whatever `Resolution` becomes."""

    inputs: str
    requirements: str
    weights: dict[str, int] = field(factory=dict)
    folders: tuple[str, ...] = ()
    checkouts: tuple[str, ...] = ()
    version: str = ""
    indexes: dict[str, str] = field(factory=dict)


def read_lock(root: Path, sections: Collection[str] = SEPARATE) -> Lock:
    """Return the lock of the project in `root`, or an empty one.

    The notebook's file is read if one of its sections is among `sections`. Earlier versions wrote all of them into one
    file, which is read as it is. Raises UsageError if a file is damaged, or if a newer ocicaliban has written
    it.
    """
    lock = _read_file(root / NAME)
    # What is still in the old place must not replace what is in the new one.
    if not {*SEPARATE}.isdisjoint({*sections, *lock.sections}):
        for section, held in _read_file(root / NOTEBOOK).sections.items():
            for name, resolution in held.items():
                lock = lock.with_resolution(section, name, resolution)
    return lock


def _read_file(path: Path) -> Lock:
    if not path.is_file():
        return Lock()
    name = path.name
    text, raw = read_toml(
        path, f"git checkout {name}; or remove it, and ocicaliban resolves everything again", nul=True
    )

    def convert(value: object, kind: Any, key: str) -> Any:
        return structure(value, kind, path=path, text=text, keys=(key,))

    version = convert(raw.pop("version", VERSION), int, "version")
    if version > VERSION:
        raise UsageError(
            f"{path}: a newer ocicaliban wrote this file (version {version}; this one reads {VERSION})",
            f"upgrade ocicaliban, for example: {installation.renewal()}",
        )
    bases = convert(raw.pop("base", {}), dict[str, _BaseRecord], "base")
    sections = {name: convert(value, dict[str, _ResolutionRecord], name) for name, value in raw.items()}
    return Lock(
        base={variant: _base_from_record(record) for variant, record in bases.items()},
        sections={
            section: {name: _resolution_from_record(record) for name, record in records.items()}
            for section, records in sections.items()
        },
    )


def write_lock(root: Path, lock: Lock) -> None:
    """Replace the project's lock, each file in one step. Raises OSError if it cannot be written; the old one stays."""
    notebook = {section: lock.sections[section] for section in SEPARATE if section in lock.sections}
    others = {section: held for section, held in lock.sections.items() if section not in SEPARATE}
    # If the second step fails, a section is in both places, and not in none.
    if notebook:
        _write_file(root / NOTEBOOK, Lock(sections=notebook))
    _write_file(root / NAME, Lock(base=lock.base, sections=others))


def _write_file(path: Path, lock: Lock) -> None:
    """Replace a file of the lock, unless it holds the same already."""
    import tomli_w  # few commands write a lock

    texts: list[str] = []
    record: dict[str, object] = {"version": VERSION}
    if lock.base:
        record["base"] = {variant: _base_to_record(base) for variant, base in lock.base.items()}
    for section, resolutions in lock.sections.items():
        held = {name: _resolution_to_record(resolution) for name, resolution in resolutions.items()}
        for each in held.values():
            if _is_literal(text := str(each["requirements"])):
                each["requirements"] = f"{_PLACE}{len(texts)}"
                texts.append(text)
        record[section] = held
    content = _HEAD + tomli_w.dumps(record, multiline_strings=True)
    # A string without escapes shows requirements as pip and uv write them.
    content = re.sub(f'"{_PLACE}(\\d+)"', lambda match: f"'''\n{texts[int(match[1])]}'''", content)
    if not path.is_file() or path.read_bytes() != content.encode():
        files.replace(path, content, lasting=True)


def _is_literal(text: str) -> bool:
    """Whether a text is the same as a literal string of TOML."""
    return text.endswith("\n") and "'''" not in text and not re.search(r"[^\t\n -~\u00a0-\ud7ff\ue000-\uffff]", text)


def _base_from_record(record: _BaseRecord) -> Base:
    return Base(
        kind=record.kind,
        reference=record.reference,
        digest=record.digest,
        python=record.python,
        platform=record.platform,
        libc=record.libc,
        archive=record.archive,
        archive_sha256=record.archive_sha256,
        missing=record.missing,
    )


def _base_to_record(base: Base) -> dict[str, str]:
    optional = {"archive": base.archive, "archive_sha256": base.archive_sha256, "missing": base.missing}
    return {
        "kind": base.kind,
        "reference": base.reference,
        "digest": base.digest,
        "python": base.python,
        "platform": base.platform,
        "libc": base.libc,
        # Old versions do not know these, and few bases have them.
        **{name: value for name, value in optional.items() if value},
    }


def _resolution_from_record(record: _ResolutionRecord) -> Resolution:
    return Resolution(
        inputs=record.inputs,
        requirements=record.requirements,
        weights=record.weights,
        folders=record.folders,
        checkouts=record.checkouts,
        version=record.version,
        indexes=record.indexes,
    )


def _resolution_to_record(resolution: Resolution) -> dict[str, object]:
    """Return a resolution as the file has it. What is empty is left out, except for what the first version had."""
    record: dict[str, object] = {
        "inputs": resolution.inputs,
        "requirements": resolution.requirements,
        "weights": resolution.weights,
    }
    more: dict[str, object] = {
        "folders": resolution.folders,
        "checkouts": resolution.checkouts,
        "version": resolution.version,
        "indexes": resolution.indexes,
    }
    return record | {name: value for name, value in more.items() if value}
