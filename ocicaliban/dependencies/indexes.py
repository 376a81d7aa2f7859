"""Find the package indexes that a project names, from which its dependencies may come.

uv finds them by itself when it resolves in the project's folder. The step that installs does not see the project, so it
gets them along with the host's own indexes (`HostSettings.with_indexes`). They are not part of a key: the hashes of the
packages are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.formats.toml import read_toml

_OPTION = re.compile(r"^\s*(-i|--index-url|--extra-index-url|-f|--find-links)(?:\s*=\s*|\s+)(\S+)", re.M)
_LINKS = ("-f", "--find-links")


@frozen(kw_only=True)
class Indexes:
    """URLs of package indexes (`NAME=URL` if they have a name), and of pages or folders with links to archives."""

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


def project_indexes(root: Path, lists: Iterable[str] = ()) -> Indexes:
    """Return the indexes named in the project's pyproject.toml or uv.toml, and in the texts of lists of requirements.

    Local folders are absolute in the result. Raises UsageError for a file that is not TOML.
    """
    indexes: list[str] = []
    links: list[str] = []
    for text in lists:
        for option, value in _OPTION.findall(text):
            (links if option in _LINKS else indexes).append(value)
    for table in _tables(root):
        for index in table.get("index", []):
            if isinstance(index, dict) and "url" in index:
                indexes.append(f"{index['name']}={index['url']}" if "name" in index else str(index["url"]))
        if "index-url" in table:
            indexes.append(str(table["index-url"]))
        indexes += map(str, table.get("extra-index-url", []))
        links += map(str, table.get("find-links", []))
    return Indexes(
        indexes=tuple(dict.fromkeys(_absolute(root, index) for index in indexes)),
        find_links=tuple(dict.fromkeys(_absolute(root, link) for link in links)),
    )


def _tables(root: Path) -> Iterator[dict[str, Any]]:
    """Yield uv's settings in the project. If there is a uv.toml, uv ignores [tool.uv]."""
    for name, keys in (("uv.toml", ()), ("pyproject.toml", ("tool", "uv"))):
        if (root / name).is_file():
            table = read_toml(root / name)[1]
            for key in keys:
                table = table.get(key, {})
            yield table
            yield table.get("pip", {})
            if name == "uv.toml":
                return


def _absolute(root: Path, index: str) -> str:
    name, equals, url = index.rpartition("=") if re.match(r"[\w.-]+=", index) else ("", "", index)
    return name + equals + (url if "://" in url else str((root / url).resolve()))
