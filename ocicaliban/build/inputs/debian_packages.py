"""The input `debian-packages`: those that the recipe lists, and those that the project's files ask for."""

from __future__ import annotations

import os

from attrs import evolve

from ocicaliban.build import debian_resolution
from ocicaliban.build.base import published
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies.apt import packages as apt_packages
from ocicaliban.dependencies.apt.fetch import Sources
from ocicaliban.dependencies.apt.tree import PackageTree
from ocicaliban.model.project import Instance
from ocicaliban.model.recipe import Value
from ocicaliban.project.lockfile import Resolution

_SECTION = "apt"
_NOTHING: dict[str, Value] = {"locked_packages": (), "packages_lock": "", "packages_tree": "", "packages_in_image": ()}


def of_packages(
    listed: tuple[str, ...], declared: tuple[str, ...], locked: PackageTree | None = None, *, resolved: bool = True
) -> Provided:
    """Return one layer with the packages that the recipe's parameter and the project's files list; pure.

    `locked` are the locked files of these packages and of all that they need, None if apt is to choose them. While they
    are not `resolved`, the layer has a key that none has.
    """
    names = tuple(sorted({*listed, *declared}))
    if locked is None:
        return Provided(
            values=_NOTHING, instances=(Instance(label="", values={"packages": names}),) if declared else None
        )
    in_image = (each for each in locked.packages if each.archive.startswith("file:"))
    values: dict[str, Value] = {
        "packages": (),
        "locked_packages": names,
        # The base may have all that is asked for: a layer without packages is still one from the lock.
        "packages_lock": (apt_packages.identities(locked.packages) or "\n") if resolved else "# not resolved yet\n",
        "packages_tree": locked.digest,
        "packages_in_image": tuple(f"{each.archive.removeprefix('file:')}/{each.path}" for each in in_image),
    }
    return Provided(values=_NOTHING, instances=(Instance(label="", values=values),), made_trees=(locked,))


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    listed, declared = parameters.texts("packages") if parameters else (), context.environment.debian_packages
    names = tuple(sorted({*listed, *declared}))
    # A recipe from before there was a lock has no such parameter, and installs what it finds.
    if parameters is None or not names or parameters.values.get("lock") is not True:
        return of_packages(listed, declared)
    sources = Sources(
        root=context.project.root, snapshot=parameters.text("snapshot"), mirrors=parameters.texts("mirrors")
    )
    inputs = debian_resolution.inputs_digest(context.base, names)
    resolution = _resolution(context, names, inputs)
    if resolution is None:
        # The lock then differs from the one that there is.
        before = context.lock.resolution(_SECTION, context.variant)
        waiting = Resolution(inputs=inputs, requirements=before.requirements if before else "")
        tree = PackageTree(packages=(), sources=sources)
        return evolve(of_packages(listed, declared, tree, resolved=False), resolutions={context.variant: waiting})
    tree = PackageTree(packages=apt_packages.from_text(resolution.requirements), sources=sources)
    return evolve(of_packages(listed, declared, tree), resolutions={context.variant: resolution})


def _resolution(context: PlanContext, names: tuple[str, ...], inputs: str) -> Resolution | None:
    """Return the locked packages of these names, resolved if the lock does not have them and the plan may resolve.

    Those of the other variant count too, if they are of the same base image.
    """
    held = context.lock.sections.get(_SECTION, {})
    for name in (context.variant, "cpu", "gpu"):
        if name in held and held[name].inputs == inputs:
            return held[name]
    if not context.base.digest or not context.request.resolve:
        return None
    # A lock that cannot be written does not hold the next time; this machine at least stays with its choice.
    if not os.access(context.project.root, os.W_OK) and (found := debian_resolution.remembered(inputs)):
        return found
    return debian_resolution.resolve(context.base, names, context.reporter, published.repository_of(context.project))


PROVIDER = Provider(kind="debian-packages", provide=_provide, empty=of_packages((), ()), lock_section=_SECTION)
