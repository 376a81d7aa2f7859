"""Tell which lines of a module a build reads its version from: all others may change, and nothing is built again.

Backends do not import such a module. They look for an assignment, line by line or in its syntax tree.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from ocicaliban.formats.toml import table_in

_USUAL = re.compile(r"(?i)^\s*(?:__version__|version)\b")
"""Lines in which hatchling, pdm-backend and scikit-build-core may find a version by their own patterns."""


@frozen(kw_only=True)
class VersionModule:
    """Where a version is: in the file at `path`, or in the module `module`, by its dotted name.

    Of a module the build reads the assignments to `names`, and its docstring if there is a `summary` in it. Without
    names it imports the module. Of a file it reads the lines that assign a version.
    """

    path: str = ""
    module: str = ""
    names: frozenset[str] = frozenset()
    summary: bool = False

    def reduced(self, text: str) -> str | None:
        """Return the part of the module's text that the build reads, None if it may be more: then it is imported."""
        if self.path:
            lines = [line for line in text.splitlines() if _USUAL.match(line)]
            return "".join(f"{line}\n" for line in lines) if lines else None
        return _assignments(text, self.names, summary=self.summary)


def version_modules(
    raw: Mapping[str, Any], config: configparser.RawConfigParser, tool: str, name: str
) -> Iterator[VersionModule]:
    """Yield where the build of the package `name` by the backend `tool` finds its version."""
    if tool == "hatchling":
        version = table_in(raw, "tool", "hatch", "version")
        if version.get("source", "regex") == "regex" and "pattern" not in version and "path" in version:
            yield VersionModule(path=str(version["path"]))
    if tool == "pdm":
        version = table_in(raw, "tool", "pdm", "version")
        if version.get("source") == "file" and "path" in version:
            yield VersionModule(path=str(version["path"]))
        if isinstance(version.get("getter"), str):
            yield VersionModule(module=version["getter"].partition(":")[0])
    if tool == "scikit_build_core":
        version = table_in(raw, "tool", "scikit-build", "metadata", "version")
        if str(version.get("provider", "")).endswith(".regex") and "regex" not in version and "input" in version:
            yield VersionModule(path=str(version["input"]))
    if tool.startswith("flit"):
        module = table_in(raw, "tool", "flit", "module").get("name")
        module = module or table_in(raw, "tool", "flit", "metadata").get("module") or name.replace("-", "_")
        yield VersionModule(module=str(module), names=frozenset({"__version__"}), summary=True)
    if tool == "setuptools":
        dynamic = table_in(raw, "tool", "setuptools", "dynamic")
        attributes = [str(each["attr"]) for each in dynamic.values() if isinstance(each, dict) and "attr" in each]
        value = config.get("metadata", "version", fallback="") if config.has_section("metadata") else ""
        if value.strip().startswith("attr:"):
            attributes.append(value.partition(":")[2].strip())
        for attribute in attributes:
            module, _, last = attribute.rpartition(".")
            yield VersionModule(module=module or last, names=frozenset({last}))


def _assignments(text: str, names: frozenset[str], *, summary: bool) -> str | None:
    """Return the docstring and the assignments to `names` in a module; None if their values are not spelled out."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: list[str] = []
    docstring = ast.get_docstring(tree) if summary else None
    if docstring is not None:
        found.append(ast.get_source_segment(text, tree.body[0]) or "")
    spelled = False
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is None or not _targets(node) & names:
            continue
        try:
            ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
        spelled = True
        found.append(ast.get_source_segment(text, node) or "")
    return "".join(f"{line}\n" for line in found) if spelled else None


def _targets(node: ast.stmt) -> set[str]:
    """Return the names that a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
