"""Fetch locked Debian packages into the cache: from their archive, a snapshot service, or folders that have them."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

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
_TRIES = 3
_PAUSE = 0.5  # seconds before the second try, and twice as many before the third
_GONE = (404, 410)
_LOGIN = (401, 403, 407)
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_DIRECT = ("direct", "false")  # apt's words for no proxy
_BLOCK = 1 << 20
_STALE = 86400  # seconds after which a part of a file is one of a process that was killed


@frozen(kw_only=True)
class Sources:
    """Where packages are looked for beside their archives.

    `snapshot` is a snapshot service (see `packages.snapshots`). `mirrors` are addresses or folders, below the project's
    `root`, that have the files by name or by their path in the archive. Addresses may have USER:PASSWORD@, which
    `published` leaves out, with variables as ${NAME}.
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

    def published(self, package: DebianPackage) -> tuple[str, ...]:
        """Return the addresses among the places, as others may see them."""
        return tuple(apt_packages.without_login(place) for place in self.places(package) if "://" in place)


class _Fault(Exception):
    """A place does not give a package. The next try may do better (`passing`); a `silent` server gives no answer."""

    def __init__(self, message: str, *, passing: bool = False, silent: bool = False) -> None:
        super().__init__(message)
        self.passing, self.silent = passing, silent


@frozen
class _Missing:
    """A package that no place has, and why: what each host said, by host, and with which status."""

    package: DebianPackage
    said: Mapping[str, str]
    statuses: frozenset[int]


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


def unused(since: float) -> tuple[Path, ...]:
    """Return the packages in the cache, as files, that no build has used since a time (seconds since 1970)."""
    found = []
    for path in sorted((files.cache() / "debian").glob("[0-9a-f]*")):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < since:
                found.append(path)
    return tuple(found)


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
                with contextlib.suppress(OSError):
                    os.utime(path)  # `unused` goes by it
                return True
    except FileNotFoundError:
        return False
    path.unlink(missing_ok=True)
    return False


def _fetched(package: DebianPackage, sources: Sources, network: _Network) -> _Missing | None:
    """Fetch a package from the first place that has it. Returns None, or why there is none.

    Raises OSError if the cache cannot be written.
    """
    said: dict[str, str] = {}
    statuses: set[int] = set()
    for place in sources.places(package):
        host = _host(place)
        if host in network.silent:
            said[host] = network.silent[host]
            continue
        try:
            _patiently(functools.partial(_take, place, package, network))
        except urllib.error.HTTPError as exc:
            statuses.add(exc.code)
            said[host] = f"{exc.code} {exc.reason}"
        except _Fault as fault:
            said[host] = str(fault)
            if fault.silent:
                network.silent[host] = str(fault)
        else:
            return None
    return _Missing(package, said, frozenset(statuses))


def _patiently(take: Callable[[], None]) -> None:
    """Call `take`, a few times if the fault may pass."""
    import tenacity  # most commands fetch nothing

    tenacity.Retrying(
        retry=tenacity.retry_if_exception(_passes),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=tenacity.wait_exponential(multiplier=_PAUSE),
        reraise=True,
    )(take)


def _passes(fault: BaseException) -> bool:
    if isinstance(fault, urllib.error.HTTPError):
        return fault.code == 429 or fault.code >= 500
    return isinstance(fault, _Fault) and fault.passing


def _take(place: str, package: DebianPackage, network: _Network) -> None:
    """Copy a package from an address or a path into the cache.

    Raises _Fault if it is another one or cannot be read, HTTPError as the server answers, OSError if the cache cannot
    be written.
    """
    target = held(package)
    half = target.with_name(f".{package.sha256}.{os.getpid()}")
    sha = hashlib.sha256()
    try:
        with _opened(place, network) as source, half.open("wb") as file:
            size = 0
            while block := _read(source):
                size += len(block)
                if size > package.size:
                    raise _Fault("it has another file of this name")
                sha.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            # What is left of a server's answer, None if it does not say how long that is. Other files have no `length`.
            if size < package.size and getattr(source, "length", 0) != 0 and not getattr(source, "chunked", False):
                raise _Fault("it broke off", passing=True)
        if sha.hexdigest() != package.sha256:
            raise _Fault("it has another file of this name")
        half.replace(target)
    except OSError as exc:
        exc.filename = exc.filename or str(half)  # a full disk has none
        raise
    finally:
        half.unlink(missing_ok=True)


def _opened(place: str, network: _Network) -> BinaryIO:
    """Open a place. Raises _Fault if it gives no answer, HTTPError if that is not the file."""
    try:
        source = network.opener.open(_request(place), timeout=_TIMEOUT) if "://" in place else Path(place).open("rb")  # noqa: SIM115
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", exc)
        if isinstance(reason, (FileNotFoundError, NotADirectoryError)):
            raise _Fault("it is not there") from exc
        if not place.startswith(("http:", "https:")):
            raise _Fault(first_line(exc)) from exc
        # A name server may answer the next time: many names at once were seen to be too many for one.
        # What urllib says so about is a failed connection. Other faults come from a server that was reached.
        late = isinstance(reason, TimeoutError) or getattr(reason, "errno", None) == socket.EAI_AGAIN
        silent = late or type(exc) is urllib.error.URLError
        raise _Fault(_why(reason), passing=late or _is_lost(reason), silent=silent) from exc
    return cast(BinaryIO, source)


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(_BLOCK)
    except (OSError, http.client.HTTPException) as exc:
        why = "" if isinstance(exc, http.client.IncompleteRead) else f" ({first_line(exc)})"
        raise _Fault(f"it broke off{why}", passing=True) from exc


def _is_lost(fault: object) -> bool:
    lost = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError, http.client.HTTPException)
    return isinstance(fault, lost)


def _request(place: str) -> urllib.request.Request:
    """Return the request for an address, with its user and password as a header that no other server gets.

    Raises _Fault if these name a variable, as ${NAME}, that is not set.
    """
    request = urllib.request.Request(apt_packages.without_login(place))
    login, at, _ = urlsplit(place).netloc.rpartition("@")
    if at:
        try:
            login = _VARIABLE.sub(lambda match: os.environ[match[1]], unquote(login))
        except KeyError as exc:
            raise _Fault(f"the variable {exc.args[0]} of its login is not set") from exc
        words = base64.b64encode(login.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {words}")
    return request


class _Proxies(urllib.request.ProxyHandler):
    """The proxy of each kind of address, and for some hosts another one; "" for none."""

    def __init__(self, proxies: Mapping[str, str], of_hosts: Mapping[tuple[str, str], str]) -> None:
        super().__init__({"http": "", "https": "", **proxies})
        self._of_hosts = of_hosts

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:
        proxy = self._of_hosts.get((type, urlsplit(f"//{req.host}").hostname or ""), proxy)
        return super().proxy_open(req, proxy, type) if proxy else None


def _proxies() -> _Proxies:
    """Return the host's proxies, those of apt before the others."""
    proxies, of_hosts = urllib.request.getproxies(), {}
    said = re.findall(r'^Acquire::(https?)::Proxy(?:::(\S+))? "(.+)";$', host_settings.apt_proxies(), re.M)
    for kind, host, address in said:
        address = "" if address.lower() in _DIRECT else address
        if "://" in address and not address.lower().startswith(("http://", "https://")):
            continue  # SOCKS, which urllib does not speak
        if host:
            of_hosts[kind, host.lower()] = address
        else:
            proxies[kind] = address
    return _Proxies(proxies, of_hosts)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens addresses with the host's certificates and proxies."""
    bundle = host_settings.read_host_settings().ca_bundle
    context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
    opener = urllib.request.build_opener(_proxies(), urllib.request.HTTPSHandler(context=context))
    opener.addheaders = [("User-Agent", "ocicaliban")]
    return opener


def _host(place: str) -> str:
    match = re.match(r"[a-z]+://([^/]+)", apt_packages.without_login(place))
    return match[1] if match else os.path.dirname(place)


def _why(reason: object) -> str:
    return f"it cannot be reached ({first_line(reason) if isinstance(reason, Exception) else reason})"


def _fault(missing: list[_Missing], total: int) -> OcicalibanError:
    names = [f"{each.package.name}={each.package.version}" for each in missing]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    statuses = frozenset().union(*(each.statuses for each in missing))
    login, gone = not statuses.isdisjoint(_LOGIN), not statuses.isdisjoint(_GONE)
    telling = next((each for each in missing if login and not each.statuses.isdisjoint(_LOGIN)), missing[0])
    said = "\n".join(f"{host}: {why}" for host, why in telling.said.items())
    if login or not gone:
        return OcicalibanError(
            f"Debian packages in ocicaliban.lock cannot be fetched: {shown}\n{said}",
            "if the archive needs a login: `[layers.apt] lock = false` lets apt fetch them with that of the base image;"
            ' or name a folder or an address that has them: mirrors = ["https://USER:${PASSWORD}@HOST/..."]'
            if login
            else "check the network; http_proxy names a proxy",
        )
    return OcicalibanError(
        f"of the {total} Debian packages in ocicaliban.lock, {len(missing)} can no longer be fetched: {shown}\n{said}",
        "`ocicaliban lock --upgrade apt` takes the versions that there are now;"
        ' to keep these, name a folder or an address that has them: [layers.apt] mirrors = ["..."]',
    )
