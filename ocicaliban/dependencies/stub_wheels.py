"""Wheels without contents, which tell uv what an environment has already."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

LOCAL = "conda"
"""The local part of their versions."""


def write(folder: Path, packages: Iterable[str]) -> Iterator[str]:
    """Write a wheel for each of `packages` (NAME==VERSION) into a folder, and yield the requirement that it meets.

    Packages whose versions Python's tools cannot compare are left out.
    """
    from packaging.version import InvalidVersion, Version

    for package in packages:
        name, _, text = package.partition("==")
        try:
            version = f"{Version(text).public}+{LOCAL}"
        except InvalidVersion:
            continue
        stem = f"{name.replace('-', '_')}-{version}"
        about = f"{stem}.dist-info"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
        yield f"{name}=={version}"
