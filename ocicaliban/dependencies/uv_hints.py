"""What to do about what uv says when it cannot resolve."""

from __future__ import annotations

import re
from pathlib import Path

_HINTS = {
    "did not contain valid UTF-8": "save the file as UTF-8: iconv -f latin1 -t utf-8 FILE > NEW && mv NEW FILE",
    "Error parsing included file": "correct the path after -r or -c, which is relative to the file that includes it",
    "Distribution not found at:": "correct the path; it is relative to the project, or to the file that names it",
    "Expected '=' or whitespace": "write a blank after -r or -c: -r FILE",
    "Couldn't parse requirement": "correct the line: NAME, NAME==VERSION or 'NAME @ URL'",
    "relative path without a working directory": "no tool resolves a relative file: URL of a package in a folder; in"
    ' its pyproject.toml write NAME instead, and [tool.uv.sources] NAME = { path = "../NAME" }',
    "was not found in the package registry": "correct the name; write the folder of a package of your own: ./libs/NAME",
}
_NO_PACKAGE = re.compile(r"`(/[^`]+)` does not appear to be a Python project")


def hint_for(explanation: str) -> str:
    """Return what to do about an explanation of uv, "" if it says all."""
    if match := _NO_PACKAGE.search(explanation):
        return for_folder(Path(match[1]))
    return next((hint for words, hint in _HINTS.items() if words in explanation), "")


def for_folder(folder: Path) -> str:
    """Return what to do about a folder that has no package: it may be a git submodule that is not checked out."""
    if folder.is_dir() and not any(folder.iterdir()):
        return "if it is a git submodule, check it out: git submodule update --init"
    return f"create {folder.name}/pyproject.toml, or correct the path"
