"""The bill of materials of an image, checked against CycloneDX's own schema."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ocicaliban.publish import sbom

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Version: of the description

Package: gone
Status: deinstall ok config-files
Version: 1

Package: python3.11
Status: install ok installed
Architecture: amd64
Version: 1:3.11.2-6
"""
FILES = {
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": b'ID=debian\nVERSION_ID="12"\n',
    "opt/venv/lib/python3.11/site-packages/Some_Thing-1.dist-info/METADATA": (
        b"Metadata-Version: 2.4\nName: Some_Thing\nVersion: 1+cpu\nLicense-Expression: MIT\n\nName: text\n"
    ),
    "usr/lib/python3/dist-packages/some.thing.egg-info/PKG-INFO": b"Name: some.thing\nVersion: 1+cpu\n",
    "usr/lib/python3/dist-packages/broken.egg-info/PKG-INFO": b"\xff\xfe",
    "opt/conda/conda-meta/zlib-1.3-0.json": b'{"name": "zlib", "version": "1.3", "build": "0"}',
    "opt/conda/conda-meta/odd.json": b"[]",
}


def test_the_packages_of_an_image_are_listed() -> None:
    data = sbom.materials(FILES, name="digits", image="a" * 64, program="0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    made = json.loads(data)
    assert [each.get("purl", each["name"]) for each in made["components"]] == [
        "debian",
        "pkg:conda/zlib@1.3?build=0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/python3.11@1%3A3.11.2-6?arch=amd64&distro=debian-12",
        "pkg:pypi/some-thing@1%2Bcpu",
    ]
    assert data == sbom.materials(dict(reversed(FILES.items())), name="digits", image="a" * 64, program="0.1.0")
    assert sbom.count(data) == 5


def test_an_image_without_lists_has_a_bill_too() -> None:
    data = sbom.materials({}, name="digits", image="b" * 64, program="0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    # Images without dpkg have a list for each package, without a status.
    lists = {"var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n"}
    assert b"pkg:deb/debian/tzdata@2024a?arch=all" in sbom.materials(lists, name="d", image="c" * 64, program="1")
