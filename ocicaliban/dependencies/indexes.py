"""The package indexes that a project itself names, which its locked dependencies may come from.

uv hears of them when it resolves in the project's folder; the step that installs sees nothing of the project, so they
are handed to it beside the host's own (`host.HostSettings.joined`). They are no part of a key: hashes say what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.formats.toml import read_toml

_OPTION = re.compile(r"^\s*(-i|--index-url|--extra-index-url|-f|--find-links)(?:\s*=\s*|\s+)(\S+)", re.M)
_LINKS = ("-f", "--find-links")


@frozen(kw_only=True)
class Indexes:
    """Addresses of indexes, as `NAME=URL` where they have a name, and of pages or folders with links to archives."""

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


def declared(root: Path, texts: Iterator[str]) -> Indexes:
    """What requirements files (their `texts`), pyproject.toml and uv.toml in the folder `root` name.

    Local folders are absolute in the result. Raises UsageError for a file that is not TOML.
    """
    indexes: list[str] = []
    links: list[str] = []
    for text in texts:
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
    """uv's settings in the project: uv.toml goes before [tool.uv], of which uv then reads nothing."""
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
