"""The software in an image, as a CycloneDX bill of materials: from the lists that package managers keep. Pure."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from typing import Any
from urllib.parse import quote

from ocicaliban.containers import oci_layout

MEDIA_TYPE = "application/vnd.cyclonedx+json"
VERSION = "1.6"
"""The version of CycloneDX."""

PATTERNS = (
    *("./var/lib/dpkg/status", "./var/lib/dpkg/status.d/*", "./etc/os-release", "./usr/lib/os-release"),
    *("*/*.dist-info/METADATA", "*/*.egg-info/PKG-INFO", "*/conda-meta/*.json"),
)
"""Which files of an image `materials` reads: patterns of paths from its root, as `find -path` takes them."""

_NAMESPACE = uuid.UUID("6f1cdb5e-6a0c-5b5e-9a53-1d2b6c2f4a10")  # for the serial number, made of the image's id
_LICENSE = re.compile(r"[A-Za-z0-9.+() -]{1,200}")


def materials(files: Mapping[str, bytes], *, name: str, image: str, program: str) -> bytes:
    """Return the bill of materials of the image with this id (64 hexadecimal digits), called `name`.

    `files` are those of `PATTERNS`, by their paths. `program` is our version. The same image gives the same text.
    """
    files = dict(sorted(files.items()))
    distribution = _distribution(files)
    found: dict[str, dict[str, Any]] = {}
    for each in (*_debian(files, distribution), *_python(files), *_conda(files)):
        found.setdefault(each["bom-ref"], each)
    system = []
    if distribution.get("ID"):
        release = distribution.get("VERSION_ID", "")
        version = {"version": release} if release else {}
        system = [{"type": "operating-system", "bom-ref": "os", "name": distribution["ID"], **version}]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, image)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": name,
                "version": f"sha256:{image}",
            },
            "tools": {"components": [{"type": "application", "name": "ocicaliban", "version": program}]},
        },
        "components": [*system, *(found[each] for each in sorted(found))],
    }
    return oci_layout.canonical_json(bill)


def count(data: bytes) -> int:
    """Return how many components a bill of materials has."""
    return len(json.loads(data)["components"])


def _distribution(files: Mapping[str, bytes]) -> dict[str, str]:
    text = files.get("etc/os-release") or files.get("usr/lib/os-release") or b""
    pairs = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _debian(files: Mapping[str, bytes], distribution: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield Debian's packages: of dpkg's one list, or of its folder of lists (images without dpkg have that)."""
    family = distribution.get("ID") or "debian"
    release = distribution.get("VERSION_ID", "")
    for path, data in files.items():
        if not path.startswith("var/lib/dpkg/status") or path.endswith(".md5sums"):
            continue
        for paragraph in data.decode("utf-8", "replace").split("\n\n"):
            told = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
            # A folder has installed packages alone, without a status.
            installed = "installed" in told.get("Status", "installed").split()
            if not installed or not {"Package", "Version"} <= told.keys():
                continue
            about = {"arch": told.get("Architecture", ""), "distro": f"{family}-{release}" if release else ""}
            yield _component(
                "deb", f"{quote(family)}/{_word(told['Package'])}", told["Package"], told["Version"], about
            )


def _python(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, data in files.items():
        if not path.endswith(("/METADATA", "/PKG-INFO")):
            continue
        told = HeaderParser().parsestr(data.decode("utf-8", "replace"), headersonly=True)
        name, version = str(told["Name"] or "").strip(), str(told["Version"] or "").strip()
        if not (name and version):
            continue
        plain = re.sub(r"[-_.]+", "-", name).lower()
        license_ = str(told["License-Expression"] or "").strip()
        more = {"licenses": [{"expression": license_}]} if _LICENSE.fullmatch(license_) else {}
        yield {**_component("pypi", _word(plain), name, version), **more}


def _conda(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, data in files.items():
        if "conda-meta/" not in path or not path.endswith(".json"):
            continue
        try:
            told = json.loads(data)
            name, version, build = str(told["name"]), str(told["version"]), str(told.get("build", ""))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        yield _component("conda", _word(name), name, version, {"build": build})


def _component(kind: str, path: str, name: str, version: str, about: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a component with its package URL, which is unique in a bill."""
    known = "&".join(f"{key}={_word(value)}" for key, value in sorted((about or {}).items()) if value)
    purl = f"pkg:{kind}/{path}@{_word(version)}{f'?{known}' if known else ''}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _word(text: str) -> str:
    return quote(text, safe="")
