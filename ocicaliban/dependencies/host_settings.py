"""Read the host's package indexes and certificates, which a build step sees and no image keeps."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from ocicaliban.dependencies.indexes import NO_INDEX, Indexes, matching
from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.errors import UsageError
from ocicaliban.formats.sizes import check_size
from ocicaliban.formats.toml import parse_toml
from ocicaliban.system import process

_NAMED = re.compile(r"(?:([A-Za-z0-9_.-]+)=)?(.*)", re.S)
_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_BUNDLES = ("ca-certificates.crt", "ca-bundle.crt")
_BEST_MATCH = "unsafe-best-match"


@frozen(kw_only=True)
class HostSettings:
    """What a build step may see of the host: its CA bundle, and uv's settings of indexes and folders of packages.

    `extra_index_urls` may have names, as `NAME=URL`. A local folder is a plain absolute path. Only the packages in
    `pins`, with the index of each, come from the `explicit` indexes.
    """

    ca_bundle: Path | None
    index_url: str = field(repr=False)  # the addresses may hold passwords
    extra_index_urls: tuple[str, ...] = field(repr=False)
    find_links: tuple[str, ...] = field(repr=False)
    index_strategy: str = ""
    no_index: bool = False
    insecure_hosts: tuple[str, ...] = ()
    explicit: tuple[str, ...] = field(default=(), repr=False)
    pins: Mapping[str, str] = field(factory=dict)

    def uv_environ(self) -> dict[str, str]:
        """Return the settings as uv's environment variables, for uv on the host, which needs `uv_arguments` too."""
        env: dict[str, str] = {}
        if self.index_url:
            env["UV_DEFAULT_INDEX"] = _address(self.index_url)
        if self.extra_index_urls:
            env["UV_INDEX"] = " ".join(map(_address, self.extra_index_urls))
        if self.index_strategy:
            env["UV_INDEX_STRATEGY"] = self.index_strategy
        if self.find_links:
            env["UV_FIND_LINKS"] = ",".join(map(_address, self.find_links))
        if self.insecure_hosts:
            env["UV_INSECURE_HOST"] = " ".join(self.insecure_hosts)
        if self.ca_bundle:
            env["SSL_CERT_FILE"] = str(self.ca_bundle)
        return env

    def uv_arguments(self) -> tuple[str, ...]:
        """Return the settings that uv has no environment variable for, as its arguments."""
        return ("--no-index",) if self.no_index else ()

    def uv_lines(self) -> list[str]:
        """Return the lines of a uv.toml for the settings that are not URLs."""
        lines = ["no-index = true"] if self.no_index else []
        if self.insecure_hosts:
            lines.append(f"allow-insecure-host = {json.dumps(self.insecure_hosts)}")
        return lines

    def uv_toml(self, more: str = "") -> str:
        """Return a uv.toml for a step that installs locked packages, with `more` lines. Other users see arguments."""
        lines = self.uv_lines()
        if self.find_links:
            lines.append(f"find-links = {json.dumps(self.find_links)}")
        if self.extra_index_urls:
            # Packages are named by their hashes, so they may come from any index.
            lines.append('index-strategy = "unsafe-best-match"')
        for index in self.extra_index_urls:
            name, url = _split(index)
            named = f"name = {json.dumps(name)}\n" if name else ""
            lines.append(f"[[index]]\n{named}url = {json.dumps(url)}")
        if self.index_url:
            lines.append(f"[[index]]\nurl = {json.dumps(self.index_url)}\ndefault = true")
        text = "\n".join(lines) + "\n"
        if not more:
            return text
        import tomli_w  # few projects have such settings

        return tomli_w.dumps({**parse_toml(text), **parse_toml(more)})

    def with_indexes(self, indexes: Indexes, environ: Mapping[str, str] = os.environ) -> HostSettings:
        """Return these settings with the indexes that a project names added."""
        more = (_plain(index, environ) for index in indexes.indexes)
        links = (_plain(link, environ) for link in indexes.find_links)
        return evolve(
            self,
            extra_index_urls=tuple(dict.fromkeys((*self.extra_index_urls, *more))),
            find_links=tuple(dict.fromkeys((*self.find_links, *links))),
            explicit=tuple(_plain(index, environ) for index in indexes.explicit),
            pins=indexes.pins,
            insecure_hosts=tuple(dict.fromkeys((*self.insecure_hosts, *indexes.insecure_hosts))),
        )

    def with_options(self, options: PipOptions) -> HostSettings:
        """Return these settings with what pip's options in lists of requirements say, and uv reads in no list."""
        return evolve(
            self,
            insecure_hosts=tuple(dict.fromkeys((*self.insecure_hosts, *options.insecure_hosts))),
            no_index=self.no_index or options.no_index,
        )

    def for_step(self, index: str, indexes: Indexes) -> HostSettings:
        """Return these settings for a step that asks the `index` alone, or all that the project names if that is ""."""
        if index == NO_INDEX:
            return evolve(self.with_indexes(indexes), no_index=True)
        return self.only(index, indexes) if index else self.with_indexes(indexes)

    def only(self, index: str, indexes: Indexes, environ: Mapping[str, str] = os.environ) -> HostSettings:
        """Return these settings with one index alone, for the packages that are pinned to it.

        `index` is as a lock has it. Its user and password come from the project's `indexes` or from uv's variables.
        """
        declared = matching(index, (*indexes.explicit, *indexes.indexes))
        url = _split(_plain(declared or index, environ))[1]
        return evolve(self, index_url=url, extra_index_urls=(), index_strategy="")

    def in_container(self) -> tuple[HostSettings, dict[Path, str]]:
        """Return these settings for use in a container, and the folders to mount with their paths in it."""
        mounts: dict[Path, str] = {}

        def moved(index: str, root: Callable[[Path], Path]) -> str:
            name, url = _split(index)
            folder = Path(url)
            if not url.startswith("/") or not folder.is_dir():
                return index
            place = mounts.setdefault(root(folder), f"/dev/oc-local-{len(mounts)}")
            return (f"{name}=" if name else "") + str(Path(place) / folder.relative_to(root(folder)))

        def with_files(folder: Path) -> Path:
            # An index on disk links to files beside it: simple/NAME/index.html to ../../files/...
            return folder.parent if folder.name == "simple" else folder

        return (
            evolve(
                self,
                index_url=moved(self.index_url, with_files),
                extra_index_urls=tuple(moved(index, with_files) for index in self.extra_index_urls),
                find_links=tuple(moved(link, lambda folder: folder) for link in self.find_links),
            ),
            mounts,
        )


def _split(index: str) -> tuple[str, str]:
    """Return the name of an index, "" if it has none, and its URL."""
    match = _NAMED.fullmatch(index)
    assert match
    return match[1] or "", match[2]


def _address(index: str) -> str:
    """Return an index without blanks and commas, which separate the words in uv's variables."""
    name, url = _split(index)
    return (f"{name}=" if name else "") + (Path(url).as_uri() if url.startswith("/") else url)


def _plain(index: str, environ: Mapping[str, str]) -> str:
    """Return an index with a local folder as a path, and with the user and password from uv's variables."""
    from urllib.parse import quote, unquote, urlsplit

    name, url = _split(index)
    if url.startswith("file://"):
        url = unquote(urlsplit(url).path)
    elif "://" not in url:
        url = os.path.abspath(os.path.expanduser(url))
    prefix = "UV_INDEX_" + re.sub("[^A-Z0-9]", "_", name.upper())
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    if name and (user or password) and "@" not in urlsplit(url).netloc:
        url = url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)
    return f"{name}={url}" if name else url


def _true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "t", "yes", "y", "on")


def _pip(environ: Mapping[str, str], home: Path, config: Path) -> dict[str, str]:
    """Return pip's settings by their long names.

    A section [install] overrides [global], a later file an earlier one, and a variable every file.
    """
    import configparser  # few commands resolve or install

    own = environ.get("PIP_CONFIG_FILE", "")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")]
    files += [home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    if environ.get("VIRTUAL_ENV"):
        files.append(Path(environ["VIRTUAL_ENV"]) / "pip.conf")
    if own:
        files = [] if own == os.devnull else [*files, Path(own)]
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in files:
        parser = configparser.RawConfigParser()
        check_size(file)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            # Do not show its text: it may hold passwords.
            raise UsageError(f"{file}: pip cannot read this file", "`pip config debug` shows the mistake") from None
        for section, settings in sections.items():
            if parser.has_section(section):
                settings |= {key.lower().replace("_", "-"): value for key, value in parser.items(section)}
    names = (name for name in environ if name.startswith("PIP_") and environ[name])
    return sections["global"] | sections["install"] | {n[4:].lower().replace("_", "-"): environ[n] for n in names}


def _uv(environ: Mapping[str, str], config: Path) -> dict[str, Any]:
    """Return the settings of the user's and the machine's uv.toml. Lists in both are joined, the user's first."""
    files = [config / "uv" / "uv.toml", Path("/etc/xdg/uv/uv.toml"), Path("/etc/uv/uv.toml")]
    if own := environ.get("UV_CONFIG_FILE"):
        files = [Path(own)]
    elif _true(environ.get("UV_NO_CONFIG", "")):
        files = []
    merged: dict[str, Any] = {}
    for file in files:
        check_size(file)
        try:
            raw = parse_toml(file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            continue
        except ValueError:
            raise UsageError(f"{file}: not valid TOML, so uv cannot read it", "correct the file") from None
        _check_lists(raw, file)
        pip = raw.get("pip", {})
        for key, value in {**raw, **(pip if isinstance(pip, dict) else {})}.items():
            before = merged.get(key)
            if before is None:
                merged[key] = value
            elif isinstance(before, list) and isinstance(value, list):
                merged[key] = [*before, *value]
    return merged


def _check_lists(raw: Mapping[str, Any], file: Path) -> None:
    """Raise UsageError for what uv would refuse, and what is read here."""
    pip = raw.get("pip", {})
    for table in (raw, pip if isinstance(pip, dict) else {}):
        for key, kind in (("find-links", str), ("extra-index-url", str), ("allow-insecure-host", str), ("index", dict)):
            value = table.get(key, [])
            if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
                what = "strings" if kind is str else "tables"
                raise UsageError(f"{file}: {key} is not a list of {what}, so uv cannot read it", "correct the file")
        for key in ("index-url", "index-strategy"):
            if not isinstance(table.get(key, ""), str):
                raise UsageError(f"{file}: {key} is not a string, so uv cannot read it", "correct the file")


def read_host_settings(environ: Mapping[str, str] = os.environ) -> HostSettings:
    """Return the host's settings: from uv's variables, else its uv.toml, else pip's variables, else pip's files.

    Raises UsageError for a damaged configuration file, OSError for one that cannot be read.
    """
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    pip, uv = _pip(environ, home, config), _uv(environ, config)

    tables = [index for index in uv.get("index", []) if "url" in index and not index.get("explicit")]
    default = next((str(index["url"]) for index in tables if index.get("default")), uv.get("index-url", ""))
    index_url = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or default or pip.get("index-url", "")
    extra = [*environ.get("UV_INDEX", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    for index in tables:
        if not index.get("default"):
            extra.append(f"{index['name']}={index['url']}" if "name" in index else str(index["url"]))
    extra += uv.get("extra-index-url", [])
    strategy = environ.get("UV_INDEX_STRATEGY") or uv.get("index-strategy", "")
    if not extra:
        extra = pip.get("extra-index-url", "").split()
        # pip takes the best version of all indexes; uv would stop at the first index that has the package.
        strategy = strategy or (_BEST_MATCH if extra else "")
    links = environ.get("UV_FIND_LINKS", "").replace(",", " ").split() or uv.get("find-links", [])
    links = links or pip.get("find-links", "").replace(",", " ").split()
    insecure = environ.get("UV_INSECURE_HOST", "").split() or uv.get("allow-insecure-host", [])

    bundles = [environ.get(name, "") for name in _CERTIFICATES] + [pip.get("cert", "")]
    if folder := environ.get("SSL_CERT_DIR"):
        bundles += [os.path.join(folder, name) for name in _BUNDLES]
    existing = (Path(os.path.expanduser(bundle)) for bundle in bundles if bundle)
    return HostSettings(
        ca_bundle=next((path for path in existing if path.is_file()), None),
        index_url=_split(_plain(index_url, environ))[1] if index_url else "",
        extra_index_urls=tuple(_plain(index, environ) for index in extra),
        find_links=tuple(_plain(link, environ) for link in links),
        index_strategy=strategy,
        no_index=bool(uv.get("no-index")) or _true(pip.get("no-index", "")),
        insecure_hosts=tuple(insecure or pip.get("trusted-host", "").split()),
    )


def apt_proxies() -> str:
    """Return the host's proxies for apt as lines of an apt.conf, "" if there is no apt. They may hold passwords."""
    if shutil.which("apt-config") is None:
        return ""
    said = process.output(("apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy"))
    return "".join(f"{line}\n" for line in said.splitlines() if not line.endswith('"";'))


def local_folders(indexes: Indexes) -> tuple[Path, ...]:
    """Return the folders of this machine that a step sees for the indexes that a project names."""
    whole = evolve(indexes, indexes=(*indexes.indexes, *indexes.explicit))
    none = HostSettings(ca_bundle=None, index_url="", extra_index_urls=(), find_links=())
    return tuple(none.with_indexes(whole, {}).in_container()[1])
