"""Read uv's settings for the building of packages: the step that installs needs them too, as it sees no project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.pip_options import ALL, PipOptions
from ocicaliban.formats.toml import read_toml, table_in

_BUILD = (
    "build-constraint-dependencies", "config-settings", "config-settings-package", "extra-build-dependencies",
    "extra-build-variables", "no-build-isolation", "no-build-isolation-package",
)  # fmt: skip
"""The settings that change what comes of a build."""


def _settings(declaration: Declaration) -> Mapping[str, Any]:
    """Return uv's settings for a declaration: those of uv.toml replace those of pyproject.toml, as in uv."""
    path = declaration.root / "uv.toml"
    if declaration.ALONE or not path.is_file():
        found: Mapping[str, Any] = declaration.uv_settings()
    else:
        found = read_toml(path)[1]
    # `uv pip` reads this table, and `uv run` does not.
    return {**found, **(table_in(found, "pip") if declaration.requirement_lists() else {})}


def build_settings(declaration: Declaration | None) -> str:
    """Return uv's settings for builds as lines of a uv.toml, "" if there are none.

    Raises UsageError for a uv.toml that is not TOML.
    """
    settings = _settings(declaration) if declaration else {}
    found = {key: settings[key] for key in _BUILD if settings.get(key) not in (None, False, [], {})}
    if not found:
        return ""
    import tomli_w  # few projects have any

    return tomli_w.dumps(found)


def with_formats(options: PipOptions, declaration: Declaration) -> PipOptions:
    """Return pip's options with what uv's settings say about wheels and source archives."""
    if declaration.TOOL not in ("", "uv"):
        return options  # another tool does not read them
    settings = _settings(declaration)
    return evolve(
        options,
        no_binary=options.no_binary | _names(settings, "no-binary", "no-binary-package"),
        only_binary=options.only_binary | _names(settings, "no-build", "no-build-package", "only-binary"),
    )


def _names(settings: Mapping[str, Any], *keys: str) -> frozenset[str]:
    found: set[str] = set()
    for key in keys:
        value = settings.get(key)
        if value is True:
            found.add(ALL)
        elif isinstance(value, list):
            found |= {name if name == ALL else normalized(name) for name in map(str, value)}
    return frozenset(found)
