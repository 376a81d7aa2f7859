"""Read which folders the user has chosen for images: before the settings are read with all their checks.

The image store is chosen at each start, also before a replay. `project/user_config` checks the same keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.errors import UsageError
from ocicaliban.system import files


def file() -> Path:
    """Return the file with the user's own settings."""
    return files.config() / "config.toml"


def folder(variable: str, key: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder that a variable of the environment names, else a key of the settings; "" if none does.

    `~` and variables in it are replaced. Raises UsageError if the result is not an absolute path.
    """
    place, given = variable, environ.get(variable, "")
    if not given:
        place, given = f"{key} in {file()}", _of_settings(key)
    found = os.path.expanduser(os.path.expandvars(given))
    if found and (not os.path.isabs(found) or "$" in found):
        raise UsageError(f"{place}: '{given}' is not an absolute path", "begin it with /, ~/ or a variable that is set")
    return found


def _of_settings(key: str) -> str:
    """Return a text of the settings, "" if there is none. What is wrong with the file is told when it is checked."""
    try:
        text = file().read_text(errors="replace")
    except OSError:
        return ""
    if key not in text:
        return ""
    import tomllib

    try:
        value = tomllib.loads(text).get(key, "")
    except (ValueError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""
