"""Locked Debian packages are fetched from the first place that has them, and are what the lock says."""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

from ocicaliban.dependencies import host_settings
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
    """Servers: `pages` are what they have, `silent` those that give no answer, `first` what they do before they do."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.silent: set[str] = set()
        self.first: list[BaseException | io.BytesIO] = []
        self.asked: list[str] = []
        self.logins: list[str] = []

    def open(self, request: urllib.request.Request, timeout: float) -> io.BytesIO:
        """Answer as urllib does."""
        url = request.full_url
        self.asked.append(url)
        self.logins.append(request.unredirected_hdrs.get("Authorization", ""))
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer
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
    monkeypatch.setattr(fetch, "_PAUSE", 0)
    return made


class Cut(io.BytesIO):
    """An answer of which `length` bytes did not come, or nobody knows."""

    def __init__(self, data: bytes, length: int | None, then: BaseException | None = None) -> None:
        super().__init__(data)
        self.length, self.then = length, then

    def read(self, size: int | None = -1) -> bytes:
        """Return what has come."""
        if (data := super().read(size)) or self.then is None:
            return data
        raise self.then


def status(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(URL, code, "Reason", Message(), None)


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


@pytest.mark.parametrize(
    "passing",
    [
        status(429),
        status(503),
        ConnectionResetError(104, "Connection reset by peer"),
        http.client.RemoteDisconnected("Remote end closed connection without response"),
        TimeoutError("timed out"),
        urllib.error.URLError(ConnectionResetError(104, "Connection reset by peer")),
        urllib.error.URLError(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
        Cut(b"fir", 2),
        Cut(b"fir", None),
        Cut(b"fir", 0, http.client.IncompleteRead(b"fir", 2)),
        Cut(b"fir", 0, ConnectionResetError(104, "Connection reset by peer")),
    ],
)
def test_a_fault_that_may_pass_is_tried_again(web: Web, tmp_path: Path, passing: BaseException | io.BytesIO) -> None:
    web.pages = {URL: b"first"}
    web.first = [passing, status(502)]
    assert got(Sources(root=tmp_path, snapshot="none"), ONE) == [b"first"]
    assert web.asked == [URL] * 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            lambda: ConnectionResetError(104, "Connection reset by peer"),
            "it cannot be reached (Connection reset by peer)",
        ),
        (lambda: Cut(b"fir", 2), "it broke off"),
        (lambda: status(503), "503 Reason"),
    ],
)
def test_a_fault_of_one_package_is_none_of_the_next(
    web: Web,
    tmp_path: Path,
    fault: Callable[[], BaseException | io.BytesIO],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "_AT_ONCE", 1)
    web.pages = {URL: b"first", TWO.url: b"second"}
    web.first = [fault() for _ in range(3)]
    with pytest.raises(OcicalibanError) as caught:
        got(Sources(root=tmp_path, snapshot="none"), ONE, TWO)
    assert caught.value.message.endswith(f"cannot be fetched: one=1.0-1\ndeb.example.org: {told}")
    assert fetch.held(TWO).read_bytes() == b"second"


def test_a_shorter_file_of_the_name_is_another_one(web: Web, tmp_path: Path) -> None:
    web.first = [Cut(b"fir", 0)]
    with pytest.raises(OcicalibanError, match="another file of this name"):
        got(Sources(root=tmp_path, snapshot="none"), ONE)
    assert len(web.asked) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_no_fault_of_the_network(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "fsync", full)
    web.pages = {URL: b"first"}
    with pytest.raises(OSError, match="no") as caught:
        got(Sources(root=tmp_path, snapshot=SNAPSHOT), ONE)
    assert (caught.value.errno, len(web.asked)) == (code, 1)
    assert Path(caught.value.filename).parent == fetch.held(ONE).parent
    assert not list(fetch.held(ONE).parent.iterdir())


@pytest.mark.parametrize("code", [401, 403])
def test_an_archive_that_needs_a_login_is_told(web: Web, tmp_path: Path, code: int) -> None:
    web.first = [status(code)]
    with pytest.raises(OcicalibanError, match=f"{code} Reason") as caught:
        got(Sources(root=tmp_path, snapshot=SNAPSHOT), ONE)
    assert "`[layers.apt] lock = false`" in caught.value.hint and "upgrade" not in caught.value.hint


def test_a_login_of_a_mirror_is_sent_and_shown_to_nobody(web: Web, tmp_path: Path) -> None:
    sources = Sources(root=tmp_path, snapshot="none", mirrors=("https://me:p%40@ss@m.example.org/d",))
    plain = f"https://m.example.org/d/{ONE.path}"
    web.pages = {plain: b"first"}
    assert got(sources, ONE) == [b"first"]
    assert web.asked[-1] == plain
    assert (web.logins[0], web.logins[-1]) == ("", "Basic bWU6cEBAc3M=")
    script = PackageTree(packages=(ONE,), sources=sources).script
    assert plain in script and "p%40" not in script and "@m." not in script
    web.pages = {}
    with pytest.raises(OcicalibanError) as caught:
        got(sources, TWO)
    assert "\nm.example.org: 404 Not Found" in caught.value.message and "p%40" not in caught.value.message


def test_a_login_may_name_a_variable(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources(root=tmp_path, snapshot="none", mirrors=("https://me:${OC_TOKEN}@m.example.org",))
    with pytest.raises(OcicalibanError, match=r"\nm\.example\.org: the variable OC_TOKEN of its login is not set"):
        got(sources, ONE)
    monkeypatch.setenv("OC_TOKEN", "p%40")
    web.pages = {f"https://m.example.org/{ONE.path}": b"first"}
    assert got(sources, ONE) == [b"first"]
    assert web.logins[-1] == "Basic bWU6cCU0MA=="


@pytest.mark.parametrize(
    ("said", "url", "proxy"),
    [
        ("", "http://a.org/", "env:1"),
        ('Acquire::http::Proxy "http://p:2/";', "http://a.org/", "p:2"),
        ('Acquire::http::Proxy "http://p:2/";', "https://a.org/", ""),
        ('Acquire::http::Proxy "DIRECT";', "http://a.org/", ""),
        ('Acquire::http::Proxy "false";', "http://a.org/", ""),
        ('Acquire::http::Proxy "socks5h://p:2/";', "http://a.org/", "env:1"),
        ('Acquire::http::Proxy::a.org "DIRECT";', "http://a.org:80/", ""),
        ('Acquire::http::Proxy::a.org "http://p:2/";', "http://a.org/", "p:2"),
        ('Acquire::http::Proxy::a.org "http://p:2/";', "http://b.org/", "env:1"),
        ('Acquire::https::Proxy::a.org "http://p:2/";', "https://a.org/", "p:2"),
    ],
)
def test_proxies_are_those_of_apt(monkeypatch: pytest.MonkeyPatch, said: str, url: str, proxy: str) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"http": "http://env:1"})
    monkeypatch.setattr(urllib.request, "proxy_bypass", lambda host: False)
    monkeypatch.setattr(host_settings, "apt_proxies", lambda: f"{said}\n")
    request = urllib.request.Request(url)
    getattr(fetch._proxies(), f"{request.type}_open")(request)
    asked = request.host if request.has_proxy() or request._tunnel_host else ""  # type: ignore[attr-defined]
    assert asked == proxy


def test_what_was_not_used_is_known(web: Web, tmp_path: Path) -> None:
    web.pages = {ONE.url: b"first", TWO.url: b"second"}
    sources = Sources(root=tmp_path)
    got(sources, ONE, TWO)
    (fetch.held(ONE).parent / "resolved").mkdir()
    for each in (ONE, TWO):
        os.utime(fetch.held(each), (1000, 1000))
    got(sources, ONE)
    assert fetch.unused(2000) == (fetch.held(TWO),)
    assert {*fetch.unused(float("inf"))} == {fetch.held(ONE), fetch.held(TWO)}


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
