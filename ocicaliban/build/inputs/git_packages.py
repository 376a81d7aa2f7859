"""The packages from git among a project's dependencies, for the input `project`."""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build.inputs import build_requirements
from ocicaliban.build.inputs.installed_package import CHECKOUT, InstalledPackage
from ocicaliban.build.inputs.provider import PlanContext
from ocicaliban.dependencies import checkouts, git_version
from ocicaliban.dependencies.checkouts import Checkout
from ocicaliban.project.lockfile import Resolution


@frozen(kw_only=True)
class GitPackage:
    """A package from git: what to install, its checkout, and its resolution, which is named `section` in the lock."""

    package: InstalledPackage
    checkout: Checkout
    section: str
    resolution: Resolution


def git_packages(context: PlanContext, lock_section: str) -> tuple[GitPackage, ...]:
    """Return the packages from git among the dependencies. Those that the lock knows are not fetched."""
    requirements = context.dependencies
    if requirements is None or not requirements.checkouts:
        return ()
    declaration = context.environment.declaration
    texts = tuple(declaration.texts().values()) if declaration else ()
    return tuple(_package(context, requirement, texts, lock_section) for requirement in requirements.checkouts)


def _package(context: PlanContext, requirement: str, texts: tuple[str, ...], lock_section: str) -> GitPackage:
    base = context.environment_base
    checkout = checkouts.parsed(requirement, texts)
    section = f"{context.variant} {checkout.name} from git"
    parts = ["git 1", requirement, base.python, base.platform, base.libc]
    digest = f"sha256:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"
    resolution = context.lock.resolution(lock_section, section)
    if resolution is None or resolution.inputs != digest:
        resolution = evolve(_resolved(context, checkout, resolution), inputs=digest)
    package = InstalledPackage(
        label=checkout.name,
        mount=CHECKOUT,
        folder=posixpath.join(CHECKOUT, checkouts.SOURCE, checkout.subdirectory).rstrip("/"),
        tree=checkout.digest,
        requirements=resolution.requirements,
        version=resolution.version,
    )
    return GitPackage(package=package, checkout=checkout, section=section, resolution=resolution)


def _resolved(context: PlanContext, checkout: Checkout, locked: Resolution | None) -> Resolution:
    """Fetch a checkout, and return the requirements of its build, and its version if it takes it from git."""
    with tempfile.TemporaryDirectory(prefix="ocicaliban-") as folder:
        source = Path(folder) / checkouts.SOURCE
        checkouts.check_out(checkout, source)
        build = checkout.build(source)
        version = git_version.described(checkouts.version(source)) if build.git_version else ""
    return evolve(build_requirements.resolved(context, build, locked, checkout.name), version=version)
