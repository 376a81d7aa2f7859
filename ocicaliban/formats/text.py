"""Write values for people."""

from __future__ import annotations


def amount(count: int) -> str:
    """Write a number of bytes with a unit: 1.5 MB."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
