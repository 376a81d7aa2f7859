"""Channels of conda: from their names to their addresses, by the user's settings, and without passwords."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.yaml import parse_yaml

ALIAS = "https://conda.anaconda.org"
DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")

_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@|/t/[^/]+(?=/)")


@frozen(kw_only=True)
class ChannelSettings:
    """The user's settings of channels, as conda reads them.

    `alias` is what a channel's name is appended to, `defaults` are the addresses that the name `defaults` means,
    `channels` what an environment without channels takes, and `custom` the addresses of single names.
    """

    alias: str = ALIAS
    defaults: tuple[str, ...] = DEFAULTS
    channels: tuple[str, ...] = ("defaults",)
    custom: Mapping[str, str] = field(factory=dict)

    def addresses(self, names: Sequence[str], root: Path) -> tuple[str, ...]:
        """Return the addresses of channels, given by name, address or folder; they may contain passwords.

        A folder is relative to `root`. `nodefaults` is no channel.
        """
        found: list[str] = []
        for name in (os.path.expandvars(name.strip()) for name in names or self.channels):
            if name == "defaults":
                found += [self._address(each, root) for each in self.defaults]
            elif name and name != "nodefaults":
                found.append(self._address(name, root))
        return tuple(dict.fromkeys(found))

    def _address(self, name: str, root: Path) -> str:
        if "://" in name:
            return name.rstrip("/")
        if name.startswith((".", "/", "~")):
            return (root / Path(os.path.expanduser(name))).resolve().as_uri()
        first, slash, rest = name.partition("/")
        if name in self.custom:
            return f"{self.custom[name].rstrip('/')}/{name}"
        if first in self.custom:
            return f"{self.custom[first].rstrip('/')}/{first}{slash}{rest}"
        return f"{self.alias.rstrip('/')}/{name}"


def without_credentials(url: str) -> str:
    """Return an address without user, password and token."""
    return _CREDENTIALS.sub("", url)


def with_credentials(url: str, channels: Sequence[str]) -> str:
    """Return a package's address with the user, password or token of its channel, if `channels` has them."""
    for channel in channels:
        plain = without_credentials(channel)
        if channel != plain and url.startswith(f"{plain}/"):
            return channel + url.removeprefix(plain)
    return url


def read_settings(environ: Mapping[str, str] = os.environ) -> ChannelSettings:
    """Return the settings in conda's variables and files; those that come later in its order win.

    Raises UsageError for a file that conda could not read.
    """
    raw: dict[str, Any] = {}
    for path in _files(environ):
        if path.is_file():
            raw |= _read(path)
    for key in ("channel_alias", "default_channels", "channels"):
        if value := environ.get(f"CONDA_{key.upper()}"):
            raw[key] = value if key == "channel_alias" else re.split(r"[,&\s]+", value)
    chosen = ChannelSettings()
    custom = raw.get("custom_channels")
    return ChannelSettings(
        alias=os.path.expandvars(str(raw.get("channel_alias") or chosen.alias)),
        defaults=_texts(raw.get("default_channels")) or chosen.defaults,
        channels=_texts(raw.get("channels")) or chosen.channels,
        custom={str(name): os.path.expandvars(str(url)) for name, url in custom.items()}
        if isinstance(custom, dict)
        else {},
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(os.path.expandvars(str(each)) for each in value) if isinstance(value, list) else ()


def _files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    home = Path(environ.get("HOME") or "/")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    paths = [Path("/etc/conda/.condarc"), Path("/etc/conda/condarc"), config / "conda" / ".condarc"]
    paths += [home / ".conda" / ".condarc", home / ".condarc"]
    if own := environ.get("CONDARC"):
        paths.append(Path(own))
    return tuple(paths)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError:
        # Do not show its text: it may hold passwords.
        raise UsageError(f"{path}: conda cannot read this file", "`conda config --show-sources` shows it") from None
    return raw if isinstance(raw, dict) else {}
