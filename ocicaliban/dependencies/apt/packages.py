"""Locked Debian packages: how `ocicaliban.lock` holds them, and what apt says of them; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

from attrs import frozen

from ocicaliban.errors import UsageError

_LINE = re.compile(
    r"([a-z0-9][a-z0-9+.-]+)=([A-Za-z0-9.+~:-]+) ([a-z0-9-]+) (\d+) sha256:([0-9a-f]{64}) ((?!/)(?!.*\.\./)[!-~]+)"
)
_ARCHIVE = re.compile(r"# ((?:https?|file):/[!-~]+) (\d{8}T\d{6}Z)")
_URI = re.compile(r"'([^']+)' (\S+\.deb) \d+")


@frozen(kw_only=True)
class DebianPackage:
    """A package, and where it was found: the `path` of its file in the archive `archive`, as that was at `time`.

    `size` is in bytes. `time` is the date of the archive's newest release file, as snapshot services write it.
    """

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    path: str
    archive: str
    time: str

    @property
    def file(self) -> str:
        """The name that a file with the package has in a folder."""
        return f"{self.name}_{self.version.partition(':')[2] or self.version}_{self.architecture}.deb"

    @property
    def url(self) -> str:
        """Where the archive has the package, while it has it."""
        return f"{self.archive.rstrip('/')}/{quote(self.path)}"

    @property
    def identity(self) -> str:
        """What is in the package, wherever it comes from."""
        return f"{self.name}={self.version} {self.architecture} {self.sha256}"


def identities(packages: Iterable[DebianPackage]) -> str:
    """Return what enters keys: a line for each package, in the order of their names."""
    return "".join(f"{line}\n" for line in sorted(package.identity for package in packages))


def digest(packages: Iterable[DebianPackage]) -> str:
    """Return a digest of what is in packages."""
    return hashlib.sha256(f"debian packages 1\n{identities(packages)}".encode()).hexdigest()


# --- the text in the lock ---


def to_text(packages: Iterable[DebianPackage]) -> str:
    """Return packages as a lock holds them: a line for each, below a line for the archive that has it."""
    lines: list[str] = []
    above = ""
    for each in sorted(packages, key=lambda package: (package.archive, package.name, package.architecture)):
        archive = f"# {each.archive} {each.time}"
        if archive != above:
            lines.append(archive)
            above = archive
        lines.append(f"{each.name}={each.version} {each.architecture} {each.size} sha256:{each.sha256} {each.path}")
    return "".join(f"{line}\n" for line in lines)


def from_text(text: str) -> tuple[DebianPackage, ...]:
    """Return the packages in a lock's text. Raises UsageError if the text is damaged."""
    archive = time = ""
    packages: list[DebianPackage] = []
    for line in text.splitlines():
        if match := _ARCHIVE.fullmatch(line):
            archive, time = match[1], match[2]
            continue
        match = _LINE.fullmatch(line)
        if match is None or not archive:
            raise UsageError(
                f"ocicaliban.lock: '{line}' does not describe a Debian package", "ocicaliban lock --upgrade apt"
            )
        packages.append(
            DebianPackage(
                name=match[1],
                version=match[2],
                architecture=match[3],
                size=int(match[4]),
                sha256=match[5],
                path=match[6],
                archive=archive,
                time=time,
            )
        )
    return tuple(packages)


def not_for_a_lock(packages: Iterable[DebianPackage]) -> DebianPackage | None:
    """Return a package that a lock's text cannot describe, for example one from an archive `ftp:`; None for none."""
    for each in packages:
        try:
            if from_text(to_text([each])) == (each,):
                continue
        except UsageError:
            pass
        return each
    return None


# --- what apt says ---


def wanted(uris: str) -> tuple[str, ...]:
    """Return the packages that `apt-get install --print-uris` would fetch, as NAME:ARCHITECTURE=VERSION."""
    return tuple(":".join(_named(name)[::2]) + f"={_named(name)[1]}" for _, name in _URI.findall(uris))


def _named(file: str) -> tuple[str, str, str]:
    """Return the name, the version and the architecture in the name that apt gives to a file."""
    name, version, architecture = (unquote(part) for part in file.removesuffix(".deb").split("_"))
    return name, version, architecture


def found(uris: str, records: str, releases: str) -> tuple[DebianPackage, ...]:
    """Return the packages that apt would fetch, with the hashes that its lists have.

    `uris` is what `apt-get install --print-uris` prints, `records` what `apt-cache show` says of the packages, and
    `releases` are the lines `Date: ...` of the lists' release files. Raises ValueError, with the package's name, if a
    list has no SHA-256 of a package.
    """
    time = _time(releases)
    described = [dict(_fields(record)) for record in records.split("\n\n")]
    packages: list[DebianPackage] = []
    for uri, file in _URI.findall(uris):
        name, version, architecture = _named(file)
        address = _plain(uri)
        record = next(
            (
                each
                for each in described
                if (each.get("Package"), each.get("Version"), each.get("Architecture")) == (name, version, architecture)
                and each.get("SHA256")
                and address.endswith(each.get("Filename", "").removeprefix("./"))
            ),
            None,
        )
        if record is None:
            raise ValueError(name)
        path = record["Filename"].removeprefix("./")
        packages.append(
            DebianPackage(
                name=name,
                version=version,
                architecture=architecture,
                size=int(record["Size"]),
                sha256=record["SHA256"],
                path=path,
                archive=address.removesuffix(path).rstrip("/").removesuffix("/."),
                time=time,
            )
        )
    return tuple(packages)


def without_login(uri: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"^([A-Za-z0-9+.-]+://)[^/]*@", r"\1", uri)


def _plain(uri: str) -> str:
    """Return an address without user and password, in which no character is escaped."""
    return unquote(without_login(uri))


def _fields(record: str) -> Iterator[tuple[str, str]]:
    for line in record.splitlines():
        key, separator, value = line.partition(": ")
        if separator and not line.startswith(" "):
            yield key, value.strip()


def _time(releases: str) -> str:
    """Return the latest date as snapshot services write it."""
    dates = [parsedate_to_datetime(line.partition(":")[2].strip()) for line in releases.splitlines() if ":" in line]
    aware = [each if each.tzinfo else each.replace(tzinfo=UTC) for each in dates]
    return max(aware, default=datetime(1980, 1, 2, tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


# --- where else a package may be ---

_SERVICES: Mapping[str, str] = {
    "debian": "https://snapshot.debian.org/archive/{archive}/{time}",
    "debian-security": "https://snapshot.debian.org/archive/{archive}/{time}",
    "ubuntu": "https://snapshot.ubuntu.com/{archive}/{time}",
}
"""The snapshot service of each archive, by the last part of its address."""


def snapshots(package: DebianPackage, service: str) -> tuple[str, ...]:
    """Return where a snapshot service may have a package: as the archive was at the time of the lock, and a day later.

    `service` is the address of a service in the form of snapshot.debian.org, or one with {archive} and {time} in it;
    "" for those that the archives themselves have, and "none" for none.
    """
    archive = package.archive.rstrip("/").rpartition("/")[2]
    form = service or _SERVICES.get(archive, "")
    if not form or service == "none" or package.archive.startswith("file:"):
        return ()
    if "{" not in form:
        form = form.rstrip("/") + "/archive/{archive}/{time}"
    moment = datetime.strptime(package.time, "%Y%m%dT%H%M%SZ")
    later = datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp() + 86400, UTC).strftime("%Y%m%dT%H%M%SZ")
    places = (form.replace("{archive}", archive).replace("{time}", time) for time in (package.time, later))
    return tuple(f"{place.rstrip('/')}/{quote(package.path)}" for place in places)
