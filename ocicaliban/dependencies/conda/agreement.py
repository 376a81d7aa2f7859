"""Compare a lock of conda packages with the files that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocicaliban.dependencies.conda import calls
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.errors import UsageError

_PLATFORMS = {
    "linux-64": ("linux64", "unix", "linux"),
    "linux-aarch64": ("aarch64", "unix", "linux"),
}
"""What conda-lock takes a line for whose comment ends with one of these words in brackets, by the platform."""


def check(
    specs: Sequence[str], packages: Iterable[CondaPackage], platform: str, lock: str, files: str, again: str
) -> None:
    """Raise UsageError if a lock has no package that one of the requirements of conda asks for.

    `lock` and `files` are what messages call the lock and what it was made from, and `again` is the command that writes
    it.
    """
    if not specs:
        return
    held = [(each.name, each.version, each.build) for each in packages]
    missing = calls.call("unmet", lock, platform, specs=[*specs], packages=held)["unmet"]
    if missing:
        raise UsageError(f"{lock} is not up to date with {files}: it does not hold {missing}", again)


def for_platform(specs: Iterable[str], text: str, platform: str) -> list[str]:
    """Return the requirements of a file without those that a selector in its `text` keeps to other platforms."""
    left_out = set()
    for line in text.splitlines():
        spec, _, comment = line.partition("#")
        selector, closed, _ = comment.rpartition("[")[2].partition("]")
        if closed and "[" in comment and selector.strip() not in _PLATFORMS.get(platform, ()):
            left_out.add(spec.strip().removeprefix("-").strip().strip("\"'"))
    return [spec for spec in specs if spec not in left_out]
