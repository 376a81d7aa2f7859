"""What a check reports."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Level = Literal["ok", "missing", "warning", "error"]
"""A `missing` part is optional: some commands need it."""


@frozen(kw_only=True)
class Finding:
    """The result of one check; `remedy` is empty if there is nothing to do."""

    name: str
    level: Level
    message: str
    remedy: str = ""
