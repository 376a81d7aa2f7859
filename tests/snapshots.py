"""Snapshots of a world without files, as the providers would make them."""

from __future__ import annotations

from attrs import frozen

from ocicaliban.build.inputs import (
    command,
    conda,
    cuda,
    data,
    debian_packages,
    interpreter,
    jupyter,
    papermill,
    postbuild,
    requirements,
    shell,
    source,
)
from ocicaliban.build.inputs.installed_package import InstalledPackage, of_packages
from ocicaliban.build.inputs.provider import Provided
from ocicaliban.dependencies.conda.install import PackageTree
from ocicaliban.dependencies.size_tiers import Group
from ocicaliban.model.image import Base
from ocicaliban.model.project import Snapshot
from ocicaliban.model.recipe import Variant


@frozen(kw_only=True)
class World:
    """What the providers would read: digests, locked requirements, what starts."""

    variant: Variant
    base: Base
    conda: tuple[tuple[str, PackageTree], ...] = ()
    conda_python: str = ""
    source: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    requirements: tuple[tuple[str, str], ...] = ()
    cuda_libraries: str = ""
    jupyter: str = ""
    packages: tuple[InstalledPackage, ...] = ()
    module: str = ""
    command: tuple[str, ...] = ()
    shell: str = ""
    postbuild: str = ""
    papermill: str | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that the planner would make of it."""
        provided = {
            "conda": conda.of_packages(self.conda_python, self.conda, (), ("STUDY=1",)),
            "requirements": requirements.of_groups([Group(*group) for group in self.requirements], self.conda_python),
            "project": of_packages(self.packages, environment_exists=bool(self.requirements or self.conda_python)),
            "interpreter": interpreter.of_base(self.base),
            "cuda": cuda.of_libraries(self.cuda_libraries),
            "jupyter": jupyter.of_requirements(self.jupyter),
            "debian-packages": debian_packages.of_packages((), ()),
            "command": command.of_command(self.module, self.command),
            "papermill": papermill.of_requirements(
                self.papermill, environment_exists=bool(self.requirements or self.conda_python)
            ),
            "postbuild": postbuild.of_script(self.postbuild),
            "shell": shell.of_shell(self.shell),
            "data": Provided(instances=data.instances(self.data)),
            "source": Provided(
                values={"source_tree": self.source}, instances=source.instances(self.source, self.parts)
            ),
        }
        return Snapshot(
            variant=self.variant,
            base=self.base,
            values={name: value for each in provided.values() for name, value in each.values.items()},
            instances={kind: each.instances for kind, each in provided.items()},
            trees=frozenset(digest for _, digest in (("", self.source), *self.parts, *self.data)) - {""}
            | {package.tree for package in self.packages}
            | {tree.digest for _, tree in self.conda},
        )
