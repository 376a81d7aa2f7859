"""Which files compilers and their build tools read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.dependencies.native_sources import files_read
from tests import folders


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({"a.c": '#include "tables/t.inc"\n# include <x.def>\n', "tables/t.inc": "", "x.def": ""},
         ["a.c", "tables/t.inc"]),
        ({"CMakeLists.txt": "file(READ conf/numbers.json N)\n", "conf/numbers.json": "1", "other.json": "1"},
         ["CMakeLists.txt", "conf/numbers.json"]),
        ({"Cargo.toml": "", "src/lib.rs": 'include_str!("../words.txt")', "words.txt": "", "src/x.proto": "",
          ".cargo/config.toml": "", "vendor/t/data.bin": "", "data/x.bin": ""},
         [".cargo/config.toml", "Cargo.toml", "src/lib.rs", "src/x.proto", "vendor/t/data.bin", "words.txt"]),
        ({"data/x.bin": "", "study.py": ""}, []),
    ],
)  # fmt: skip
def test_files_that_a_compilation_reads(tmp_path: Path, files: Mapping[str, str], read: list[str]) -> None:
    assert sorted(files_read(folders.write(tmp_path, files), files)) == read
