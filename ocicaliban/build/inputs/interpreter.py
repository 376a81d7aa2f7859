"""The input `interpreter`: the Python that the base image lacks, or the command `python` or `python3`."""

from __future__ import annotations

from ocicaliban.build.base.managed_python import ArchiveTree
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.model.image import Base
from ocicaliban.model.project import Instance


def of_base(base: Base | None) -> Provided:
    """Return the values and layers for what a base image lacks, None for a base that lacks nothing; pure."""
    archive = ArchiveTree(base=base) if base and base.archive else None
    missing = base.missing if base and not archive else ""
    return Provided(
        values={
            "python_archive": base.archive if base and archive else "",
            "python_sha256": base.archive_sha256 if base and archive else "",
            "python_version": base.python if base and archive else "",
            "python_tree": archive.digest if archive else "",
            "python_machine": base.machine if base else "",
            "missing_command": missing,
        },
        instances=(Instance(label="python", values={}),) if archive or missing else (),
        made_trees=(archive,) if archive else (),
    )


def _provide(context: PlanContext, _parameters: InputParameters | None) -> Provided:
    # conda's Python brings both commands.
    return of_base(None if context.conda_python else context.base)


PROVIDER = Provider(
    kind="interpreter", provide=_provide, empty=of_base(None), reads_contents=False, layers="Python that the base lacks"
)
