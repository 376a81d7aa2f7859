"""What the tests of reading a folder share."""

from __future__ import annotations

import pytest

from ocicaliban.project import tree_entries


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read for their digest."""
    seen: list[str] = []
    real = tree_entries.read_file

    def spy(absolute: str, path: str, **options: bool) -> object:
        seen.append(path)
        return real(absolute, path, **options)

    monkeypatch.setattr(tree_entries, "read_file", spy)
    return seen
