"""Write a plan as a Containerfile; pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.build.plan import copied_trees
from ocicaliban.dependencies.indexes import NO_INDEX
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Configure, Copy, Plan, Run, Tree, TreeEntry

_HEADER = """\
# The image of `ocicaliban plan {mode} --containerfile`, without ocicaliban. Build it in the project's folder:
#   echo '!*' | podman build --layers=false --network host --ignorefile /dev/stdin{options} -f Containerfile .
"""
_OWN_INDEX = """\
# For a package index or certificates of your own add
#   -v "$HOME/.config/uv/uv.toml":/dev/oc/uv.toml:ro --build-arg UV_CONFIG_FILE=/dev/oc/uv.toml
#   -v /etc/ssl/certs/ca-certificates.crt:/dev/oc/ca.crt:ro --build-arg SSL_CERT_FILE=/dev/oc/ca.crt
"""


@frozen(kw_only=True)
class CopiedTree:
    """A tree that is copied.

    `folder` is its folder, relative to the build context. `whole` are the folders in it from which nothing is left out
    (`source_tree.whole_folders`), so that COPY can name them. Where a `script` makes the files of a tree that a step
    sees, in the current folder, there are no others.
    """

    folder: str
    tree: Tree
    whole: frozenset[str]
    script: str = ""


def made_by(script: str, digest: str) -> CopiedTree:
    """Return a tree that is not in the project, and whose files a script makes."""
    return CopiedTree(folder="", tree=Tree(root=Path(), digest=digest, entries=()), whole=frozenset(), script=script)


def as_containerfile(plan: Plan, trees: Mapping[str, CopiedTree], base: str = "") -> str:
    """Return the image of a plan as a Containerfile.

    `trees` holds each copied tree by its digest. `base` is the name of the base image if only the local store has it.
    Raises UsageError if the base image has not been fetched or made yet, and for a file name that a Containerfile
    cannot hold.
    """
    if not plan.base.digest or (plan.base.kind != "registry" and not base):
        raise UsageError(f"the store does not have the base image {plan.base.reference} yet", "run `ocicaliban build`")
    reference = base or plan.base.reference
    if plan.base.kind == "registry" and plan.base.digest:
        reference = f"{reference}@{plan.base.digest}"
    runs = [step for layer in plan.layers for step in layer.steps if isinstance(step, Run)]
    options = [f"--secret id={name},src=FILE" for name in dict.fromkeys(name for step in runs for name in step.secrets)]
    arguments: list[str] = []
    head = _HEADER
    if any("uv" in step.tools for step in runs):
        options.insert(0, '-v "$(command -v uv)":/dev/oc/uv:ro')
        arguments = ["ARG UV_CONFIG_FILE", "ARG SSL_CERT_FILE"]
        head += _OWN_INDEX
    if base:
        head += "# Its base is an image of this machine's store, which `podman save` takes elsewhere.\n"
    given = "".join(f" \\\n#       {option}" for option in options)
    out = [head.format(mode=plan.mode, options=given), f"FROM {reference}", *arguments]
    for layer in plan.layers:
        out.append(f"\n# {layer.name}")
        for step in layer.steps:
            if any(tree not in trees for tree in copied_trees(step)):
                raise UsageError(
                    f"a Containerfile cannot hold the layer '{layer.name}', whose files are not in the project",
                    "`ocicaliban build`, and then `podman save` or `ocicaliban push`",
                )
            if isinstance(step, Copy):
                out += _copies(trees[step.tree], step.to)
            elif isinstance(step, Run):
                out.append(_run(step, trees))
            else:
                out += _settings(step)
    return "\n".join(out) + "\n"


_BUILDS = "uv-builds.toml"
"""The file with uv's settings for builds, below /dev/oc."""
_PIECE = 50_000
"""Bytes in one word of a command. The kernel's limit is 131072."""


def _copies(source: CopiedTree, to: str) -> list[str]:
    """Return instructions that copy exactly the entries of a tree.

    There is one COPY for each whole folder, and one for the files of each other folder. COPY follows a link that it
    names (not those in a folder), so a command creates links, and folders without files.
    """
    found: list[str] = []
    files: dict[str, list[str]] = {}
    commands: list[str] = []

    def place(path: str) -> str:
        return f"{to}/{path}" if path else to

    for entry in (TreeEntry(path="", kind="dir"), *source.tree.entries):
        if any(folder in source.whole for folder in _parents(entry.path)):
            continue
        if entry.kind == "file":
            files.setdefault(posixpath.dirname(entry.path), []).append(entry.path)
        elif entry.kind == "link":
            commands.append(f"ln -s {_quoted(entry.digest)} {_quoted(place(entry.path))}")
        elif entry.path in source.whole:
            found.append(_copy(source, [entry.path], place(entry.path)))
        elif entry.path:
            commands.append(f"mkdir -p {_quoted(place(entry.path))}")
    for folder, names in files.items():
        for some in _pieces(names):
            found.append(_copy(source, some, place(folder) + "/"))
    if commands or not found:
        commands.insert(0, f"mkdir -p {_quoted(to)}")  # otherwise COPY creates it
    # Commands first: a link may be in a folder that holds nothing else.
    made = [f"RUN {json.dumps(['/bin/sh', '-ec', chr(10).join(some)])}" for some in _pieces(commands)]
    return [*made, *found]


def _parents(path: str) -> list[str]:
    """Return the folders above a path in its tree. The tree itself is ""."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)] if path else []


def _pieces(lines: Sequence[str]) -> list[list[str]]:
    """Return the lines in groups that fit into one instruction."""
    groups: list[list[str]] = []
    room = 0
    for line in lines:
        size = len(line.encode()) + 1
        if size > room:
            groups.append([])
            room = _PIECE
        groups[-1].append(line)
        room -= size
    return groups


def _copy(source: CopiedTree, paths: Sequence[str], to: str) -> str:
    names = [posixpath.normpath(posixpath.join(source.folder, path)) for path in paths]
    return f"COPY {json.dumps([*map(_literal, names), _escaped(to)])}"


def _literal(name: str) -> str:
    """Return a name in which COPY expands nothing."""
    if "\\" in name:
        raise UsageError(f"a Containerfile cannot name '{name}'", "rename it, or add it to .containerignore")
    return _escaped(re.sub(r"[*?[]", r"[\g<0>]", name))


def _escaped(text: str) -> str:
    return text.replace("$", "\\$")


def _run(step: Run, trees: Mapping[str, CopiedTree]) -> str:
    """Return the instruction for a script. Its files are written to /dev, which is a tmpfs during a build.

    Trees that it sees are copied from the build context and removed again.
    """
    mounts = [f"--mount=type=secret,id={name},target=/dev/oc/secrets/{name}" for name in step.secrets]
    mounts += [f"--mount=type=cache,target={path}" for path in step.cache]
    before = [f"export {name}={_quoted(value)}" for name, value in step.env]
    before += [f"export OC_CACHE_{number}={_quoted(path)}" for number, path in enumerate(step.cache)]
    if step.index and step.index != NO_INDEX:
        url = re.sub(r"^[\w.-]+=", "", step.index)
        before.append(f"unset UV_CONFIG_FILE; export UV_DEFAULT_INDEX={_quoted(url)}")
    settings = ((_BUILDS, step.uv_settings),) if step.uv_settings else ()
    if settings:
        before.append(f"export UV_CONFIG_FILE=/dev/oc/{_BUILDS}")
    words: list[str] = []
    laid_out: list[tuple[str, str]] = []
    for number, (folder, digest) in enumerate(step.trees):
        if script := trees[digest].script:
            laid_out.append((f"tree-{number}", f"mkdir -p {_quoted(folder)}; cd {_quoted(folder)}\n{script}"))
            continue
        place = f"/dev/oc-context-{number}"
        mounts.append(f"--mount=type=bind,source={trees[digest].folder},target={place}")
        laid_out.append((f"tree-{number}", _lay_out(trees[digest].tree, place, folder)))
    if step.files or laid_out or settings:
        before.append("mkdir -p /dev/oc")
    for name, text in (*step.files, *settings, *laid_out):
        pieces = [text[at : at + _PIECE // 4] for at in range(0, len(text), _PIECE // 4)]
        before.append(f'for n in $(seq {len(pieces)}); do printf %s "$1"; shift; done > /dev/oc/{name}')
        words += pieces
    before += [f"sh -eu /dev/oc/{name}" for name, _ in laid_out]
    after = [f"cd / && rm -rf {_quoted(folder)}" for folder, _ in step.trees]
    argv = ["/bin/sh", "-c", "\n".join([*before, step.script, *after]), *(["sh", *words] if words else [])]
    return " ".join(["RUN", *mounts, json.dumps(argv)])


def _lay_out(tree: Tree, source: str, to: str) -> str:
    """Return a script that writes the entries of a tree from the folder `source` into the folder `to`."""
    lines = [f"mkdir -p {_quoted(to)}"]
    for entry in tree.entries:
        target = _quoted(f"{to}/{entry.path}")
        if entry.kind == "dir":
            lines.append(f"mkdir -p {target}")
        elif entry.kind == "link":
            lines.append(f"ln -s {_quoted(entry.digest)} {target}")
        elif entry.text:
            lines.append(f"printf %s {_quoted(entry.text)} > {target}")
        elif entry.size:
            lines.append(f"cp {_quoted(f'{source}/{entry.path}')} {target}")
        else:
            lines.append(f": > {target}")
    return "\n".join(lines) + "\n"


def _settings(step: Configure) -> list[str]:
    found = [f"ENV {name}={_escaped(json.dumps(value, ensure_ascii=False))}" for name, value in step.env]
    if step.path:
        found.append(f"ENV PATH={':'.join(step.path)}:$PATH")
    if step.workdir:
        found.append(f"WORKDIR {step.workdir}")
    if step.entrypoint:
        found.append(f"ENTRYPOINT {json.dumps(list(step.entrypoint))}")
    return found + [f"EXPOSE {port}" for port in step.ports]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
