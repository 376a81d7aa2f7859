"""A plan as text, JSON and a Containerfile; pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.text import amount
from ocicaliban.jobs.status_table import aligned
from ocicaliban.model.image import Configure, Copy, Plan, Run, Tree, TreeEntry


def lines(plan: Plan, there: Mapping[str, int], reasons: Mapping[str, str]) -> tuple[str, ...]:
    """The stack from the bottom up, a line each.

    `there` are the keys of the layers that the store has, with their sizes in bytes (the base's under its own key);
    `reasons` tell, by name, what changed since the last build.
    """
    width = max([len(layer.name) for layer in plan.layers] + [4])
    rows = [_base_line(plan, there, width)]
    for layer in plan.layers:
        present = layer.key in there
        size = amount(there[layer.key]) if present else ""
        state = "there" if present else f"to be built: {reasons.get(layer.name, 'not in the store any more')}"
        rows.append(f"{layer.name:{width}}  {layer.key[:12]}  {size:>9}  {state}")
    return tuple(rows)


def difference(
    one: Plan, other: Plan, left_out: Sequence[str] = (), always: Sequence[str] = (), *, mounts: str = ""
) -> tuple[str, ...]:
    """What two modes have in common and what not.

    `mounts` is the one of them that mounts the project, where the other's image has a copy; `left_out` the paths that
    this copy lacks, `always` those that anybody would expect it to lack.
    """
    keys, others = ({layer.name: layer.key for layer in plan.layers} for plan in (one, other))
    rows = {
        "in both": [*(["base"] if one.base_key == other.base_key else []), *(n for n in keys if n in others)],
        f"in {one.mode} only": [name for name in keys if name not in others],
        f"in {other.mode} only": [name for name in others if name not in keys],
        "in both, not the same": ["base"] if one.base_key != other.base_key else [],
    }
    for name, key in keys.items():
        if name in others and others[name] != key:
            rows["in both"].remove(name)
            rows["in both, not the same"].append(name)
    out = aligned([(title, ", ".join(names)) for title, names in rows.items() if names])
    if left_out:
        copies = one.mode if mounts == other.mode else other.mode
        out += ["", f"seen in {mounts}, and left out of the image of {copies}:", *(f"  {path}" for path in left_out)]
    if always:
        names = sorted({posixpath.basename(path.rstrip("/")) for path in always})
        out += ["", f"left out of every image: {', '.join(names)}"]
    return tuple(out)


def _base_line(plan: Plan, there: Mapping[str, int], width: int) -> str:
    digest = plan.base.digest.removeprefix("sha256:")[:12] or "not resolved"
    size = amount(there[plan.base_key]) if plan.base_key in there else ""
    made = {"registry": "pulled", "bootstrap": "made", "archive": "unpacked", "local": "found"}[plan.base.kind]
    state = "there" if size else f"to be {made}"
    return f"{'base':{width}}  {digest:12}  {size:>9}  {state}: {plan.base.reference}"


def as_json(plan: Plan, there: Mapping[str, int], reasons: Mapping[str, str]) -> dict[str, object]:
    """The stack as plain values for `--json`; sizes in bytes."""
    return {
        "mode": plan.mode,
        "key": plan.key,
        "base": {"reference": plan.base.reference, "digest": plan.base.digest, "python": plan.base.python},
        "layers": [
            {
                "name": layer.name,
                "key": layer.key,
                "present": layer.key in there,
                "size": there.get(layer.key),
                "reason": None if layer.key in there else reasons.get(layer.name),
                "inputs": dict(layer.inputs),
            }
            for layer in plan.layers
        ],
    }


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
class Source:
    """A tree that is copied: its `folder` relative to the context, and those of its folders of which nothing on the
    disk is left out (`source_tree.whole_folders`), so that they can be copied by their name."""

    folder: str
    tree: Tree
    whole: frozenset[str]


def containerfile(plan: Plan, sources: Mapping[str, Source], base: str = "") -> str:
    """The same image as a Containerfile.

    `sources` gives each copied tree by its digest; `base` is the name of the base's image where it is one in the
    local store alone. Raises UsageError while the base is not there, and for a file name that a Containerfile cannot
    hold.
    """
    if not plan.base.digest or (plan.base.kind != "registry" and not base):
        raise UsageError(f"the base {plan.base.reference} is not there yet", "`ocicaliban build` makes or fetches it")
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
            if isinstance(step, Copy):
                out += _copies(sources[step.tree], step.to)
            elif isinstance(step, Run):
                out.append(_run(step))
            else:
                out += _settings(step)
    return "\n".join(out) + "\n"


_PIECE = 50_000
"""Bytes in one word of a command; the kernel takes 131072."""


def _copies(source: Source, to: str) -> list[str]:
    """Instructions for exactly the entries of a tree.

    One COPY for each folder that is whole, one for the files of any other. COPY follows a link that it is given by
    name (not those in a folder), so these are made by a command, as are folders without files.
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
        commands.insert(0, f"mkdir -p {_quoted(to)}")  # else COPY makes it
    # The folders first: a link may lie in one that holds nothing else.
    made = [f"RUN {json.dumps(['/bin/sh', '-ec', chr(10).join(some)])}" for some in _pieces(commands)]
    return [*made, *found]


def _parents(path: str) -> list[str]:
    """The folders above a path, within its tree; the tree itself is ""."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)] if path else []


def _pieces(lines: Sequence[str]) -> list[list[str]]:
    """`lines` in groups that are not too long for one instruction."""
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


def _copy(source: Source, paths: Sequence[str], to: str) -> str:
    names = [posixpath.normpath(posixpath.join(source.folder, path)) for path in paths]
    return f"COPY {json.dumps([*map(_literal, names), _escaped(to)])}"


def _literal(name: str) -> str:
    """A name in which COPY finds nothing to expand."""
    if "\\" in name:
        raise UsageError(f"a Containerfile cannot name '{name}'", "rename it, or add it to .containerignore")
    return _escaped(re.sub(r"[*?[]", r"[\g<0>]", name))


def _escaped(text: str) -> str:
    return text.replace("$", "\\$")


def _run(step: Run) -> str:
    """A script as ocicaliban runs it; its files are written into the tmpfs that /dev is during a build."""
    mounts = [f"--mount=type=secret,id={name},target=/dev/oc/secrets/{name}" for name in step.secrets]
    mounts += [f"--mount=type=cache,target={path}" for path in step.cache]
    before = [f"export {name}={_quoted(value)}" for name, value in step.env]
    before += [f"export OC_CACHE_{number}={_quoted(path)}" for number, path in enumerate(step.cache)]
    words: list[str] = []
    if step.files:
        before.append("mkdir -p /dev/oc")
    for name, text in step.files:
        pieces = [text[at : at + _PIECE // 4] for at in range(0, len(text), _PIECE // 4)]
        before.append(f'for n in $(seq {len(pieces)}); do printf %s "$1"; shift; done > /dev/oc/{name}')
        words += pieces
    argv = ["/bin/sh", "-c", "\n".join([*before, step.script]), *(["sh", *words] if words else [])]
    return " ".join(["RUN", *mounts, json.dumps(argv)])


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
