"""The layout of the package is that of the map in docs/architecture.md, and files and functions keep their sizes."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ocicaliban

ROOT = Path(ocicaliban.__file__).parent
REPOSITORY = Path(__file__).parents[2]
BENCH = REPOSITORY / "tests" / "bench"
EMPTY = "the files __init__.py are empty, so that an import brings nothing by accident"
FILE_LINES, FUNCTION_LINES = 400, 60

ONLY: Mapping[str, frozenset[str]] = {
    "subprocess": frozenset({"system.process", "system.background"}),
    "podman": frozenset({"containers.podman_api"}),
    "peewee": frozenset({"history"}),
    "optuna": frozenset({"search.optuna_study"}),
    "mlflow": frozenset({"reports.mlflow_runs"}),
    "tensorboard": frozenset({"reports.tensorboard"}),
    "pandas": frozenset({"api"}),
    **dict.fromkeys(
        ("google", "grpc"),
        frozenset(
            {
                "emulator",
                "google_auth",
                "registry.auth",
                "reports.tensorboard",
                "targets.vertex.library",
                "targets.vertex.logs",
                "targets.vertex.results",
            }
        ),
    ),
}
"""The modules and packages that may import a library; all others work without it."""

# --- reading the package ---


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__").replace("__init__", "")


@functools.cache
def _texts() -> Mapping[Path, str]:
    return {path: path.read_text() for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def _sources() -> Mapping[Path, ast.Module]:
    return {path: ast.parse(text) for path, text in _texts().items()}


@functools.cache
def _nodes() -> Mapping[Path, list[ast.AST]]:
    """All that the tree of each file consists of."""
    return {path: list(ast.walk(tree)) for path, tree in _sources().items()}


def _called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _imported(tree: ast.AST) -> Iterator[str]:
    """The full names that a module imports when it runs, inside of functions too; not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: imports are absolute"
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Call) and _called(node) == "import_module":
            yield ast.unparse(node.args[0]).strip("f'\"")
        yield from _imported(node)


@functools.cache
def _libraries() -> Mapping[str, set[str]]:
    """The full names of what each module imports, by module."""
    return {_module(path): set(_imported(tree)) for path, tree in _sources().items()}


@functools.cache
def _graph() -> Mapping[str, set[str]]:
    """The modules of ours that each module imports; a package stands for what cannot be told apart further."""
    modules = {_module(path) for path in _sources()}

    def module(name: str) -> str:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    return {
        name: {module(each.removeprefix("ocicaliban.")) for each in names if each.startswith("ocicaliban.")} - {name}
        for name, names in _libraries().items()
    }


def _map() -> list[str]:
    """The packages, from the top to the bottom, as docs/architecture.md lists them."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    section = text.partition("\n## Map\n")[2].partition("\n## ")[0]
    return [name.removesuffix("/").removesuffix(".py") for name in re.findall(r"^\| `([\w/.]+)` \|", section, re.M)]


def _within(module: str, places: frozenset[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


# --- the documentation ---


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    named = set(re.findall(r"`((?:ocicaliban|layers|tests|docs)/[\w/.-]+)`", text))
    assert not [name for name in named if "NAME" not in name and not (REPOSITORY / name).exists()]


# --- imports ---


def test_the_map_lists_each_package_once() -> None:
    there = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in _sources()} - {"__init__"}
    assert sorted(_map()) == sorted(there)


def test_imports_point_down_the_map() -> None:
    order = {name: place for place, name in enumerate(_map())}
    wrong = []
    for module, used in _graph().items():
        for other in used - {""}:  # the package itself, which holds the version
            above, below = module.partition(".")[0], other.partition(".")[0]
            if order.get(below, -1) < order.get(above, -1):
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert list(TopologicalSorter(_graph()).static_order())


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_imported_by_few(library: str) -> None:
    using = {name for name, used in _libraries().items() if any(each.partition(".")[0] == library for each in used)}
    assert using, f"nothing imports {library}: remove it from this test"
    assert not [name for name in using if not _within(name, ONLY[library])]


def test_packages_are_empty() -> None:
    made = [path for path in ROOT.rglob("__init__.py") if path.parent != ROOT and path.stat().st_size]
    assert not made, EMPTY


# --- sizes ---


@functools.cache
def _measured() -> list[tuple[str, str]]:
    """The name and text of each file that has to keep the limits: the package and the bench.

    Tests are not held to them: those of one subject stay together, and are a list.
    """
    files = [(str(path.relative_to(ROOT)), text) for path, text in _texts().items()]
    return files + [(str(path.relative_to(REPOSITORY)), path.read_text()) for path in sorted(BENCH.glob("*.py"))]


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions in a tree, those in functions and classes too; none is in an expression."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        if not isinstance(node, ast.expr):
            yield from _functions(node)


def _reason(line: str, limit: int) -> bool:
    return re.match(rf"\s*# Longer than {limit} lines: \S", line) is not None


def test_a_long_file_says_why() -> None:
    """By a line `# Longer than 400 lines: REASON` of its own."""
    wrong = []
    for name, text in _measured():
        lines = text.splitlines()
        excused = any(_reason(line, FILE_LINES) for line in lines)
        if len(lines) > FILE_LINES and not excused:
            wrong.append(f"{name}: {len(lines)} lines")
    assert not wrong


def test_a_long_function_says_why() -> None:
    """By a line `# Longer than 60 lines: REASON` directly above it, or above its decorators."""
    wrong = []
    for name, text in _measured():
        lines = text.splitlines()
        if len(lines) <= FUNCTION_LINES:
            continue
        for node in _functions(ast.parse(text)):
            assert node.end_lineno
            length = node.end_lineno - node.lineno + 1
            above = min(each.lineno for each in (node, *node.decorator_list)) - 2
            excused = _reason(lines[above], FUNCTION_LINES)
            if length > FUNCTION_LINES and not excused:
                wrong.append(f"{name}, line {node.lineno}: {node.name} has {length} lines")
    assert not wrong


# --- names of recipes and of targets ---


def _strings(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _compared(nodes: list[ast.AST], attribute: str, names: set[str]) -> list[int]:
    """The lines that compare something called `attribute` with one of these names, or give one as its value."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Compare):
            called = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
            called |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.keyword) and node.arg:
            called = {node.arg}
        elif isinstance(node, ast.AnnAssign):
            called = {ast.unparse(node.target)}
        else:
            continue
        if attribute in called and _strings(node) & names:
            found.append(node.lineno)
    return found


def test_only_the_registry_of_targets_knows_a_target_by_name() -> None:
    folders = {path.name for path in (ROOT / "targets").iterdir() if (path / "__init__.py").exists()}
    assert {"local", "vertex"} <= folders
    wrong = []
    for path, nodes in _nodes().items():
        name = str(path.relative_to(ROOT))
        if not name.startswith("targets/"):
            wrong += [f"{name}:{line}" for line in _compared(nodes, "target", folders)]
    assert not wrong


def test_no_module_knows_a_recipe_by_name() -> None:
    recipes = {path.parent.name for path in (REPOSITORY / "layers").glob("*/layer.toml")}
    wrong = []
    for path, nodes in _nodes().items():
        name = str(path.relative_to(ROOT))
        wrong += [f"{name}:{line}" for line in _compared(nodes, "name", recipes)]
    assert not wrong
