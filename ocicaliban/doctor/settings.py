"""Check the user's settings for all projects."""

from __future__ import annotations

from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError


def readable(settings: object) -> tuple[Finding, ...]:
    """Check that the settings can be read; takes them, or the error. There is no finding if they can."""
    if isinstance(settings, OcicalibanError):
        return (Finding(name="config", level="error", message=settings.message, remedy=settings.hint),)
    return ()
