"""The input `data`: folders of data, a layer each."""

from __future__ import annotations

from collections.abc import Sequence

from ocicaliban.build.inputs.folders import data_folders, memo_file
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.errors import UsageError
from ocicaliban.model.project import Instance
from ocicaliban.project import source_tree


def instances(folders: Sequence[tuple[str, str]]) -> tuple[Instance, ...]:
    """Return a layer for each folder, given with the digest of its tree; pure."""
    return tuple(Instance(label=name, values={"data_dir": name, "data_tree": digest}) for name, digest in folders)


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    folders = data_folders(context.project, context.request.dirs)
    if parameters is None:
        # Where the project is mounted, its folders of data are too.
        if folders and not context.mounts_project:
            message = f"the mode has no recipe for the folder of data '{folders[0]}'"
            raise UsageError(message, 'add "data" to its list, before the source')
        return _EMPTY
    root, secrets, allowed = context.project.root, context.secret_files, context.allowed_secrets
    trees = tuple(
        source_tree.read_tree(
            root / name, memo=memo_file(root, name), never=secrets, ignore=False, top=name, allowed=allowed
        )
        for name in folders
    )
    digests = [(name, tree.digest) for name, tree in zip(folders, trees, strict=True)]
    return Provided(instances=instances(digests), trees=trees, trees_read=trees)


_EMPTY = Provided(instances=())
PROVIDER = Provider(kind="data", provide=_provide, empty=_EMPTY, always=True, layers="folder of data")
