"""How a folder's package is built, and which files its build reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.containers import tree_folder
from ocicaliban.dependencies import package_discovery, package_words
from ocicaliban.dependencies.package_files import PackageFolder, read_build_tree
from ocicaliban.dependencies.package_modules import missing_modules
from ocicaliban.dependencies.packages import read_package
from ocicaliban.model.image import Tree
from ocicaliban.project import source_tree
from tests import folders

SETUPTOOLS = '[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n'
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
NAMED = '[project]\nname = "study"\nversion = "1"\n'


@pytest.mark.parametrize(
    "files, backend, requires",
    [
        ({"pyproject.toml": NAMED + SETUPTOOLS}, "setuptools.build_meta", ("setuptools>=61",)),
        ({"pyproject.toml": NAMED}, "setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",)),
        ({"pyproject.toml": NAMED + HATCHLING}, "hatchling.build", ("hatchling", "editables")),
        ({"setup.py": "from setuptools import setup\nsetup(setup_requires=['six', 'pbr'])"}, None,
         ("setuptools>=40.8.0", "six", "pbr")),
        ({"setup.cfg": "[metadata]\nname = study\n"}, None, ("setuptools>=40.8.0",)),
        ({"pyproject.toml": '[tool.poetry]\nname = "study"\n'}, "poetry.core.masonry.api", ("poetry-core>=1",)),
    ],
)  # fmt: skip
def test_the_build_of_a_package_is_read(
    tmp_path: Path, files: Mapping[str, str], backend: str | None, requires: tuple[str, ...]
) -> None:
    build = read_package(folders.write(tmp_path, files))
    assert build
    assert build.backend == (backend or "setuptools.build_meta:__legacy__")
    assert build.requires == requires


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"setup.py": "print('downloads the data')"},
        {"setup.cfg": "[flake8]\nmax-line-length = 100\n"},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"},
        {"pyproject.toml": NAMED + "[tool.uv]\npackage = false\n"},
        {"pyproject.toml": NAMED + "[tool.pdm]\ndistribution = false\n"},
        {"pyproject.toml": '[tool.poetry]\nname = "study"\npackage-mode = false\n' + HATCHLING},
        {"pyproject.toml": "tool = 1\nproject = 2\n"},
    ],
)
def test_a_folder_without_a_package_has_no_build(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert read_package(folders.write(tmp_path, files)) is None


def build_tree(root: Path) -> Tree:
    build = read_package(root)
    assert build
    mentions = package_words.read_mentions(root, build)
    return read_build_tree(PackageFolder(path=root, names=source_tree.names(root), build=build, mentions=mentions))


def read_and_named(root: Path) -> tuple[list[str], list[str]]:
    """The files whose contents a build reads, and those of which it sees the names alone."""
    files = [entry for entry in build_tree(root).entries if entry.kind == "file"]
    return [entry.path for entry in files if entry.size], [entry.path for entry in files if not entry.size]


ORDINARY = {"study/__init__.py": "x = 1", "study/train.py": "x = 1", "study/deep/__init__.py": "x = 1", "run.py": "x"}


@pytest.mark.parametrize(
    "files, read, named",
    [
        ({"pyproject.toml": NAMED + SETUPTOOLS}, ["pyproject.toml"], ["run.py", "study/__init__.py"]),
        ({"pyproject.toml": NAMED + HATCHLING}, ["pyproject.toml"], ["study/__init__.py"]),
        ({"pyproject.toml": NAMED + 'readme = "docs/README.md"\n' + HATCHLING,
          "docs/README.md": "hi", "LICENSE": "mine"},
         ["LICENSE", "docs/README.md", "pyproject.toml"], ["study/__init__.py"]),
        ({"pyproject.toml": '[project]\nname = "study"\ndynamic = ["version"]\n' + SETUPTOOLS
          + '[tool.setuptools]\npackages = ["study", "study.deep"]\n'
          '[tool.setuptools.dynamic]\nversion = { attr = "study.about.VERSION" }\n',
          "study/about.py": "from study import numbers", "study/numbers.py": "import os"},
         ["pyproject.toml", "study/__init__.py", "study/about.py", "study/numbers.py"], ["study/deep/__init__.py"]),
        ({"setup.py": "import os\nfrom setuptools import setup, find_packages\nfrom tools import version\n"
          "setup(packages=find_packages(), long_description=open(os.path.join('doc', 'LONG.rst')).read())",
          "tools.py": "version = 1", "doc/LONG.rst": "long", "doc/other.rst": "other"},
         ["doc/LONG.rst", "setup.py", "tools.py"], ["study/__init__.py"]),
        ({"setup.py": "from setuptools import Extension, setup\n"
          "setup(packages=['study'], ext_modules=[Extension('study.fast', ['study/fast.c'])])",
          "study/fast.c": "int x;", "study/fast.h": "int x;"},
         ["setup.py", "study/fast.c", "study/fast.h"], ["study/__init__.py"]),
        ({"setup.cfg": "[metadata]\nname = study\nversion = attr: study.train.x\nlicense_files = TERMS\n"
          "[options]\npackages = find:\n", "TERMS": "mine"},
         ["TERMS", "setup.cfg", "study/train.py"], ["study/__init__.py"]),
        ({"pyproject.toml": NAMED + '[build-system]\nrequires = ["meson-python"]\nbuild-backend = "mesonpy"\n'},
         ["pyproject.toml"], ["run.py", "study/__init__.py", "study/deep/__init__.py", "study/train.py"]),
        ({"pyproject.toml": '[project]\nname = "study"\ndynamic = ["version"]\nlicense-files = ["TERM*"]\n' + HATCHLING
          + '[tool.hatch.version]\npath = "study/about.py"\n[tool.hatch.build.hooks.custom]\n'
          '[tool.hatch.build.targets.wheel.shared-data]\n"conf" = "share/study"\n',
          "study/about.py": "VERSION = '1'\nx = 2", "hatch_build.py": "from tools import helper\nopen('gen/a.txt')",
          "tools/helper.py": "open('b.json')", "gen/a.txt": "a", "gen/b.json": "b", "gen/c.json": "c", "TERMS": "t",
          "conf/deep/x.yaml": "x"},
         ["TERMS", "conf/deep/x.yaml", "gen/a.txt", "gen/b.json", "hatch_build.py", "pyproject.toml", "study/about.py",
          "tools/helper.py"], ["study/__init__.py"]),
        ({"setup.py": "from setuptools import setup\nfrom glob import glob\n"
          "setup(packages=['study'], scripts=glob('bin/*'), cffi_modules=['study/make.py:ffi'])",
          "bin/tool": "x", "study/make.py": "x", "data/a": "1"},
         ["bin/tool", "setup.py", "study/make.py"], ["study/__init__.py"]),
        ({"pyproject.toml": '[tool.poetry]\nname = "study"\nversion = "1"\n[tool.poetry.build]\nscript = "make/b.py"\n',
          "make/b.py": "import near\nopen('tables')", "make/near.py": "x", "tables/t.csv": "1"},
         ["make/b.py", "make/near.py", "pyproject.toml", "tables/t.csv"], ["study/__init__.py"]),
    ],
)  # fmt: skip
def test_a_build_sees_what_it_reads_and_the_names_of_packages(
    tmp_path: Path, files: Mapping[str, str], read: list[str], named: list[str]
) -> None:
    folders.write(tmp_path, {**ORDINARY, **files})
    assert read_and_named(tmp_path) == (read, named)


@pytest.mark.parametrize("backend", [SETUPTOOLS, HATCHLING])
@pytest.mark.parametrize("src", ["", "src/"])
def test_an_edited_or_new_module_does_not_change_what_a_build_sees(tmp_path: Path, backend: str, src: str) -> None:
    folders.write(tmp_path, {f"{src}study/__init__.py": "", "pyproject.toml": NAMED + backend})
    before = build_tree(tmp_path).digest
    folders.write(
        tmp_path, {f"{src}study/__init__.py": "x = 1", f"{src}study/new.py": "y", f"{src}study/sub/a.py": "z"}
    )
    folders.write(tmp_path, {".gitignore": "results\n", "results/a.csv": "1"})
    assert build_tree(tmp_path).digest == before
    folders.write(tmp_path, {f"{src}more/__init__.py": ""})
    assert build_tree(tmp_path).digest != before


@pytest.mark.parametrize(
    "text",
    [
        '[build-system]\nrequires = []\nbuild-backend = "flit_core.buildapi"\n',
        HATCHLING + '[tool.hatch.version]\npath = "study/__init__.py"\n',
        SETUPTOOLS + '[tool.setuptools]\npackages = ["study"]\n'
        '[tool.setuptools.dynamic]\nversion = { attr = "study.__version__" }\n',
    ],
)  # fmt: skip
def test_an_edit_beside_a_version_does_not_change_what_a_build_sees(tmp_path: Path, text: str) -> None:
    text = f'[project]\nname = "study"\ndynamic = ["version"]\n{text}'
    folders.write(tmp_path, {"pyproject.toml": text, "study/__init__.py": "__version__ = '1'\nlr = 1\n"})
    before = build_tree(tmp_path)
    seen = tmp_path / ".mypy_cache"  # which no image has
    tree_folder.write_folder(before, seen)
    assert (seen / "study/__init__.py").read_text() == "__version__ = '1'\n"
    folders.write(tmp_path, {"study/__init__.py": "__version__ = '1'\nlr = 2\nimport os\n"})
    assert build_tree(tmp_path).digest == before.digest
    folders.write(tmp_path, {"study/__init__.py": "__version__ = '2'\nlr = 2\n"})
    assert build_tree(tmp_path).digest != before.digest


@pytest.mark.parametrize(
    "files, names",
    [
        (["one/__init__.py", "two/__init__.py"], "one, two"),
        (["study/__init__.py", "data/x.csv"], "data, study"),
        (["one.py", "two.py"], "one, two"),
        (["study/__init__.py", "tests/test_x.py"], ""),
        (["src/study/__init__.py", "data/x.csv"], ""),
        ([], ""),
    ],
)
def test_setuptools_is_asked_whether_it_chooses_among_packages(tmp_path: Path, files: list[str], names: str) -> None:
    folders.write(tmp_path, {**dict.fromkeys(files, ""), "pyproject.toml": NAMED})
    expected = f"setuptools does not choose among {names}" if names else ""
    assert package_discovery.refusal(build_tree(tmp_path)) == expected


@pytest.mark.parametrize(
    "text, files, reason",
    [
        ('[tool.poetry]\nname = "My-Study"\n', ["train.py"], "poetry finds no module of its name (my_study or "),
        ('[tool.poetry]\nname = "My-Study"\n', ["src/my_study/a.py"], ""),
        ('[tool.poetry]\nname = "x"\npackages = [{ include = "study" }]\n', ["study/a.py"], ""),
        (NAMED + HATCHLING, ["train.py", "other/__init__.py"], "hatchling finds no module of its name (study/__init__"),
        (NAMED + HATCHLING, ["src/study/__init__.py"], ""),
        (NAMED + HATCHLING + '[tool.hatch.build.targets.wheel]\npackages = ["other"]\n', ["other/__init__.py"], ""),
        (NAMED + '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n', ["study/__init__.py"],
         "uv finds no module of its name (src/study/__init__.py)"),
        (NAMED + '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n', ["study.py"], ""),
        (NAMED + SETUPTOOLS, ["one.py", "two.py"], ""),
    ],
)  # fmt: skip
def test_a_backend_that_finds_no_module_is_known(tmp_path: Path, text: str, files: list[str], reason: str) -> None:
    folders.write(tmp_path, {**dict.fromkeys(files, ""), "pyproject.toml": text})
    build = read_package(tmp_path)
    assert build
    mentions = package_words.read_mentions(tmp_path, build)
    found = missing_modules(
        PackageFolder(path=tmp_path, names=source_tree.names(tmp_path), build=build, mentions=mentions)
    )
    assert found.startswith(reason) and bool(found) == bool(reason)
