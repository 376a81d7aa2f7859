"""Find the package indexes that a project names, from which its dependencies may come.

uv finds them by itself when it resolves in the project's folder. The step that installs does not see the project, so it
gets them along with the host's own indexes (`HostSettings.with_indexes`). An explicit index is asked only for the
packages that belong to it: they have layers of their own, whose step sees no other index. Other indexes are not part of
a key: the hashes of the packages are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from attrs import evolve, field, frozen

from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.formats.toml import read_toml, table_in

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds."""

PYPI = "https://pypi.org/simple"
NO_INDEX = "none"
"""In place of an index: none may be asked."""


@frozen(kw_only=True)
class Indexes:
    """URLs of package indexes (`NAME=URL` if they have a name), and of pages or folders with links to archives.

    Every package may come from `indexes`, but only the packages in `pins` come from the `explicit` ones: `pins` has the
    index of each, without user and password. With `no_index`, none is asked where the project's dependencies are
    installed. The certificates of `insecure_hosts` are not verified.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    explicit: tuple[str, ...] = ()
    pins: Mapping[str, str] = field(factory=dict)
    no_index: bool = False
    insecure_hosts: tuple[str, ...] = ()


def project_indexes(root: Path) -> Indexes:
    """Return the indexes named in the project's pyproject.toml or uv.toml.

    Local folders are absolute in the result. Raises UsageError for a file that is not TOML.
    """
    return indexes_in(_tables(root), root)


def indexes_in(tables: Iterable[dict[str, Any]], root: Path) -> Indexes:
    """Return the indexes named in tables of uv's settings; paths are relative to `root`."""
    indexes: list[str] = []
    explicit: list[str] = []
    links: list[str] = []
    for table in tables:
        for index in _listed(table, "index"):
            if isinstance(index, dict) and "url" in index:
                named = f"{index['name']}={index['url']}" if "name" in index else str(index["url"])
                (explicit if index.get("explicit") is True else indexes).append(named)
        if "index-url" in table:
            indexes.append(str(table["index-url"]))
        indexes += map(str, _listed(table, "extra-index-url"))
        links += map(str, _listed(table, "find-links"))
    return Indexes(
        indexes=tuple(dict.fromkeys(_absolute(root, index) for index in indexes)),
        find_links=tuple(dict.fromkeys(_absolute(root, link) for link in links)),
        explicit=tuple(dict.fromkeys(_absolute(root, index) for index in explicit)),
    )


def with_options(indexes: Indexes, options: PipOptions, root: Path) -> Indexes:
    """Return the indexes of a project together with those that pip's options in its lists of requirements name."""
    if not (options.indexes or options.find_links or options.no_index or options.insecure_hosts):
        return indexes
    named = (_absolute(root, index) for index in options.indexes)
    links = (_absolute(root, link) for link in options.find_links)
    return evolve(
        indexes,
        indexes=tuple(dict.fromkeys((*named, *indexes.indexes))),
        find_links=tuple(dict.fromkeys((*links, *indexes.find_links))),
        no_index=options.no_index,
        insecure_hosts=options.insecure_hosts,
    )


def _tables(root: Path) -> Iterator[dict[str, Any]]:
    """Yield uv's settings in the project. If there is a uv.toml, uv ignores [tool.uv]."""
    for name, keys in (("uv.toml", ()), ("pyproject.toml", ("tool", "uv"))):
        if (root / name).is_file():
            table = table_in(read_toml(root / name)[1], *keys)
            yield table
            yield table_in(table, "pip")
            if name == "uv.toml":
                return


def _listed(table: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list in uv's settings, [] if there is something else: uv reports that."""
    value = table.get(key)
    return value if isinstance(value, list) else []


def _absolute(root: Path, index: str) -> str:
    name, equals, url = index.rpartition("=") if re.match(r"[\w.-]+=", index) else ("", "", index)
    return name + equals + (url if "://" in url else str((root / url).resolve()))


def plain_url(index: str) -> str:
    """Return the URL of an index without its name, user and password, by which two mentions of it are compared."""
    url = re.sub(r"^[\w.-]+=", "", index)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return url.removeprefix("file://").rstrip("/")


def without_credentials(index: str) -> str:
    """Return an index as a lock names it: without user and password."""
    name, equals, url = index.partition("=") if re.match(r"[\w.-]+=", index) else ("", "", index)
    return name + equals + plain_url(url)


def matching(index: str, known: Iterable[str]) -> str:
    """Return the one of the `known` indexes that has the URL of `index`, "" if none has."""
    return next((each for each in known if plain_url(each) == plain_url(index)), "")


def is_pypi(url: str) -> bool:
    """Whether an index is the Python Package Index, whose place the host's settings may give to another one."""
    return re.sub(r"^http:", "https:", plain_url(url)) in (PYPI, "https://pypi.python.org/simple")
