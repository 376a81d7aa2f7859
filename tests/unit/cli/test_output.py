"""Nothing that others wrote controls the terminal: there are few ways out, and each is filtered."""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.cli import output
from ocicaliban.formats.text import TerminalText, shown

PACKAGE = Path(output.__file__).parents[1]
WAYS_OUT = {
    "cli/output.py": 5,
    "__main__.py": 4,  # the version; errors and their hints, and a note: filtered
    "cli/app.py": 1,  # the version
    "cli/report.py": 1,  # a filtered line in bold
    "containers/user_namespace.py": 1,  # a constant
    "execution/progress.py": 1,
    "replay.py": 1,  # what the last run said, which was filtered when it was written
    "reporter.py": 2,  # a line, a question
}


def _ways_out(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            written = name.startswith(("sys.stdout", "sys.stderr")) and name.endswith((".write", ".writelines"))
            if written or name in ("print", "typer.echo", "typer.secho", "click.echo", "pprint"):
                yield node


def test_texts_are_printed_in_few_places() -> None:
    found = {str(path.relative_to(PACKAGE)): len([*_ways_out(path)]) for path in PACKAGE.rglob("*.py")}
    assert {path: count for path, count in found.items() if count} == WAYS_OUT


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


EVIL = "a\x1b]0;title\x07b\x1b[31mc\x9bd\u202ee\r\tf"


@pytest.mark.parametrize("terminal", [True, False])
def test_exact_texts_are_exact_where_no_terminal_reads_them(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", out := _Terminal() if terminal else io.StringIO())
    output.print_exactly([EVIL, "x" * 9000])
    assert out.getvalue() == (shown(EVIL) if terminal else EVIL) + "x" * 9000
    assert not terminal or {*"\x1b\x9b\u202e\r"}.isdisjoint(out.getvalue())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_log_at_a_terminal_loses_what_controls_it_wherever_it_is_cut(size: int) -> None:
    said = "grün \x1b[1;31mred\x1b[0m\r\n10%\r20%\n\x1b]8;;http://a\x1b\\link\x1b]8;;\x07 \u202eabc\x1bZ\tend\x1b["
    text, data = TerminalText(), said.encode()
    pieces = [text.add(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join([*pieces, text.end()]) == "grün red\n10%\n20%\nlink abc\tend["


def test_a_log_with_all_its_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.print_bytes([b"\x1b[31m", b"\xff\r\n"])
    assert capfdbinary.readouterr().out == b"\x1b[31m\xff\r\n"
