"""The input `source`: the project's files, with a layer for each heavy folder."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from ocicaliban.build.inputs.folders import data_folders, memo_file, not_source
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided, Provider
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Tree
from ocicaliban.model.project import Instance
from ocicaliban.project import entry_point, ignore_rules, source_tree, tree_parts


def instances(digest: str, parts: Sequence[tuple[str, str]] = ()) -> tuple[Instance, ...]:
    """Return the layers of a source with this digest; pure.

    `parts` are the digests of its heavy folders, with their names, and last of the rest, with the name "". Without
    parts there is one layer.
    """
    return tuple(
        Instance(label=label, values={"source_tree": part, "last": not label})
        for label, part in parts or (("", digest),)
    )


def _provide(context: PlanContext, parameters: InputParameters | None) -> Provided:
    project = context.project
    folders = data_folders(project, context.request.dirs)
    tree = source_tree.read_tree(
        project.root,
        memo=memo_file(project.root),
        exclude=not_source(folders),
        never=context.secret_files,
        allowed=context.allowed_secrets,
    )
    _check_command(tree, context.command, folders)
    parts = tree_parts.divide(tree)
    return Provided(
        values={"source_tree": tree.digest},
        instances=instances(tree.digest, [(label, part.digest) for label, part in parts]),
        trees=(tree, *(part for _, part in parts)),
        trees_read=(tree,),
    )


def _check_command(tree: Tree, command: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Raise UsageError if the file that the container starts is neither in the source nor in a folder of data."""
    links = {entry.path: entry.digest for entry in tree.entries if entry.kind == "link"}
    named = entry_point.entry_files(command)
    wanted = {_resolved(path, links) for path in named}
    if any(path.startswith(f"{folder}/") for path in wanted for folder in folders):
        return
    if wanted and not {entry.path for entry in tree.entries} & wanted:
        raise UsageError(
            f"an ignore file leaves '{named[0]}' out of the image",
            f"include it with a line `!PATTERN` in {ignore_rules.ignore_file_name(tree.root)}, or use --mount",
        )


def _resolved(path: str, links: Mapping[str, str]) -> str:
    """Return where a path of a tree leads, given the targets of the tree's links by their paths."""
    for _ in range(40):  # the kernel follows as many
        parts = path.split("/")
        heads = ("/".join(parts[:length]) for length in range(1, len(parts) + 1))
        link = next((head for head in heads if head in links), None)
        if link is None:
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(link), links[link], path[len(link) + 1 :]))
    return path


PROVIDER = Provider(
    kind="source",
    provide=_provide,
    empty=Provided(values={"source_tree": ""}, instances=instances("")),
    layers="heavy folder of the source, and one for the rest",
)
