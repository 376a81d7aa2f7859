"""Resolve conda's part of an environment on this machine, for the image's platform."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from ocicaliban.dependencies.conda import calls, channels, packages
from ocicaliban.dependencies.conda.declaration import CondaDeclaration, CondaEnvironment, conda_platform
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant
from ocicaliban.project.lockfile import Resolution

_KERNEL = "5.10"
"""The Linux that packages are chosen for. Containers have the machine's kernel, whose version nobody can lock."""

_CUDA = "12"
"""The version of the driver that packages are chosen for if the project names none."""


@frozen(kw_only=True)
class CondaTarget:
    """What conda's packages are resolved for: the base image, the variant, dependency groups, and a release of CUDA."""

    base: Base
    variant: Variant
    groups: tuple[str, ...] = ()
    cuda: str = ""

    @property
    def platform(self) -> str:
        """The image's platform as conda calls it."""
        return conda_platform(self.base)


def resolve(declaration: CondaDeclaration, target: CondaTarget, locked: Resolution | None) -> Resolution:
    """Return the packages of conda's part of a declaration, as the lock holds them.

    Returns `locked` while its inputs are unchanged. Otherwise rattler resolves, and prefers the locked packages. Raises
    UsageError for a mistake in the file, and OcicalibanError if no channel answers or the packages do not fit.
    """
    digest = _inputs(declaration, target)
    if locked and locked.inputs == digest:
        return locked
    environment = declaration.environment(target.platform, target.groups)
    if environment.packages:
        found = _hashed(environment, declaration, target)
        depends = environment.depends
    else:
        before = packages.from_text(locked.requirements) if locked else ()
        found, depends = _solved(environment, declaration, target, before)
    return Resolution(inputs=digest, requirements=packages.to_text(packages.with_runtime(found, depends)))


def _inputs(declaration: CondaDeclaration, target: CondaTarget) -> str:
    """Return a digest of all that a resolution depends on."""
    base = target.base
    parts = [declaration.shown, target.platform, base.libc, target.variant, target.cuda, *target.groups]
    parts += [text for pair in sorted(declaration.texts().items()) for text in pair]
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return f"sha256:{sha.hexdigest()}"


def _solved(
    environment: CondaEnvironment, declaration: CondaDeclaration, target: CondaTarget, before: Iterable[CondaPackage]
) -> tuple[tuple[CondaPackage, ...], Mapping[str, tuple[str, ...]]]:
    """Return the packages that rattler chooses, and the names that each needs."""
    if not environment.specs:
        return (), {}
    said = calls.call(
        "solve",
        declaration.shown,
        target.platform,
        channels=addresses(environment, declaration),
        specs=environment.specs,
        virtual=virtual_packages(target, environment.cuda),
        preferred=[package.url for package in before],
    )
    described = said["packages"]
    found = tuple(map(described_package, described))
    return _with_hashes(found, declaration, target), {each["name"]: tuple(each["depends"]) for each in described}


def described_package(described: Mapping[str, Any]) -> CondaPackage:
    """Return a package that the worker describes."""
    return CondaPackage(
        url=channels.without_credentials(described["url"]),
        sha256=described["sha256"],
        md5=described["md5"],
        size=described["size"],
        module=described["module"],
    )


def addresses(environment: CondaEnvironment, declaration: CondaDeclaration) -> list[str]:
    """Return the addresses of an environment's channels, those that single requirements name last."""
    named = [spec.partition("::")[0] for spec in environment.specs if "::" in spec]
    settings = channels.read_settings()
    names = [*(environment.channels or settings.channels), *(name.split("[")[0] for name in named)]
    return [*settings.addresses(names, declaration.path.parent)]


def virtual_packages(target: CondaTarget, cuda: str = "") -> list[tuple[str, str, str]]:
    """Return what conda's packages can ask of the machine, as (name, version, build): the image's, not this one's."""
    found = [("__unix", "0", "0"), ("__linux", _KERNEL, "0"), ("__archspec", "1", target.base.machine)]
    if target.base.libc:
        found.append(("__glibc", target.base.libc, "0"))
    if target.variant == "gpu":
        found.append(("__cuda", cuda or target.cuda or _CUDA, "0"))
    return found


def _hashed(
    environment: CondaEnvironment, declaration: CondaDeclaration, target: CondaTarget
) -> tuple[CondaPackage, ...]:
    plain = tuple(evolve(each, url=channels.without_credentials(each.url)) for each in environment.packages)
    return _with_hashes(plain, declaration, target)


def _with_hashes(
    found: tuple[CondaPackage, ...], declaration: CondaDeclaration, target: CondaTarget
) -> tuple[CondaPackage, ...]:
    """Return packages that all have a sha256 and a size: where nothing tells them, the package is fetched."""
    unknown = [package for package in found if not (package.sha256 and package.size)]
    if not unknown:
        return found
    said = fetch_job(unknown, declaration)
    fetched = calls.call("fetch", declaration.shown, target.platform, packages=said)["packages"]
    known = {each["url"]: each for each in fetched}
    return tuple(
        evolve(each, sha256=known[each.url]["sha256"], size=known[each.url]["size"]) if each.url in known else each
        for each in found
    )


def fetch_job(found: Iterable[CondaPackage], declaration: CondaDeclaration) -> list[dict[str, Any]]:
    """Return what the worker is told of packages to fetch, with the passwords that their channels need."""
    known = channels.read_settings().addresses(declaration.channels(), declaration.path.parent)
    return [
        {
            "url": package.url,
            "from": channels.with_credentials(package.url, known),
            "sha256": package.sha256,
            "md5": package.md5,
        }
        for package in found
    ]
