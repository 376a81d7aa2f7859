"""Files that are far too large for what their names say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ocicaliban.dependencies import registry
from ocicaliban.dependencies.declaration import build_texts
from ocicaliban.errors import UsageError
from ocicaliban.formats.sizes import LARGEST, check_size
from ocicaliban.project import config, ignore_rules, lockfile


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((name, registry.found_in) for way in registry.WAYS for name in way.names() if name),
        ("ocicaliban.toml", config.load_project),
        (".calibanconfig.json", config.load_project),
        ("ocicaliban.lock", lockfile.read_lock),
        (".gitignore", lambda root: ignore_rules.read_ignore_file(str(root / ".gitignore"), ".gitignore")),
        ("setup.cfg", build_texts),
    ],
)
def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    sparse(tmp_path / name)
    with pytest.raises(UsageError, match=f"{name}: has 1099.5 GB, and no file of this name has more than 67.1 MB"):
        read(tmp_path)


def test_a_list_that_another_one_includes_counts_too(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    sparse(tmp_path / "more.txt")
    [found] = registry.found_in(tmp_path)
    with pytest.raises(UsageError, match=r"more\.txt: has 1099"):
        found.texts()


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * LARGEST)
    check_size(tmp_path / "a")
    check_size(tmp_path / "missing")
