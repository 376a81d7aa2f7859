"""Which part of a module a build reads its version from."""

from __future__ import annotations

import configparser
import tomllib

import pytest

from ocicaliban.dependencies.version_lines import VersionModule, version_modules

MODULE = '"""What it is.\n\nAnd more."""\n\nimport os\n\n__version__: str = "1.2"  # raised by hand\nLR = 0.1\n'


@pytest.mark.parametrize(
    ("version", "text", "reduced"),
    [
        (VersionModule(path="a.py"), MODULE, '__version__: str = "1.2"  # raised by hand\n'),
        (VersionModule(path="a.py"), "VERSION = '3'\r\nLR = 1\r\n", "VERSION = '3'\n"),
        (VersionModule(path="a.py"), "version_info = (1, 2)\n", None),
        (VersionModule(module="a", names=frozenset({"__version__"})),  MODULE, '__version__: str = "1.2"\n'),
        (VersionModule(module="a", names=frozenset({"__version__"}), summary=True), MODULE,
         '"""What it is.\n\nAnd more."""\n__version__: str = "1.2"\n'),
        (VersionModule(module="a", names=frozenset({"V"})), "W = V = 1, 2\nV += (3,)\n", "W = V = 1, 2\n"),
        (VersionModule(module="a", names=frozenset({"V"})), "from a.about import V\n", None),
        (VersionModule(module="a", names=frozenset({"V"})), "V = open('VERSION').read()\n", None),
        (VersionModule(module="a", names=frozenset({"V"})), "V: str\n", None),
        (VersionModule(module="a", names=frozenset({"V"})), "V = 1 if\n", None),
        (VersionModule(module="a"), "V = 1\n", None),
    ],
)  # fmt: skip
def test_the_part_of_a_module_that_a_build_reads(version: VersionModule, text: str, reduced: str | None) -> None:
    assert version.reduced(text) == reduced


@pytest.mark.parametrize(
    ("tool", "pyproject", "setup_cfg", "found"),
    [
        ("hatchling", "[tool.hatch.version]\npath = 'a/b.py'", "", ["a/b.py"]),
        ("hatchling", "[tool.hatch.version]\npath = 'a/b.py'\npattern = 'v=(?P<version>.*)'", "", []),
        ("hatchling", "[tool.hatch.version]\nsource = 'code'\npath = 'a/b.py'", "", []),
        ("hatchling", "tool = 1", "", []),
        ("pdm", "[tool.pdm.version]\nsource = 'file'\npath = 'a.py'", "", ["a.py"]),
        ("pdm", "[tool.pdm.version]\nsource = 'call'\ngetter = 'a.b:get'", "", ["a.b"]),
        ("scikit_build_core", "[tool.scikit-build.metadata.version]\n"
         "provider = 'scikit_build_core.metadata.regex'\ninput = 'a.py'", "", ["a.py"]),
        ("flit_core", "", "", ["my_study"]),
        ("flit_core", "[tool.flit.module]\nname = 'other'", "", ["other"]),
        ("setuptools", "[tool.setuptools.dynamic]\nversion = { attr = 'a.b.V' }", "", ["a.b"]),
        ("setuptools", "", "[metadata]\nversion = attr: a.V", ["a"]),
        ("setuptools", "", "[metadata]\nversion = file: VERSION", []),
    ],
)  # fmt: skip
def test_where_a_build_finds_its_version(tool: str, pyproject: str, setup_cfg: str, found: list[str]) -> None:
    config = configparser.RawConfigParser()
    config.read_string(setup_cfg)
    versions = version_modules(tomllib.loads(pyproject), config, tool, "my-study")
    assert [each.path or each.module for each in versions] == found
