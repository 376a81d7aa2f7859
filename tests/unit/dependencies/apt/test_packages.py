"""What a lock says of Debian packages, and what apt says of them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ocicaliban.dependencies.apt import packages
from ocicaliban.errors import UsageError
from tests.debian import HEAD, line

SHA = "ab" * 32
URIS = """\
'http://deb.example.org/debian/pool/main/p/procps/procps_4.0.2-3_amd64.deb' procps_2%3a4.0.2-3_amd64.deb 708712 MD5:0
'http://me:secret@sec.example.org/sec/pool/main/b/lib_1.0%2bb1_all.deb' lib_1.0+b1_all.deb 10
'file:/opt/repo/./cuda_12_amd64.deb' cuda_12_amd64.deb 3
"""
RECORDS = f"""\
Package: procps
Version: 2:4.0.2-3
Architecture: amd64
Description: tools
 Package: other
Filename: pool/main/p/procps/procps_4.0.2-3_amd64.deb
Size: 708712
SHA256: {SHA}

Package: lib
Version: 1.0+b1
Architecture: all
Filename: other/lib_1.0+b1_all.deb
Size: 11
SHA256: {"cd" * 32}

Package: lib
Version: 1.0+b1
Architecture: all
Filename: pool/main/b/lib_1.0+b1_all.deb
Size: 10
SHA256: {SHA}

Package: cuda
Version: 12
Architecture: amd64
Filename: ./cuda_12_amd64.deb
Size: 3
SHA256: {SHA}
"""
RELEASES = "Date: Fri, 27 Nov 2026 02:10:32 UTC\nDate: Sat, 14 Nov 2026 09:59:53 UTC\n"


def test_what_apt_says_becomes_the_text_of_a_lock_and_again_the_packages() -> None:
    found = packages.found(URIS, RECORDS, RELEASES)
    text = packages.to_text(found)
    assert text == (
        f"# file:/opt/repo 20261127T021032Z\ncuda=12 amd64 3 sha256:{SHA} cuda_12_amd64.deb\n"
        "# http://deb.example.org/debian 20261127T021032Z\n"
        f"procps=2:4.0.2-3 amd64 708712 sha256:{SHA} pool/main/p/procps/procps_4.0.2-3_amd64.deb\n"
        "# http://sec.example.org/sec 20261127T021032Z\n"
        f"lib=1.0+b1 all 10 sha256:{SHA} pool/main/b/lib_1.0+b1_all.deb\n"
    )
    assert {*packages.from_text(text)} == {*found}
    assert [(each.file, each.url) for each in found[:2]] == [
        ("procps_4.0.2-3_amd64.deb", "http://deb.example.org/debian/pool/main/p/procps/procps_4.0.2-3_amd64.deb"),
        ("lib_1.0+b1_all.deb", "http://sec.example.org/sec/pool/main/b/lib_1.0%2Bb1_all.deb"),
    ]


def test_a_package_without_a_sha_256_is_named() -> None:
    with pytest.raises(ValueError, match="procps"):
        packages.found(URIS, RECORDS.replace("SHA256", "MD5sum"), RELEASES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, False),
        ({"archive": "https://e.org/d"}, False),
        ({"archive": "mirror+file:/etc/apt/mirrors.txt"}, True),
        ({"archive": "copy:/opt/repo"}, True),
        ({"archive": "ftp://e.org/d"}, True),
        ({"archive": "file:/opt/my repo"}, True),
        ({"path": "pool/a b.deb"}, True),
        ({"name": "libFoo"}, True),
    ],
)
def test_what_a_lock_cannot_hold_is_known_before(change: dict[str, Any], told: bool) -> None:
    one, two = packages.from_text(HEAD + line("one") + line("two"))
    bad = evolve(two, **change)
    assert packages.not_for_a_lock((one, bad)) == (bad if told else None)


def test_a_password_with_signs_is_removed() -> None:
    assert packages.without_login("https://me:p@ss@e.org/a@b") == "https://e.org/a@b"


def test_only_what_is_in_packages_enters_keys() -> None:
    (one,) = packages.from_text(HEAD + line("one"))
    elsewhere = evolve(one, archive="https://mirror.example.org/d", time="20270101T000000Z", path="one.deb")
    assert packages.digest([one]) == packages.digest([elsewhere])
    assert packages.digest([one]) == "f5a45130773f517d22937dd38a295534755dca8f59b64ebf077fddb369486c57"
    for other in (evolve(one, version="2"), evolve(one, sha256="0" * 64), evolve(one, architecture="amd64")):
        assert packages.digest([one]) != packages.digest([other])


@pytest.mark.parametrize(
    "text",
    [
        line("one"),  # without an archive
        HEAD + "one=1 all 3 sha256:12 pool/one.deb\n",
        HEAD + line("one").replace("pool/", "/etc/"),
        HEAD + line("one").replace("pool/", "a/../../"),
        HEAD + line("one").replace("one=", "../one="),
        "# ftp://x/debian 20261127T021032Z\n",
    ],
)
def test_a_damaged_lock_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"ocicaliban\.lock: '.*' does not describe a Debian package") as caught:
        packages.from_text(text)
    assert caught.value.hint == "ocicaliban lock --upgrade apt"


@pytest.mark.parametrize(
    ("archive", "service", "places"),
    [
        ("http://deb.debian.org/debian", "", "https://snapshot.debian.org/archive/debian/{}/"),
        ("http://security.debian.org/debian-security", "", "https://snapshot.debian.org/archive/debian-security/{}/"),
        ("http://archive.ubuntu.com/ubuntu/", "", "https://snapshot.ubuntu.com/ubuntu/{}/"),
        ("http://deb.debian.org/debian", "https://s.example.org/", "https://s.example.org/archive/debian/{}/"),
        ("http://deb.debian.org/debian", "https://s.example.org/{time}/{archive}", "https://s.example.org/{}/debian/"),
        ("http://deb.debian.org/debian", "none", ""),
        ("http://own.example.org/packages", "", ""),
        ("file:/opt/debian", "", ""),
    ],
)
def test_a_snapshot_service_is_asked_for_the_time_of_the_lock_and_a_day_later(
    archive: str, service: str, places: str
) -> None:
    (one,) = packages.from_text(HEAD + line("one"))
    times = ("20261127T021032Z", "20261128T021032Z") if places else ()
    expected = tuple(places.format(time) + one.path for time in times)
    assert packages.snapshots(evolve(one, archive=archive), service) == expected
