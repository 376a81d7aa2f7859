"""Only the package containers writes command lines of podman, buildah and skopeo."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ocicaliban

ROOT = Path(ocicaliban.__file__).parent
TOOLS = {"podman", "buildah", "skopeo"}


def _command_lines(tree: ast.AST) -> Iterator[int]:
    """The lines of the tuples and lists that begin with the name of a tool, and go on with its arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and first.value in TOOLS:
                yield node.lineno


def test_no_other_module_writes_a_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: ask ocicaliban.containers instead"
        for path in ROOT.rglob("*.py")
        if path.parent != ROOT / "containers"
        for line in _command_lines(ast.parse(path.read_text()))
    ]
    assert not wrong


def test_the_command_lines_of_containers_are_seen() -> None:
    assert [*_command_lines(ast.parse((ROOT / "containers" / "podman.py").read_text()))]
