"""The locked Debian packages as a tree of files, which a build step sees and apt installs from."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.dependencies.apt import fetch
from ocicaliban.dependencies.apt import packages as apt_packages
from ocicaliban.dependencies.apt.fetch import Sources
from ocicaliban.dependencies.apt.packages import DebianPackage
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.reporter import SILENT, Reporter

_GET = """\
ca=/etc/ssl/certs/ca-certificates.crt
[ ! -r /dev/oc/ca.crt ] || ca=/dev/oc/ca.crt
get() {
    file=$1 sha=$2; shift 2
    for url; do
        ! /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root -o Acquire::https::CaInfo="$ca" \\
            download-file "$url" "$file" "SHA256:$sha" || return 0
    done
    echo "$file cannot be fetched" >&2
    return 1
}
"""


@frozen(kw_only=True)
class PackageTree:
    """The files of packages; those that the base image has itself (`file:`) are not among them."""

    packages: tuple[DebianPackage, ...]
    sources: Sources

    @property
    def _fetched(self) -> tuple[DebianPackage, ...]:
        return tuple(each for each in self.packages if not each.archive.startswith("file:"))

    @property
    def digest(self) -> str:
        """What stands for the tree in keys: what is in the packages, wherever they come from."""
        return apt_packages.digest(self.packages)

    @property
    def size(self) -> int:
        """The bytes of the packages."""
        return sum(each.size for each in self._fetched)

    @property
    def parts(self) -> Mapping[str, int]:
        """The bytes of each package, by name."""
        return {each.name: each.size for each in self._fetched}

    @property
    def script(self) -> str:
        """A script for a container with apt, which fetches the files into the current folder without ocicaliban."""
        lines = [_GET]
        for each in self._fetched:
            lines.append(shlex.join(["get", each.file, each.sha256, *self.sources.published(each)]) + "\n")
        return "".join(lines)

    def fetch(self, reporter: Reporter) -> None:
        """Fetch what the cache lacks. Raises OcicalibanError if a package is nowhere."""
        fetch.fetch(self._fetched, self.sources, "apt", reporter)

    def make(self, folder: Path, _warn: Callable[[str], None]) -> Tree:
        """Return the tree of the files in a new folder below `folder`."""
        self.fetch(SILENT)
        place = folder / f"debian-{self.digest[:12]}"
        place.mkdir()
        entries = []
        for each in sorted(self._fetched, key=lambda package: package.file):
            (place / each.file).symlink_to(fetch.held(each))
            entries.append(TreeEntry(path=each.file, kind="file", digest=each.sha256, size=each.size))
        return Tree(root=place, digest=self.digest, entries=tuple(entries))
