"""What to do about what uv says when it cannot resolve."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_HINTS = {
    "Error parsing included file": "correct the path after -r or -c, which is relative to the file that includes it",
    "Distribution not found at:": "correct the path; it is relative to the project, or to the file that names it",
    "Expected '=' or whitespace": "write a blank after -r or -c: -r FILE",
    "Couldn't parse requirement": "correct the line: NAME, NAME==VERSION or 'NAME @ URL'",
    "relative path without a working directory": "no tool resolves a relative file: URL of a package in a folder; in"
    ' its pyproject.toml write NAME instead, and [tool.uv.sources] NAME = { path = "../NAME" }',
    "was not found in the package registry": "correct the name; write the folder of a package of your own: ./libs/NAME",
}
_NOT_UTF8 = re.compile(r"`([^`]+)`: stream did not contain valid UTF-8")
_NO_PACKAGE = re.compile(r"`(/[^`]+)` does not appear to be a Python project")


def hint_for(explanation: str) -> str:
    """Return what to do about an explanation of uv, "" if it says all."""
    if match := _NO_PACKAGE.search(explanation):
        return for_folder(Path(match[1]))
    if match := _NOT_UTF8.search(explanation):
        name, new = shlex.quote(match[1]), shlex.quote(f"{match[1]}.new")
        return f"save the file as UTF-8: iconv -f latin1 -t utf-8 {name} > {new} && mv {new} {name}"
    return next((hint for words, hint in _HINTS.items() if words in explanation), "")


def for_folder(folder: Path) -> str:
    """Return what to do about a folder that has no package: it may be a git submodule that is not checked out."""
    if folder.is_dir() and not any(folder.iterdir()):
        return "if it is a git submodule, check it out: git submodule update --init"
    return f"create {folder.name}/pyproject.toml, or correct the path"
