"""The input `conda`: conda's packages, and the folder of the environment that all other packages go into."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.dependencies.conda import packages as conda_packages
from ocicaliban.dependencies.conda.declaration import CondaDeclaration
from ocicaliban.dependencies.conda.install import PREFIX, PackageTree
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.errors import UsageError
from ocicaliban.model.project import Instance
from ocicaliban.model.recipe import Value
from ocicaliban.project.config import setting_place

VENV = "/opt/venv"

_SECTION = "conda"


def of_packages(
    python: str = "",
    trees: tuple[tuple[str, PackageTree], ...] = (),
    modules: tuple[str, ...] = (),
    variables: tuple[str, ...] = (),
) -> Provided:
    """Return the values and layers of conda's packages, given as trees with the labels of their layers; pure.

    `python` is the version of the Python among them. Without one, Python packages go into a virtual environment.
    `modules` are the packages with Python modules, as NAME==VERSION, and `variables` those of the environment.
    """
    return Provided(
        values={
            "environment": PREFIX if python else VENV,
            "conda_python": python,
            "conda_modules": modules,
            "conda_variables": variables,
        },
        instances=tuple(_instances(trees)),
        made_trees=tuple(tree for _, tree in trees),
    )


def _instances(trees: tuple[tuple[str, PackageTree], ...]) -> Iterator[Instance]:
    """Yield a layer for the files of each tree, and above it one for the byte code of the modules in it."""
    none: dict[str, Value] = {"conda_tree": "", "conda_files": "", "first": False}
    for number, (label, tree) in enumerate(trees):
        yield Instance(label=label, values={**none, "conda_tree": tree.digest, "first": number == 0})
        # Packages for one platform bring their byte code.
        modules = [package for package in tree.packages if package.module and package.subdir == "noarch"]
        if tree.python and modules:
            names = "".join(f"{package.file_stem}\n" for package in modules)
            yield Instance(label=f"{label} byte code".strip(), values={**none, "conda_files": names})


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    declaration = context.environment.declaration
    if not isinstance(declaration, CondaDeclaration):
        return of_packages()
    if parameters is None:
        message = f"{declaration.shown} declares a conda environment, but the mode has no recipe for it"
        raise UsageError(message, 'add "conda" to its list, before "python"')
    base = context.base
    if not base.platform:
        # Until the base image is resolved, it is unknown for which platform to resolve.
        return of_packages()
    from ocicaliban.dependencies.conda import solve  # few projects need conda

    more = context.parameters("requirements")
    asked = tuple(sorted({*context.request.groups, *(more.texts("groups") if more else ())}))
    groups = declaration.resolved_groups(asked)
    cuda = context.parameters("cuda")
    target = solve.CondaTarget(
        base=base, variant=context.variant, groups=groups, cuda=cuda.text("version") if cuda else ""
    )
    resolution = solve.resolve(declaration, target, context.lock.resolution(_SECTION, context.variant))
    packages = conda_packages.from_text(resolution.requirements)
    _check_python(context, declaration, conda_packages.python_version(packages))
    python = next((package for package in packages if package.name == conda_packages.PYTHON), None)

    def tree(group: tuple[CondaPackage, ...]) -> PackageTree:
        return PackageTree(
            packages=group,
            python=python,
            platform=target.platform,
            file=declaration.shown,
            fetched_from=lambda wanted: solve.fetch_job(wanted, declaration),
        )

    given = of_packages(
        conda_packages.python_version(packages),
        tuple((label, tree(group)) for label, group in conda_packages.divided(packages)),
        conda_packages.provided_modules(packages),
        tuple(f"{name}={value}" for name, value in sorted(declaration.variables().items())),
    )
    return evolve(given, resolutions={context.variant: resolution}, packages=len(packages))


def _check_python(context: PlanContext, declaration: CondaDeclaration, python: str) -> None:
    """Raise UsageError if the Python that conda brings, or else the base's, is not the one that other files ask for.

    With the setting for the base's Python, only this setting counts.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    has = python or context.base.python
    source = f"{declaration.shown} brings" if python else "the base image has"
    base = next((recipe for recipe in context.recipes if recipe.provides == "base"), None)
    setting = str(context.project.layers.get(base.name, {}).get("python", "")) if base else ""
    if setting:
        if has != setting and not has.startswith(f"{setting}."):
            keys = ("layers", base.name if base else "", "python")
            given = "python" in context.request.settings.get(keys[1], {})
            place = "" if given else f"{setting_place(context.project.root, keys)}: "
            raise UsageError(f"{place}{'.'.join(keys)} is {setting}, but {source} Python {has}", "remove it")
        return
    for wanted in context.environment.python:
        try:
            fits = SpecifierSet(wanted.specifier).contains(has, prereleases=True)
        except InvalidSpecifier:
            continue
        if has and not fits:
            raise UsageError(
                f"{wanted.file} asks for Python {wanted.specifier}, but {source} Python {has}",
                f'change one of them, or write python = "{".".join(has.split(".")[:2])}" in [layers.base]',
            )


PROVIDER = Provider(
    kind="conda",
    provide=_provide,
    empty=of_packages(),
    always=True,
    lock_section=_SECTION,
    layers="group of conda packages",
)
