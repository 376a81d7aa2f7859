"""Write the unions of Poetry's version constraints (`^1 || ^3`) as PEP 440 specifiers, which know no "or"; pure.

A union is the range around all its parts without the gaps between them, and a gap is a list of `!=`: those from 1.9 to
3 are `!=1.9.*`, `!=1.10.*`, ... and `!=2.*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poetry.core.constraints.version import Version, VersionConstraint, VersionUnion

_LAST = 99
"""The highest number that is looked for in a part of a version after the first."""
_MOST = 3000
"""Specifiers of one requirement: with more of them uv would be slow."""
_PYTHONS = (*((2, minor) for minor in range(8)), *((3, minor) for minor in range(41)))
_PATCHES = 40


class TooWide(Exception):
    """A gap that would need too many specifiers."""


def around(union: VersionUnion) -> VersionConstraint:
    """Return the range around the parts of a union."""
    from poetry.core.constraints.version import VersionRange

    first, last = union.ranges[0], union.ranges[-1]
    return VersionRange(first.min, last.max, first.include_min, last.include_max)


def without_gaps(union: VersionUnion) -> list[str]:
    """Return the specifiers that exclude the gaps in a union. Raises TooWide."""
    found: list[str] = []
    for below, above in zip(union.ranges, union.ranges[1:], strict=False):
        assert below.max and above.min
        if not above.include_min:
            found.append(f"!={above.min.text}")
        for prefix in _between(below.max, below.include_max, above.min):
            found.append(f"!={prefix}.*")
            if len(found) > _MOST:
                raise TooWide
    return list(dict.fromkeys(found))


def _between(low: Version, low_is_allowed: bool, high: Version) -> Iterator[str]:
    """Yield the beginnings of the versions from `low`, or after it if it is allowed, to below `high`."""
    start, end = _parts(low), _parts(high)
    if low_is_allowed:
        start += (1,)
    length = max(len(start), len(end))
    start, end = start + (0,) * (length - len(start)), end + (0,) * (length - len(end))
    if start >= end:
        return
    same = next(at for at in range(length) if start[at] != end[at])
    deepest = max((at for at in range(same, length) if start[at]), default=same)
    if deepest > same:
        for at in range(deepest, same, -1):
            first = start[at] + (at != deepest)
            yield from (_text(*start[:at], number) for number in range(first, _LAST + 1))
        yield from (_text(*start[:same], number) for number in range(start[same] + 1, end[same]))
    else:
        yield from (_text(*start[:same], number) for number in range(start[same], end[same]))
    for at in range(same + 1, length):
        yield from (_text(*end[:at], number) for number in range(end[at]))


def _parts(version: Version) -> tuple[int, ...]:
    return tuple(map(int, version.release.to_parts()))


def _text(*parts: int) -> str:
    return ".".join(map(str, parts))


def of_pythons(union: VersionUnion) -> str:
    """Return the specifiers for the releases of Python that a union allows."""
    from poetry.core.constraints.version import Version

    whole = around(union)
    found = [] if whole.is_any() else [str(whole)]
    for release in _PYTHONS:
        versions = [f"{_text(*release)}.{patch}" for patch in range(_PATCHES + 1)]
        inside = [text for text in versions if whole.allows(Version.parse(text))]
        excluded = [text for text in inside if not union.allows(Version.parse(text))]
        if excluded and len(excluded) == len(inside):
            found.append(f"!={_text(*release)}.*")
        else:
            found += (f"!={text}" for text in excluded)
    return ",".join(found)
