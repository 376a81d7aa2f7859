"""The host's package-index settings and certificates, for a build step to see and no image to keep."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from ocicaliban.errors import UsageError


@frozen(kw_only=True)
class HostSettings:
    """What a build step may see of the host: a CA bundle, uv's index settings, local folders of packages."""

    ca_bundle: Path | None
    index_url: str = field(repr=False)  # the addresses may hold passwords
    extra_index_urls: tuple[str, ...] = field(repr=False)
    find_links: tuple[str, ...] = field(repr=False)

    def uv_environ(self) -> dict[str, str]:
        """uv's environment variables with the same meaning, for uv on the host."""
        env: dict[str, str] = {}
        if self.index_url:
            env["UV_DEFAULT_INDEX"] = self.index_url
        if self.extra_index_urls:
            env["UV_INDEX"] = " ".join(self.extra_index_urls)
            # pip takes the best version of all indexes; uv would stop at the first that knows the name.
            env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        if self.find_links:
            env["UV_FIND_LINKS"] = ",".join(self.find_links)
        if self.ca_bundle:
            env["SSL_CERT_FILE"] = str(self.ca_bundle)
        return env

    def local_folders(self) -> tuple[Path, ...]:
        """The folders on this machine that the settings name, which a container must see as well."""
        urls = [self.index_url, *self.extra_index_urls, *self.find_links]
        found = [Path(url.removeprefix("file://")) for url in urls if url.startswith(("/", "file://"))]
        return tuple(path for path in found if path.is_dir())


def read(environ: Mapping[str, str] = os.environ) -> HostSettings:
    """The host's settings: uv's variables first, then pip's variables, then pip's configuration files."""
    parser = configparser.RawConfigParser()
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    for file in (Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config / "pip" / "pip.conf"):
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            # Its text is not shown: it may hold passwords.
            raise UsageError(f"{file}: pip could not read it", "mend it; `pip config debug` tells where") from None

    def setting(uv: str, pip: str) -> str:
        return str(
            environ.get(uv)
            or environ.get("PIP_" + pip.upper().replace("-", "_"))
            or parser.get("global", pip, fallback="")
        )

    bundle = environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT") or parser.get("global", "cert", fallback="")
    path = Path(bundle) if bundle else None
    return HostSettings(
        ca_bundle=path if path and path.is_file() else None,
        index_url=setting("UV_DEFAULT_INDEX", "index-url"),
        extra_index_urls=tuple(setting("UV_INDEX", "extra-index-url").split()),
        find_links=tuple(setting("UV_FIND_LINKS", "find-links").replace(",", " ").split()),
    )
