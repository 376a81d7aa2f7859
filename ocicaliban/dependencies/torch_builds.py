"""Take the CPU builds of torch for images without a GPU.

On Linux, PyPI's torch brings NVIDIA's CUDA libraries, some 3 GB. Its CPU builds are in an index of their own, or in an
index or a folder that the host's settings name. Such a source is asked for torch and its companions alone; everything
else comes from where it came before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve, frozen

from ocicaliban.dependencies import locked_requirements, uv
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.host_settings import HostSettings
from ocicaliban.dependencies.indexes import CPU_BUILDS, Indexes
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.formats.toml import table_in

_FAMILY = ("torch", "torchvision", "torchaudio")
"""Packages whose builds must be of the same kind."""
_CUDA = re.compile(r"(?:nvidia-|cuda-|triton$|pytorch-triton)")
_NAMED = re.compile(r"^[ \t\"']*(?:nvidia-\w|pytorch-triton|triton\b)", re.M)
_OWN_INDEX = re.compile(r"pytorch|/whl/", re.I)
_SETTING = 'torch = "any"'


@frozen(kw_only=True)
class _Source:
    """Where CPU builds may be: the `url` of an index, or of a folder or page with links to archives (`flat`)."""

    url: str
    flat: bool = False


def cuda_packages(requirements: str) -> tuple[str, ...]:
    """Return the packages among locked requirements that hold or load CUDA's libraries."""
    names = (locked_requirements.name(entry) for entry in locked_requirements.entries(requirements))
    return tuple(name for name in names if _CUDA.match(name))


def bring_cuda(requirements: str) -> bool:
    """Whether locked requirements have a torch that brings CUDA, and is no build that somebody has named."""
    return bool(_family(requirements)) and bool(cuda_packages(requirements))


def decides(declaration: Declaration, indexes: Indexes, declared_hashes: Mapping[str, object]) -> bool:
    """Whether the project itself says which build of torch it wants: by a lock, hashes, an index, or CUDA packages."""
    settings = declaration.uv_settings()
    return (
        declaration.LOCK
        or any(name in declared_hashes for name in _FAMILY)
        or any(name in table_in(settings, "sources") for name in _FAMILY)
        or "torch-backend" in {*settings, *table_in(settings, "pip")}
        or any(_OWN_INDEX.search(address) for address in (*indexes.indexes, *indexes.find_links))
        or any(_NAMED.search(text) for text in declaration.texts().values())
    )


def with_cpu_builds(
    declaration: Declaration, target: ResolutionTarget, settings: HostSettings, first: str, preferred: str
) -> str:
    """Resolve again, with CPU builds of the torch in `first`, the requirements with CUDA.

    Those from PyTorch's index name it, as it is not among the indexes of the project and the host. Raises UsageError if
    there are no builds that fit.
    """
    wanted = _family(first)
    found: list[str] = []
    for source in _sources(settings):
        available = _available(source, wanted, target, settings)
        found += [each for each in available if each not in found]
        if len(available) < len(wanted):
            continue
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            path = Path(folder) / "pyproject.toml"
            path.write_text(_pinned(source, wanted))
            try:
                text = declaration.resolve(evolve(target, also=(*target.also, path)), preferred)
            except ToolError:
                continue  # the project asks for other versions
        if not bring_cuda(text):
            return _naming_index(text, wanted) if source.url == CPU_BUILDS else text
    raise UsageError(*_explanation(declaration, target, first, found))


def _naming_index(text: str, wanted: Sequence[str]) -> str:
    """Return locked requirements that name PyTorch's index for these packages."""
    origins = locked_requirements.origins(text) | dict.fromkeys(wanted, CPU_BUILDS)
    return locked_requirements.with_origins(text, lambda entry: origins.get(locked_requirements.name(entry), ""))


def _family(requirements: str) -> list[str]:
    """Return the packages of torch's family among locked requirements, unless a build is named ("+cpu", "+cu128")."""
    pattern = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\+]+)(\+\S+)?")
    heads = (pattern.match(entry) for entry in locked_requirements.entries(requirements))
    found = {locked_requirements.normalized(head[1]): bool(head[3]) for head in heads if head}
    return [] if found.get("torch", True) else [name for name in _FAMILY if name in found]


def _sources(settings: HostSettings) -> Iterator[_Source]:
    """Yield where CPU builds may be: PyTorch's own index, which has all versions, then those of the host."""
    if not settings.no_index:
        yield _Source(url=CPU_BUILDS)
    for link in settings.find_links:
        yield _Source(url=link, flat=True)
    if settings.no_index:
        return
    for index in (*settings.extra_index_urls, settings.index_url):
        url = index.partition("=")[2] if re.match(r"[\w.-]+=", index) else index
        if url:
            yield _Source(url=url)


def _available(
    source: _Source, wanted: Sequence[str], target: ResolutionTarget, settings: HostSettings
) -> tuple[str, ...]:
    """Return the newest CPU builds that a source alone has for the target, "" if it does not answer."""
    only = evolve(settings, index_url="" if source.flat else source.url, extra_index_urls=(), find_links=())
    only = evolve(only, find_links=(source.url,)) if source.flat else only
    found: list[str] = []
    for name in wanted:
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            path = Path(folder) / "requirements.txt"
            path.write_text(f"{name}\n")
            arguments = ["--no-deps", *(["--no-index"] if source.flat else []), str(path)]
            try:
                text = uv.compiled(arguments, target.base, only, "", cwd=Path(folder), patient=False)
            except ToolError:
                return tuple(found)
        head = next(iter(locked_requirements.entries(text)), "").partition("\\")[0].partition(";")[0].strip()
        if "+cpu" in head:
            found.append(head)
    return tuple(found)


def _pinned(source: _Source, wanted: Sequence[str]) -> str:
    """Return a pyproject.toml by which uv takes these packages from a source alone."""
    import tomli_w  # few plans resolve anything

    index: dict[str, Any] = {"name": "ocicaliban-cpu-builds", "url": source.url, "explicit": True}
    if source.flat:
        index["format"] = "flat"
    return tomli_w.dumps(
        {
            "project": {"name": "ocicaliban-cpu-builds", "version": "0", "dependencies": list(wanted)},
            "tool": {"uv": {"sources": {name: {"index": index["name"]} for name in wanted}, "index": [index]}},
        }
    )


def _explanation(
    declaration: Declaration, target: ResolutionTarget, first: str, found: Sequence[str]
) -> tuple[str, str]:
    """Return a message and a hint for a project whose torch has no CPU build."""
    heads = {locked_requirements.name(entry): entry.split()[0] for entry in locked_requirements.entries(first)}
    torch = ", ".join(heads[name] for name in _family(first))
    have = f"your own indexes have {', '.join(found)}" if found else "your own indexes have none"
    message = (
        f"{declaration.shown} brings {torch} with {len(cuda_packages(first))} packages of CUDA, but the image is for a "
        f"machine without a GPU\nno CPU build fits: {CPU_BUILDS} does not have one or does not answer, and {have} "
        f"(Python {target.base.python} on {target.base.platform})"
    )
    hint = (
        "name an index with CPU builds in pip.conf (extra-index-url) or [tool.uv.sources], ask for a version that has "
        f"one, or accept CUDA: [layers.python] {_SETTING}"
    )
    return message, hint
