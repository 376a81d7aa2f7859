"""Take out of a lock what is resolved again, and tell in what two locks differ; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from ocicaliban.dependencies import locked_requirements
from ocicaliban.dependencies.conda import packages as conda_packages
from ocicaliban.errors import UsageError, nearest
from ocicaliban.model.image import Base
from ocicaliban.project.lockfile import Lock, Resolution

GROUPS: Mapping[str, tuple[str, ...]] = {
    "base": (),
    "apt": ("apt",),
    "conda": ("conda",),
    "python": ("python", "project"),
    "git": (),
    "notebook": ("jupyter", "papermill"),
}
"""The sections of the lock that a name stands for. Two are none: the base images, and the commits of git packages."""
_PYTHON = ("python", "project", "jupyter", "papermill")


@frozen(kw_only=True)
class Change:
    """A package of a section of the lock with its version before and after, "" if it is not there.

    `name` is that of the resolution ("cpu"). Without a package, only what the resolution depends on has changed, or it
    has no packages: then one of the two is "nothing".
    """

    section: str
    name: str
    package: str = ""
    before: str = ""
    after: str = ""

    @property
    def line(self) -> str:
        """The change in words."""
        where = f"({self.section}, {self.name})"
        if not self.package and self.before == self.after:
            return f"resolved from other inputs {where}"
        if not self.package:
            return f"{'removed' if self.before else 'resolved'}: nothing to install {where}"
        if not self.before:
            return f"added {self.package} {self.after} {where}"
        if not self.after:
            return f"removed {self.package} {self.before} {where}"
        return f"updated {self.package} {self.before} -> {self.after} {where}"


def without(lock: Lock, names: tuple[str, ...]) -> Lock:
    """Return a lock from which the next plan resolves again what the names stand for: all of it, without a name.

    A name is that of a part of the lock (a key of `GROUPS`) or of a package. Raises UsageError if it is neither.
    """
    if not names:
        return Lock()
    for name in names:
        lock = _without_group(lock, name) if name in GROUPS else _without_package(lock, name)
    return lock


def _without_group(lock: Lock, group: str) -> Lock:
    if group == "base":
        return evolve(lock, base={})
    sections = {section: held for section, held in lock.sections.items() if section not in GROUPS[group]}
    if group == "git":
        sections = {
            section: {name: _without_commits(each) for name, each in held.items()} for section, held in sections.items()
        }
    return evolve(lock, sections=sections)


def _without_commits(resolution: Resolution) -> Resolution:
    return evolve(resolution, inputs="", checkouts=()) if resolution.checkouts else resolution


def _without_package(lock: Lock, name: str) -> Lock:
    sections = {section: dict(held) for section, held in lock.sections.items()}
    known = {*GROUPS}
    found = False
    for section, held in sections.items():
        for key, resolution in held.items():
            packages = _packages(section, resolution)
            known |= {*packages}
            wanted = locked_requirements.normalized(name) if section in _PYTHON else name
            if wanted not in packages:
                continue
            if section not in (*_PYTHON, "conda"):
                raise UsageError(
                    f"--upgrade {name}: the section '{section}' is resolved as a whole",
                    f"ocicaliban lock --upgrade {section}",
                )
            found = True
            text = _text_without(section, resolution.requirements, wanted)
            held[key] = evolve(resolution, inputs="", requirements=text)
    if not found:
        raise UsageError(
            f"--upgrade {name}: the lock has neither a package nor a part of this name", nearest(name, sorted(known))
        )
    return evolve(lock, sections=sections)


def _text_without(section: str, text: str, name: str) -> str:
    if section == "conda":
        return conda_packages.to_text(each for each in conda_packages.from_text(text) if each.name != name)
    return locked_requirements.without(text, [name])


def _packages(section: str, resolution: Resolution) -> dict[str, str]:
    """Return the version of each package of a resolution, by name; for one from git or an address, that is where."""
    if section == "conda":
        return {each.name: each.version for each in conda_packages.from_text(resolution.requirements)}
    found: dict[str, str] = {}
    for head in (*locked_requirements.heads(resolution.requirements), *resolution.checkouts):
        requirement = head.partition(" ; ")[0]
        name, separator, where = requirement.partition(" @ ")
        if not separator:
            name, _, where = requirement.split(" ")[0].partition("==" if "==" in requirement else "=")
        found[locked_requirements.normalized(name.partition("[")[0]) if section in _PYTHON else name] = where.strip()
    return found


def changes(before: Lock, after: Lock) -> tuple[Change, ...]:
    """Return in what a lock differs from the one before, in the order of the lock."""
    return (*_base_changes(before, after), *_section_changes(before, after))


def _base_changes(before: Lock, after: Lock) -> Iterator[Change]:
    for variant in sorted({*before.base, *after.base}):
        old, new = before.base.get(variant), after.base.get(variant)
        if old == new:
            continue
        reference = (new or old or Base(kind="registry", reference="")).reference
        images = [_image(each, reference) for each in (old, new)]
        same = images[0] == images[1]
        yield Change(
            section="base",
            name=variant,
            package="" if same else reference,
            before="" if same else images[0],
            after="" if same else images[1],
        )


def _image(base: Base | None, reference: str) -> str:
    """Return which image a base is, with its name if that is not `reference`; "" for none."""
    if base is None:
        return ""
    digest = base.digest[:19] or "(not resolved)"
    return digest if base.reference == reference else f"{base.reference}@{digest}"


def _section_changes(before: Lock, after: Lock) -> Iterator[Change]:
    nothing = Resolution(inputs="", requirements="")
    for section in sorted({*before.sections, *after.sections}):
        olds, news = before.sections.get(section, {}), after.sections.get(section, {})
        for name in sorted({*olds, *news}):
            if olds.get(name) == news.get(name):
                continue
            old, new = (_packages(section, each.get(name, nothing)) for each in (olds, news))
            differing = [each for each in sorted({*old, *new}) if old.get(each) != new.get(each)]
            for each in differing:
                yield Change(
                    section=section, name=name, package=each, before=old.get(each, ""), after=new.get(each, "")
                )
            if not differing:
                there = ["nothing" if name in each else "" for each in (olds, news)]
                both = all(there)
                yield Change(
                    section=section, name=name, before="" if both else there[0], after="" if both else there[1]
                )
