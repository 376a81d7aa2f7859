"""uv's settings for builds, where packages are installed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.dependencies.host_settings import HostSettings
from ocicaliban.dependencies.pip_options import PipOptions
from ocicaliban.dependencies.registry import declaration_in
from ocicaliban.dependencies.uv_builds import build_settings, with_formats
from tests import folders

HEADER = (
    "# /// script\n# dependencies = ['six']\n# [tool.uv]\n# no-binary = true\n# config-settings = { a = 'b' }\n# ///\n"
)


@pytest.mark.parametrize(
    ("files", "source", "lines", "no_binary", "only_binary"),
    [
        ({"requirements.txt": "six"}, "requirements.txt", "", (), ()),
        ({"train.py": HEADER}, "train.py", '[config-settings]\na = "b"\n', (":all:",), ()),
        ({"requirements.txt": "six", "pyproject.toml": "[tool.uv]\nno-build = true\nno-binary-package = ['A_b']\n"
          "[tool.uv.extra-build-dependencies]\nold = ['setuptools<81']\n"}, "requirements.txt",
         '[extra-build-dependencies]\nold = [\n    "setuptools<81",\n]\n', ("a-b",), (":all:",)),
        ({"requirements.txt": "six", "pyproject.toml": "[tool.uv.pip]\nonly-binary = [':all:']\n"}, "requirements.txt",
         "", (), (":all:",)),
        ({"pyproject.toml": "[project]\nname = 'x'\n[tool.uv.pip]\nonly-binary = [':all:']\n"}, "pyproject.toml",
         "", (), ()),
        ({"requirements.txt": "six", "uv.toml": "no-build-package = ['six']\n",
          "pyproject.toml": "[tool.uv]\nno-binary = true\n"}, "requirements.txt", "", (), ("six",)),
        ({"poetry.lock": "", "pyproject.toml": "[tool.uv]\nno-binary = true\nno-build-isolation = true\n"},
         "poetry.lock", "no-build-isolation = true\n", (), ()),
    ],
)  # fmt: skip
def test_settings_for_builds_are_read(
    tmp_path: Path,
    files: Mapping[str, str],
    source: str,
    lines: str,
    no_binary: tuple[str, ...],
    only_binary: tuple[str, ...],
) -> None:
    declaration = declaration_in(folders.write(tmp_path, files), tmp_path / source)
    assert build_settings(declaration) == lines
    found = with_formats(PipOptions(), declaration)
    assert (found.no_binary, found.only_binary) == (frozenset(no_binary), frozenset(only_binary))


def test_the_step_that_installs_has_them_beside_the_indexes() -> None:
    host = HostSettings(
        index_url="https://index.example.org/simple", extra_index_urls=(), find_links=(), ca_bundle=None
    )
    assert tomllib.loads(host.uv_toml("no-build-isolation = true\n")) == {
        **tomllib.loads(host.uv_toml()),
        "no-build-isolation": True,
    }
