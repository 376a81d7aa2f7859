"""Keep those archives of locked packages that --no-binary and --only-binary of pip allow; pure.

The step that installs is given hashes. Without those of the wheels, uv builds from the source archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ocicaliban.dependencies import locked_requirements
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.errors import UsageError


def restricted(text: str, options: PipOptions, packages: Iterable[Mapping[str, Any]]) -> str:
    """Return locked requirements with the hashes of the archives that the options allow.

    `packages` are those of a pylock.toml that uv made of the requirements. Raises UsageError for a package without an
    archive that is allowed.
    """
    found = {normalized(package["name"]): package for package in packages}
    kept: list[str] = []
    for entry in locked_requirements.entries(text):
        name = locked_requirements.name(entry)
        wanted = options.wanted_format(name) or ("wheel" if options.prefer_binary else "")
        if not wanted or name not in found or "--hash" not in entry:
            kept.append(entry)
            continue
        package = found[name]
        archives = package.get("wheels", []) if wanted == "wheel" else [package.get("sdist")]
        allowed = {f"sha256:{each['hashes']['sha256']}" for each in archives if each and "sha256" in each["hashes"]}
        head, *hashes = (line.strip().removesuffix("\\").strip() for line in entry.splitlines())
        hashes = [line for line in hashes if line.removeprefix("--hash=") in allowed]
        if not hashes:
            what = "wheel" if wanted == "wheel" else "source archive"
            option = "--only-binary (uv: no-build)" if wanted == "wheel" else "--no-binary"
            raise UsageError(
                f"there is no {what} of {head.split(' ;')[0]}, and the requirements say {option} for it",
                f"take {name} out of {option}, or ask for a version that has one",
            )
        kept.append(" \\\n    ".join([head, *hashes]) + "\n")
    return "".join(kept)
