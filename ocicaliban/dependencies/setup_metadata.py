"""Read what a project's setup.py, setup.cfg and pyproject.toml declare for setuptools, without running anything.

Running a build needs what it imports, and setuptools refuses a flat folder with several packages. Most projects spell
their requirements out, so that both can be avoided. What a setup.py computes is left to its build.
"""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.formats.toml import table_in

_COMPUTING = ("pbr",)
"""Arguments of setup() that make a plugin compute the requirements."""


@frozen(kw_only=True)
class SetupMetadata:
    """The requirements of a project, and those of its extras, by the extras' names. `name` is "" if it is unknown."""

    name: str
    requires: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]


class _Computed(Exception):
    """A value that only the build can tell."""


def read_metadata(root: Path, manifest: Mapping[str, Any]) -> SetupMetadata | None:
    """Return what the files of the project in `root` spell out; None if only its build knows.

    `manifest` holds the values of its pyproject.toml. Raises OSError for a file that cannot be read.
    """
    try:
        return _read(root, manifest)
    except _Computed:
        return None


def _read(root: Path, manifest: Mapping[str, Any]) -> SetupMetadata:
    project = table_in(manifest, "project")
    backend = table_in(manifest, "build-system").get("build-backend", "setuptools.build_meta")
    dynamic = {*map(str, project.get("dynamic", ()))} if isinstance(project.get("dynamic"), list) else set[str]()
    if project and dynamic and not str(backend).startswith("setuptools"):
        raise _Computed
    config = _read_config(root / "setup.cfg")
    script = _SetupCall(root / "setup.py")
    tool = table_in(manifest, "tool", "setuptools", "dynamic")
    if project and "dependencies" not in dynamic:
        requires = _texts(project.get("dependencies", []))
    elif "dependencies" in tool:
        requires = _from_files(root, tool["dependencies"])
    else:
        given, option = script.argument("install_requires"), config.get("options", "install_requires", fallback="")
        requires = _lines(given) if given else _option(root, option)
        if project and not given and not option:
            raise _Computed  # by a plugin of the build
    if project and "optional-dependencies" not in dynamic:
        extras = {key: _texts(value) for key, value in table_in(project, "optional-dependencies").items()}
    elif "optional-dependencies" in tool:
        extras = {key: _from_files(root, value) for key, value in table_in(tool, "optional-dependencies").items()}
    else:
        extras = _extras_require(root, script, config)
    name = project.get("name") or script.project_name() or config.get("metadata", "name", fallback="")
    whole: dict[str, list[str]] = {}
    for key, lines in extras.items():
        # setuptools' older form: "EXTRA:MARKER", or ":MARKER" for requirements of the project itself.
        extra, _, marker = key.partition(":")
        lines = [_with_marker(line, marker) for line in lines]
        (whole.setdefault(extra.strip(), []) if extra.strip() else requires).extend(lines)
    return SetupMetadata(
        name=name if isinstance(name, str) else "",
        requires=tuple(requires),
        extras={key: tuple(lines) for key, lines in whole.items()},
    )


def _extras_require(root: Path, script: _SetupCall, config: configparser.RawConfigParser) -> dict[str, list[str]]:
    """Return the extras of setup.py, or else of setup.cfg."""
    given = script.argument("extras_require")
    if isinstance(given, dict) and given:
        return {str(key): _lines(value) for key, value in given.items()}
    if given:
        raise _Computed
    section = "options.extras_require"
    return {key: _option(root, value) for key, value in (config.items(section) if config.has_section(section) else ())}


def extra_named(metadata: SetupMetadata, name: str) -> str | None:
    """Return the extra with this name, however it is spelt; None if there is none."""
    return next((extra for extra in metadata.extras if normalized(extra) == normalized(name)), None)


def _with_marker(line: str, marker: str) -> str:
    if not marker:
        return line
    head, _, own = line.partition(";")
    return f"{head.strip()}; ({own.strip()}) and ({marker})" if own else f"{head.strip()}; {marker}"


# --- setup.cfg, and files that are named ---


def _read_config(path: Path) -> configparser.RawConfigParser:
    """Return the values of a setup.cfg, whose older names have dashes. Raises _Computed if it is damaged."""
    parser = configparser.RawConfigParser(strict=False)
    if path.is_file():
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, configparser.Error):
            raise _Computed from None  # setuptools reports it
    for section in ("options", "metadata"):
        for key, value in parser.items(section) if parser.has_section(section) else ():
            parser.set(section, key.replace("-", "_"), value)
    return parser


def _option(root: Path, text: str) -> list[str]:
    """Return the requirements in a value of setup.cfg: on lines of their own, or with semicolons on a single one."""
    text = text.strip()
    if text.startswith("file:"):
        names = [name.strip() for name in text.removeprefix("file:").split(",")]
        return _from_files(root, {"file": names})
    if "\n" in text:
        return _lines(text)
    return [part.strip() for part in text.split(";") if part.strip()]


def _from_files(root: Path, value: object) -> list[str]:
    """Return the requirements in the files that a value `{file = [...]}` names. Raises _Computed for another value."""
    names = value.get("file") if isinstance(value, dict) else None
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names or ():
        try:
            found += _lines((root / str(name)).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise _Computed from None
    if names is None:
        raise _Computed
    return found


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _lines(value: object) -> list[str]:
    """Return requirements given as a list, or as lines of a text, without comments. Raises _Computed for others."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise _Computed
    found: list[str] = []
    for line in lines:
        if not isinstance(line, str):
            raise _Computed
        text = line.strip().partition(" #")[0].strip()
        if text and not text.startswith("#"):
            found.append(text)
    return found


# --- setup.py ---


class _SetupCall:
    """The call of setup() in a script: its arguments, as far as their values can be read."""

    def __init__(self, path: Path) -> None:
        """Read the script, if it exists. Raises _Computed if only running it can tell what it declares."""
        self._values: dict[str, ast.expr] = {}
        if not path.is_file():
            return
        try:
            self._tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            raise _Computed from None
        calls = [node for node in ast.walk(self._tree) if isinstance(node, ast.Call) and _is_setup(node.func)]
        if len(calls) != 1 or calls[0].args or any(each.arg in (None, *_COMPUTING) for each in calls[0].keywords):
            raise _Computed
        self._values = {str(each.arg): each.value for each in calls[0].keywords}

    def argument(self, name: str) -> Any:
        """Return the value of an argument, None without it. Raises _Computed if only running the script can tell."""
        return self._value(self._values[name]) if name in self._values else None

    def project_name(self) -> str:
        """Return the project's name, "" if it is unknown."""
        try:
            name = self.argument("name")
        except _Computed:
            name = ""
        return name if isinstance(name, str) else ""

    def _value(self, node: ast.expr, depth: int = 0) -> Any:
        """Return the value of an expression of literals, and of names that stand for one. Raises _Computed."""
        if depth > 20:
            raise _Computed
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [value for each in node.elts for value in self._elements(each, depth)]
        if isinstance(node, ast.Dict):
            if None in node.keys:
                raise _Computed
            pairs = zip(node.keys, node.values, strict=True)
            return {self._value(key, depth + 1): self._value(value, depth + 1) for key, value in pairs if key}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._value(node.left, depth + 1), self._value(node.right, depth + 1)
            if type(left) is type(right) and isinstance(left, list | str):
                return left + right
        if isinstance(node, ast.Name):
            return self._value(self._assigned(node.id), depth + 1)
        raise _Computed

    def _elements(self, node: ast.expr, depth: int) -> list[Any]:
        """Return what an element of a list adds to it."""
        if isinstance(node, ast.Starred):
            value = self._value(node.value, depth + 1)
            if isinstance(value, list):
                return value
            raise _Computed
        return [self._value(node, depth + 1)]

    def _assigned(self, name: str) -> ast.expr:
        """Return the only expression that a name stands for. Raises _Computed if anything may change its value.

        Every other use of the name must be one that only reads it: an operand, an element, or an argument of setup().
        """
        found: list[ast.expr] = []
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                found.append(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                found += [node.value] if node.value else []
        stores = loads = reads = 0
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and node.id == name:
                stores += not isinstance(node.ctx, ast.Load)
                loads += isinstance(node.ctx, ast.Load)
            reads += sum(isinstance(each, ast.Name) and each.id == name for each in _only_read(node))
        reads += sum(isinstance(each, ast.Name) and each.id == name for each in self._values.values())
        if len(found) != 1 or stores != 1 or loads != reads:
            raise _Computed
        return found[0]


def _only_read(node: ast.AST) -> Iterable[ast.AST]:
    """Return the parts of a node whose values it reads and cannot change."""
    if isinstance(node, ast.BinOp):
        return node.left, node.right
    if isinstance(node, ast.List | ast.Tuple):
        return node.elts
    if isinstance(node, ast.Dict):
        return node.values
    if isinstance(node, ast.Starred):
        return (node.value,)
    return ()


def _is_setup(function: ast.expr) -> bool:
    return getattr(function, "id", getattr(function, "attr", "")) == "setup"
