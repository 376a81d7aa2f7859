"""What mkdocs does beside its own work: the README is the first page, and pages refer to files of the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_ROOT = Path(__file__).parent.parent
_PAGES = {"README.md": "index.md", "SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md"}
_PAGES |= {"CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)]*)?(\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are at the top of the repository, with links as seen from the site."""
    for name, page in _PAGES.items():
        text = _LINK.sub(lambda match: _moved(match, ""), (_ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to pages at the top of the repository lead to their pages of the site."""
    if page.file.src_uri in _PAGES.values():
        return markdown
    return _LINK.sub(
        lambda match: _moved(match, posixpath.join("docs", posixpath.dirname(page.file.src_uri))), markdown
    )


def _moved(match: re.Match[str], folder: str) -> str:
    """Return a link, seen from `folder` of the repository, as one to the site's page."""
    before, target, anchor, after = match[1], match[2], match[3] or "", match[4]
    if "://" in target:
        return match[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    if path in _PAGES:
        goal = _PAGES[path]
    elif not folder and path.startswith("docs/"):
        goal = path.removeprefix("docs/")
    else:
        return match[0]
    start = folder.removeprefix("docs").lstrip("/")
    return f"{before}{posixpath.relpath(goal, start or '.')}{anchor}{after}"
