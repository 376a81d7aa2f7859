"""Fetch locked Debian packages into the cache: from their archive, a snapshot service, or folders that have them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from attrs import field, frozen

from ocicaliban.dependencies import host_settings
from ocicaliban.dependencies.apt import packages as apt_packages
from ocicaliban.dependencies.apt.packages import DebianPackage
from ocicaliban.errors import OcicalibanError, first_line
from ocicaliban.formats.text import amount
from ocicaliban.reporter import Reporter
from ocicaliban.system import files, threads

_AT_ONCE = 8
_TIMEOUT = 20  # seconds without an answer
_GONE = (404, 410)
_BLOCK = 1 << 20
_STALE = 86400  # seconds after which nobody writes to a part of a file any more


@frozen(kw_only=True)
class Sources:
    """Where packages are looked for beside their archives.

    `snapshot` is a snapshot service (see `packages.snapshots`). `mirrors` are addresses or folders, below the project's
    `root`, that have the files by name or by their path in the archive.
    """

    root: Path
    snapshot: str = ""
    mirrors: tuple[str, ...] = ()

    def places(self, package: DebianPackage) -> tuple[str, ...]:
        """Return the addresses and paths at which a package may be, in the order in which they are tried."""
        found = [package.url]
        for mirror in self.mirrors:
            place = mirror.rstrip("/") if "://" in mirror else str(self.root / os.path.expanduser(mirror))
            found += [f"{place}/{package.file}", f"{place}/{package.path}"]
        return (*found, *apt_packages.snapshots(package, self.snapshot))


@frozen
class _Missing:
    """A package that no place has, and why: what each host said, by host."""

    package: DebianPackage
    said: Mapping[str, str]
    gone: bool


@frozen(kw_only=True)
class _Network:
    """How servers are reached. `silent` are those that gave no answer: they are not asked again."""

    opener: urllib.request.OpenerDirector
    silent: dict[str, str] = field(factory=dict)


def held(package: DebianPackage) -> Path:
    """Return where the cache has a package."""
    return files.cache() / "debian" / package.sha256


def fetch(packages: tuple[DebianPackage, ...], sources: Sources, what: str, reporter: Reporter) -> None:
    """Fetch the packages that the cache lacks; each is compared with its SHA-256. `what` names them for the user.

    Raises OcicalibanError if no place has one of them.
    """
    lacking = tuple(each for each in packages if not _is_whole(each))
    if not lacking:
        return
    count = f"{len(lacking)} Debian package{'s' if len(lacking) > 1 else ''}"
    doing = f"fetching {count}, {amount(sum(each.size for each in lacking))}"
    network = _Network(opener=_opener())
    with reporter.making(what, doing, done="fetched"):
        _prepare(held(lacking[0]).parent)
        results = threads.each(lambda package: _fetched(package, sources, network), lacking, at_once=_AT_ONCE)
    if missing := [found for _, found in results if found]:
        raise _fault(missing, len(packages))


def _prepare(folder: Path) -> None:
    """Make the folder, without the parts of files that interrupted commands have left."""
    folder.mkdir(parents=True, exist_ok=True)
    for half in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - half.stat().st_mtime > _STALE:
                half.unlink()


def _is_whole(package: DebianPackage) -> bool:
    """Whether the cache has a package; a damaged one is removed."""
    path = held(package)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == package.sha256:
                return True
    except FileNotFoundError:
        return False
    path.unlink(missing_ok=True)
    return False


def _fetched(package: DebianPackage, sources: Sources, network: _Network) -> _Missing | None:
    """Fetch a package from the first place that has it. Returns None, or why there is none."""
    said: dict[str, str] = {}
    gone = False
    for place in sources.places(package):
        host = _host(place)
        if host in network.silent:
            said[host] = network.silent[host]
            continue
        try:
            _take(place, package, network)
        except urllib.error.HTTPError as exc:
            gone = gone or exc.code in _GONE
            said[host] = f"{exc.code} {exc.reason}"
        except (FileNotFoundError, NotADirectoryError):
            said.setdefault(host, "it is not there")
        except (OSError, http.client.HTTPException) as exc:
            if "://" in place:
                network.silent[host] = said[host] = _why(exc)
            else:
                said[host] = first_line(exc)
        except ValueError as exc:
            said[host] = str(exc)
        else:
            return None
    return _Missing(package, said, gone)


def _take(place: str, package: DebianPackage, network: _Network) -> None:
    """Copy a package from an address or a path into the cache. Raises ValueError if it is another one."""
    target = held(package)
    half = target.with_name(f".{package.sha256}.{os.getpid()}")
    sha = hashlib.sha256()
    try:
        with _opened(place, network) as source, half.open("wb") as file:
            size = 0
            while block := source.read(_BLOCK):
                size += len(block)
                if size > package.size:
                    raise ValueError("it has another file of this name")
                sha.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if sha.hexdigest() != package.sha256:
            raise ValueError("it has another file of this name")
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _opened(place: str, network: _Network) -> BinaryIO:
    source = network.opener.open(place, timeout=_TIMEOUT) if "://" in place else Path(place).open("rb")  # noqa: SIM115
    return cast(BinaryIO, source)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens addresses with the host's certificates and proxies, those of apt before the others."""
    proxies = urllib.request.getproxies()
    for kind, address in re.findall(r'^Acquire::(https?)::Proxy "(.+)";$', host_settings.apt_proxies(), re.M):
        proxies[kind] = address
    bundle = host_settings.read_host_settings().ca_bundle
    context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    opener.addheaders = [("User-Agent", "ocicaliban")]
    return opener


def _host(place: str) -> str:
    match = re.match(r"[a-z]+://(?:[^/@]*@)?([^/]+)", place)
    return match[1] if match else os.path.dirname(place)


def _why(exc: Exception) -> str:
    reason = getattr(exc, "reason", exc)
    return f"it cannot be reached ({first_line(reason) if isinstance(reason, Exception) else reason})"


def _fault(missing: list[_Missing], total: int) -> OcicalibanError:
    names = [f"{each.package.name}={each.package.version}" for each in missing]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    said = "\n".join(f"{host}: {why}" for host, why in missing[0].said.items())
    if not any(each.gone for each in missing):
        return OcicalibanError(
            f"Debian packages in ocicaliban.lock cannot be fetched: {shown}\n{said}",
            "check the network; http_proxy names a proxy",
        )
    return OcicalibanError(
        f"of the {total} Debian packages in ocicaliban.lock, {len(missing)} can no longer be fetched: {shown}\n{said}",
        "`ocicaliban lock --upgrade apt` takes the versions that there are now;"
        ' to keep these, name a folder or an address that has them: [layers.apt] mirrors = ["..."]',
    )
