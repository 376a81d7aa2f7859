"""Imports point one way, the late ones inside of functions as well (docs/architecture.md)."""

import ast
import functools
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import ocicaliban

ROOT = Path(ocicaliban.__file__).parent
GOOGLE = {"google_auth", "registry.auth", "targets.vertex.library", "targets.vertex.logs", "targets.vertex.results"}
"""Who may import Google's libraries, beside the emulator: all others go without the extra."""


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.AST) -> Iterator[str]:
    """What a module imports when it runs, by full names; what only a type checker sees is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield ast.unparse(node.args[0]).strip("f'\"")
        yield from _imported(node)


@functools.cache
def _graph() -> Mapping[str, set[str]]:
    modules = {_name(path): path for path in ROOT.rglob("*.py")}

    def module(name: str) -> str:
        """The module of ours that a full name is of; a package's is the package."""
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    graph = {}
    for name, path in modules.items():
        names = set(_imported(ast.parse(path.read_text())))
        ours = {module(each.removeprefix("ocicaliban.")) for each in names if each.startswith("ocicaliban.")}
        graph[name] = ours - {name} | {each for each in names if each.partition(".")[0] in ("google", "grpc")}
    return graph


def test_there_is_no_circle() -> None:
    assert list(TopologicalSorter(_graph()).static_order())


def test_nothing_below_knows_the_command_line() -> None:
    for name, used in _graph().items():
        if not name.startswith("cli") and name != "__main__":
            assert not [each for each in used if each == "cli" or each.startswith("cli.")], name


def test_googles_libraries_are_imported_by_few() -> None:
    for name, used in _graph().items():
        if name not in GOOGLE and not name.startswith("emulator"):
            assert not [each for each in used if each.partition(".")[0] in ("google", "grpc")], name
