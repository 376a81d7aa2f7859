"""Resolve a project's dependencies for the Python of its base image, unless the lock has them already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban import hints
from ocicaliban.dependencies import (
    archive_formats,
    dependency_groups,
    installable,
    locked_packages,
    locked_requirements,
    uv_builds,
)
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, build_texts, manifest
from ocicaliban.dependencies.installable import Installable
from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.errors import UsageError
from ocicaliban.project.lockfile import Resolution

if TYPE_CHECKING:
    from ocicaliban.dependencies.cuda_wheels import CudaRequest
    from ocicaliban.dependencies.indexes import Indexes
    from ocicaliban.model.image import Base


_EXPLICIT = re.compile(r"""\bexplicit["']?\s*[:=]\s*true""")


@hints.explaining("resolve")
def resolve(
    declaration: Declaration | None,
    target: ResolutionTarget,
    locked: Resolution | None,
    indexes: Indexes,
    libraries: CudaRequest | None = None,
) -> Resolution | None:
    """Return the dependencies of a declaration, with the CUDA libraries asked for; None if there are none.

    Returns `locked`, what the lock has, while its inputs are unchanged. Otherwise uv resolves, and prefers the locked
    versions. `indexes` are the package indexes that the project names. Raises UsageError if the declaration does not
    fit, or an extra is asked for that nothing declares, and ToolError with uv's explanation if the dependencies cannot
    be resolved.
    """
    base = target.base
    _check_declared(declaration, target)
    if declaration is None and libraries is None:
        return None
    if declaration:
        target = evolve(
            target,
            extras=declaration.resolved_extras(target.extras, target.variant),
            groups=declaration.resolved_groups(target.groups),
        )

    def digest_with(folders: tuple[str, ...]) -> str:
        groups = (*target.groups, *target.provided, *(["torch any"] if target.torch == "any" else []))
        return inputs_digest(declaration, base, target.extras, libraries, groups, folders)

    if locked and locked.inputs == digest_with(locked.folders):
        return locked
    from ocicaliban.dependencies import cuda_wheels, uv  # most plans resolve nothing
    from ocicaliban.dependencies.host_settings import read_host_settings

    preferred = locked.requirements if locked else ""
    lists, pins, options = dict[str, str](), dict[str, str](), PipOptions()
    text, found = "", Installable(requirements="")
    if declaration:
        lists, options = declaration.requirement_lists(), uv_builds.with_formats(declaration.pip_options(), declaration)
        resolved, pins = _origins_apart(_resolved(declaration, target, indexes, preferred), base)
        text = (found := installable.divided(resolved, declaration.root, base)).requirements
    settings = read_host_settings().with_indexes(evolve(indexes, pins=pins)).with_options(options)
    text = uv.with_hashes(text, base, settings)
    if libraries and (wheels := cuda_wheels.missing_wheels(libraries, text)):
        what = f"what layers.{libraries.recipe} asks for"
        added_to = uv.with_additions(text, wheels, base, settings, preferred, what, target.provided)
        text, pins = _origins_apart(added_to, base)
    text = _with_declared_hashes(text, lists, options)
    if options.decide_on_archives:
        text = archive_formats.restricted(text, options, uv.locked_archives(text, base, settings))
    _check_logins(text)
    weights = uv.archive_sizes(text, base, settings) if text else {}
    return Resolution(
        inputs=digest_with(found.folders),
        requirements=text,
        weights=weights,
        folders=found.folders,
        checkouts=found.checkouts,
        indexes=pins,
    )


def _resolved(declaration: Declaration, target: ResolutionTarget, indexes: Indexes, preferred: str) -> str:
    """Return what a declaration resolves to; for the CPU with CPU builds of torch, unless the project wants others."""
    resolved = declaration.resolve(target, preferred)
    if target.variant != "cpu" or target.torch != "cpu" or "torch" not in resolved:
        return resolved
    from ocicaliban.dependencies import torch_builds  # few projects need it
    from ocicaliban.dependencies.host_settings import read_host_settings

    declared = locked_requirements.declared_hashes(declaration.requirement_lists().values())
    if not torch_builds.bring_cuda(resolved) or torch_builds.decides(declaration, indexes, declared):
        return resolved
    return torch_builds.with_cpu_builds(declaration, target, read_host_settings(), resolved, preferred)


def _check_declared(declaration: Declaration | None, target: ResolutionTarget) -> None:
    """Raise UsageError for an extra or a group if no file declares any."""
    for kind, table, names in (
        ("extra", "[project.optional-dependencies]", target.extras),
        ("dependency group", "[dependency-groups]", target.groups),
    ):
        if declaration is None and names:
            raise UsageError(
                f"there is no {kind} '{names[0]}': no file of the project declares dependencies",
                f"declare it in pyproject.toml under {table}, or leave it out",
            )


def _origins_apart(text: str, base: Base) -> tuple[str, dict[str, str]]:
    """Return locked requirements without the indexes that they name, and the index of each package that has one."""
    pins = locked_requirements.origins(text, locked_packages.marker_environment(base))
    return locked_requirements.without_origins(text), dict(sorted(pins.items()))


def inputs_digest(
    declaration: Declaration | None,
    base: Base,
    extras: tuple[str, ...],
    libraries: CudaRequest | None = None,
    groups: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
) -> str:
    """Return a digest of all that a resolution depends on; `folders` are the packages in the project's folders."""
    texts = declaration.texts() if declaration else {}
    for folder in folders:
        assert declaration
        texts |= {f"{folder}/{name}": text for name, text in build_texts(declaration.root / folder).items()}
    sha = hashlib.sha256()
    parts = [declaration.path.name if declaration else "", base.python, base.platform, base.libc, *extras]
    parts += [text for pair in sorted(texts.items()) for text in pair]
    if locked_requirements.declared_hashes(texts.values()):
        parts.append("declared hashes")  # an older version may have written a lock without regard to them
    if any(_EXPLICIT.search(text) for text in texts.values()):
        parts.append("explicit indexes")  # an earlier version did not note which packages come from them
    if declaration and declaration.pip_options().decide:
        parts.append("pip's options")  # an earlier version passed over some of them
    if declaration and uv_builds.with_formats(PipOptions(), declaration).decide_on_archives:
        parts.append("uv's no-binary and no-build")  # so did an earlier version with these
    if groups:
        parts += ["groups", *groups]
        parts += [dependency_groups.text(manifest(declaration.groups_file.parent))] if declaration else []
    if libraries:
        parts += ["cuda", libraries.version, *libraries.components]
    for part in parts:
        sha.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return f"sha256:{sha.hexdigest()}"


def _with_declared_hashes(text: str, lists: Mapping[str, str], options: PipOptions) -> str:
    """Return locked requirements with those hashes alone that the lists of requirements declare.

    Raises UsageError if the lists say --require-hashes and have none for a locked package.
    """
    declared = locked_requirements.declared_hashes(lists.values())
    names = (locked_requirements.name(entry) for entry in locked_requirements.entries(text))
    missing = next((name for name in names if name and name not in declared), "")
    if missing and options.require_hashes:
        raise UsageError(
            f"{', '.join(lists)}: --require-hashes, but there is no hash for {missing}",
            "`uv pip compile --generate-hashes` writes a list with the hashes of all packages",
        )
    return locked_requirements.with_declared_hashes(text, declared)


_LOGIN = re.compile(r"https?://(?![^/@\s]*\$\{)[^/@\s]+@")


def _check_logins(text: str) -> None:
    """Raise UsageError if the address of a package has a login in it: the lock would keep it, and is committed."""
    entry = next((entry for entry in locked_requirements.entries(text) if _LOGIN.search(entry)), None)
    if entry is not None:
        name = locked_requirements.name(entry) or "a package"
        raise UsageError(
            f"the address of {name} has a login in it, which the lock would keep",
            "write a variable in its place, as https://USER:${TOKEN}@HOST/..., and set it; or use ~/.netrc",
        )


def resolve_additions(
    requirements: str,
    additions: tuple[str, ...],
    base: Base,
    locked: Resolution | None,
    indexes: Indexes,
    what: str,
    provided: tuple[str, ...] = (),
) -> Resolution:
    """Return what must be installed in addition to the locked `requirements` for `additions`; their versions stay.

    Returns `locked` while its inputs are unchanged, and prefers its versions otherwise. `what` names the additions in a
    message, and `provided` are packages that the environment has already (NAME==VERSION). Raises ToolError with uv's
    explanation if they do not fit.
    """
    sha = hashlib.sha256("\0".join((base.python, base.platform, *additions, *provided, "", requirements)).encode())
    digest = f"sha256:{sha.hexdigest()}"
    if locked and locked.inputs == digest:
        return locked
    from ocicaliban.dependencies import uv  # most plans resolve nothing
    from ocicaliban.dependencies.host_settings import read_host_settings

    settings = read_host_settings().with_indexes(indexes)
    # What is locked for other platforms alone is not installed.
    installed = requirements
    if ";" in requirements:
        installed = _origins_apart(uv.with_additions(requirements, (), base, settings, "", "the lock"), base)[0]
    preferred = requirements + (locked.requirements if locked else "")
    added_to = uv.with_additions(requirements, additions, base, settings, preferred, what, provided)
    whole = _origins_apart(added_to, base)[0]
    names = {locked_requirements.name(entry) for entry in locked_requirements.entries(installed)}
    added = (entry for entry in locked_requirements.entries(whole) if locked_requirements.name(entry) not in names)
    return Resolution(inputs=digest, requirements="".join(added))
