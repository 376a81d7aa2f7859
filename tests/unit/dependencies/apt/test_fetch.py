"""Locked Debian packages are fetched from the first place that has them, and are what the lock says."""

from __future__ import annotations

import hashlib
import io
import subprocess
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from ocicaliban.dependencies.apt import fetch, packages
from ocicaliban.dependencies.apt.fetch import Sources
from ocicaliban.dependencies.apt.tree import PackageTree
from ocicaliban.errors import OcicalibanError
from ocicaliban.reporter import SILENT
from tests.debian import HEAD, line

ONE, TWO = packages.from_text(HEAD + line("one", content=b"first") + line("two", "1:2.0", content=b"second"))
SNAPSHOT = "https://s.example.org"
URL = ONE.url
OF_SNAPSHOT = packages.snapshots(ONE, SNAPSHOT)[1]


class Web:
    """Servers: `pages` are what they have, `silent` those that give no answer."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []

    def open(self, url: str, timeout: float) -> io.BytesIO:
        """Answer as urllib does."""
        self.asked.append(url)
        if url.split("/")[2] in self.silent:
            raise urllib.error.URLError(OSError(111, "Connection refused"))
        if url not in self.pages:
            raise urllib.error.HTTPError(url, 404, "Not Found", Message(), None)
        return io.BytesIO(self.pages[url])


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Web()
    monkeypatch.setattr(fetch, "_opener", lambda: made)
    return made


def got(sources: Sources, *wanted: packages.DebianPackage) -> list[bytes]:
    fetch.fetch(wanted, sources, "apt", SILENT)
    return [fetch.held(each).read_bytes() for each in wanted]


@pytest.mark.parametrize(
    "pages",
    [
        {URL: b"first"},
        {OF_SNAPSHOT: b"first"},
        {URL: b"other", OF_SNAPSHOT: b"first"},
        {URL: b"first and more", "https://m.example.org/d/one_1.0-1_all.deb": b"first"},
        {f"https://m.example.org/d/{ONE.path}": b"first"},
    ],
)
def test_a_package_comes_from_the_first_place_that_has_it(web: Web, tmp_path: Path, pages: dict[str, bytes]) -> None:
    web.pages = pages
    sources = Sources(root=tmp_path, snapshot=SNAPSHOT, mirrors=("https://m.example.org/d/",))
    assert got(sources, ONE) == [b"first"]
    asked = len(web.asked)
    assert got(sources, ONE) == [b"first"] and len(web.asked) == asked
    fetch.held(ONE).write_bytes(b"damaged")
    assert got(sources, ONE) == [b"first"]
    assert [path.name for path in fetch.held(ONE).parent.iterdir()] == [ONE.sha256]


def test_a_folder_of_the_project_may_have_them(web: Web, tmp_path: Path) -> None:
    (tmp_path / "debs").mkdir()
    (tmp_path / "debs" / "two_2.0_all.deb").write_bytes(b"second")
    assert got(Sources(root=tmp_path, mirrors=("debs", "gone")), TWO) == [b"second"]


def test_what_is_gone_is_told_with_the_command_that_takes_what_there_is(web: Web, tmp_path: Path) -> None:
    web.pages = {TWO.url: b"second"}
    web.silent = {"s.example.org"}
    with pytest.raises(OcicalibanError) as caught:
        got(Sources(root=tmp_path, snapshot=SNAPSHOT), ONE, TWO)
    assert caught.value.message == (
        "of the 2 Debian packages in ocicaliban.lock, 1 can no longer be fetched: one=1.0-1\n"
        "deb.example.org: 404 Not Found\n"
        "s.example.org: it cannot be reached (Connection refused)"
    )
    assert caught.value.hint.startswith("`ocicaliban lock --upgrade apt` takes the versions that there are now")


def test_a_server_that_gives_no_answer_is_asked_once_and_is_no_reason_to_take_others(web: Web, tmp_path: Path) -> None:
    web.silent = {"deb.example.org"}
    with pytest.raises(OcicalibanError, match=r"cannot be fetched: one=1\.0-1\ndeb\.example\.org: ") as caught:
        got(Sources(root=tmp_path, snapshot="none"), ONE)
    assert "upgrade" not in caught.value.hint
    assert len(web.asked) == 1


def test_the_tree_has_the_files_by_their_names(web: Web, tmp_path: Path) -> None:
    web.pages = {ONE.url: b"first", TWO.url: b"second"}
    tree = PackageTree(packages=(TWO, ONE), sources=Sources(root=tmp_path))
    made = tree.make(tmp_path, lambda _: None)
    assert [(each.path, each.digest, each.size) for each in made.entries] == [
        ("one_1.0-1_all.deb", hashlib.sha256(b"first").hexdigest(), 5),
        ("two_2.0_all.deb", hashlib.sha256(b"second").hexdigest(), 6),
    ]
    assert (made.root / "two_2.0_all.deb").read_bytes() == b"second"
    assert (tree.size, tree.parts, tree.digest) == (11, {"one": 5, "two": 6}, made.digest)


HELPER = """#!/bin/sh
# apt-helper OPTION... download-file URL FILE SHA256:HEX
for word; do shift; case $word in download-file) break ;; esac; done
echo "$1 $3" >>asked
case $1 in http://deb.*) exit 1 ;; esac
echo "$1" >"$2"
"""


def test_a_script_fetches_them_without_ocicaliban(tmp_path: Path) -> None:
    (tmp_path / "helper").write_text(HELPER)
    (tmp_path / "helper").chmod(0o755)
    sources = Sources(root=tmp_path, snapshot=SNAPSHOT, mirrors=("debs",))
    script = PackageTree(packages=(ONE,), sources=sources).script
    assert "debs" not in script
    script = script.replace("/usr/lib/apt/apt-helper", str(tmp_path / "helper"))
    subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, check=True)
    first = packages.snapshots(ONE, SNAPSHOT)[0]
    assert (tmp_path / "one_1.0-1_all.deb").read_text() == f"{first}\n"
    assert (tmp_path / "asked").read_text().splitlines() == [f"{url} SHA256:{ONE.sha256}" for url in (URL, first)]
    gone = subprocess.run(
        ["sh", "-eu", "-c", script.replace("https://", "http://deb.")], cwd=tmp_path, capture_output=True, text=True
    )
    assert (gone.returncode, gone.stderr) == (1, "one_1.0-1_all.deb cannot be fetched\n")
