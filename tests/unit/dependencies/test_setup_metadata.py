"""What setup.py, setup.cfg and pyproject.toml spell out, and what only a build can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.declaration import manifest
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.dependencies.setup_metadata import read_metadata
from ocicaliban.errors import UsageError

Extras = dict[str, tuple[str, ...]]

SETUP = "from setuptools import setup\n"
SPELT_OUT: list[tuple[dict[str, str], tuple[str, ...], Extras]] = [
    ({"setup.py": f"{SETUP}setup(name='x')\n"}, (), {}),
    ({"setup.py": f"import numpy\n{SETUP}setup(name='x', install_requires=['numpy'])\n"}, ("numpy",), {}),
    ({"setup.py": f"{SETUP}setup(install_requires=('six', 'idna>=3'))\n"}, ("six", "idna>=3"), {}),
    ({"setup.py": f"{SETUP}setup(install_requires='six\\n# no\\nidna # yes\\n')\n"}, ("six", "idna"), {}),
    (
        {
            "setup.py": f"{SETUP}REQS = ['six']\nEXTRAS = {{'plot': ['toml'], 'all': [*REQS, 'idna']}}\n"
            "setup(install_requires=REQS + ['attrs'], extras_require=EXTRAS)\n"
        },
        ("six", "attrs"),
        {"plot": ("toml",), "all": ("six", "idna")},
    ),
    (
        {
            "setup.py": f"{SETUP}setup(extras_require={{"
            "':python_version<\"3\"': ['six; os_name==\"nt\"'], 'a:b': ['c']})\n"
        },
        ('six; (os_name=="nt") and (python_version<"3")',),
        {"a": ("c; b",)},
    ),
    ({"setup.cfg": "[options]\ninstall_requires =\n  six\n  # no\n  idna>=3\n"}, ("six", "idna>=3"), {}),
    ({"setup.cfg": "[options]\ninstall-requires = six; idna\n"}, ("six", "idna"), {}),
    (
        {"setup.cfg": "[options]\ninstall_requires = file: a.txt, b.txt\n", "a.txt": "six\n# no\n", "b.txt": "idna\n"},
        ("six", "idna"),
        {},
    ),
    (
        {
            "setup.cfg": "[options]\ninstall_requires = six\n[options.extras_require]\nplot = toml\n",
            "setup.py": f"{SETUP}setup()",
        },
        ("six",),
        {"plot": ("toml",)},
    ),
    # Those of setup.py win.
    (
        {"setup.cfg": "[options]\ninstall_requires = six\n", "setup.py": f"{SETUP}setup(install_requires=['idna'])"},
        ("idna",),
        {},
    ),
    (
        {
            "pyproject.toml": "[project]\nname = 'x'\ndynamic = ['dependencies', 'optional-dependencies']\n"
            "[tool.setuptools.dynamic]\ndependencies = {file = ['a.txt']}\n"
            "optional-dependencies.plot = {file = 'b.txt'}\n",
            "a.txt": "six\n",
            "b.txt": "toml\n",
        },
        ("six",),
        {"plot": ("toml",)},
    ),
    (
        {
            "pyproject.toml": "[project]\nname = 'x'\ndynamic = ['optional-dependencies']\ndependencies = ['six']\n",
            "setup.py": f"{SETUP}setup(extras_require={{'plot': ['toml']}})\n",
        },
        ("six",),
        {"plot": ("toml",)},
    ),
]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(("files", "requires", "extras"), SPELT_OUT)
def test_what_is_spelt_out_is_read(
    tmp_path: Path, files: dict[str, str], requires: tuple[str, ...], extras: Extras
) -> None:
    write(tmp_path, files)
    metadata = read_metadata(tmp_path, manifest(tmp_path))
    assert metadata and (metadata.requires, dict(metadata.extras)) == (requires, extras)


@pytest.mark.parametrize(
    "text",
    [
        "setup(**options)",
        "setup(install_requires=open('requirements.txt').read())",
        "setup(install_requires=['a' if x else 'b'])",
        "setup(pbr=True)",
        "REQS = ['six']\nREQS.append('idna')\nsetup(install_requires=REQS)",
        "REQS = ['six']\nREQS += ['idna']\nsetup(install_requires=REQS)",
        "REQS = ['six']\nother = REQS\nother.append('idna')\nsetup(install_requires=REQS)",
        "REQS = ['six']\nfill(reqs=REQS)\nsetup(install_requires=REQS)",
        "if x:\n    REQS = ['six']\nelse:\n    REQS = []\nsetup(install_requires=REQS)",
        "EXTRAS = {'a': ['b']}\nEXTRAS['c'] = ['d']\nsetup(extras_require=EXTRAS)",
        "from x import REQS\nsetup(install_requires=REQS)",
        "REQS = REQS\nsetup(install_requires=REQS)",
        "if x:\n    setup()\nelse:\n    setup(install_requires=['six'])",
        "print('no setup at all')",
        "setup(",
        "setup(install_requires=" + "[" * 150 + "]" * 150 + ")",
    ],
)
def test_what_is_computed_is_left_to_the_build(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"setup.py": SETUP + text})
    assert read_metadata(tmp_path, {}) is None


@pytest.mark.parametrize(
    "files",
    [
        {"setup.cfg": "[options]\ninstall_requires = file: gone.txt\n"},
        {"setup.cfg": "no section\n"},
        {"pyproject.toml": "[project]\nname = 'x'\ndynamic = ['dependencies']\n"},
        {
            "pyproject.toml": "[project]\nname = 'x'\ndynamic = ['dependencies']\n"
            "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
        },
    ],
)
def test_what_a_file_does_not_tell_is_left_to_the_build(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert read_metadata(tmp_path, manifest(tmp_path)) is None


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"setup.cfg": "[options]\ninstall_requires = six\n"}, "setup.cfg"),
        ({"setup.cfg": "[options]\ninstall_requires = six\n", "pyproject.toml": "[build-system]\n"}, "setup.cfg"),
        ({"setup.cfg": "[options]\ninstall_requires = six\n", "setup.py": ""}, "setup.py"),
        ({"setup.cfg": "[flake8]\nmax-line-length = 120\n"}, ""),
    ],
)
def test_setup_cfg_is_a_source_if_it_declares_dependencies(tmp_path: Path, files: dict[str, str], source: str) -> None:
    write(tmp_path, files)
    declaration = find_declaration(tmp_path)
    assert (declaration.shown if declaration else "") == source


def test_an_unknown_extra_is_an_error_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, {"setup.py": f"{SETUP}setup(extras_require={{'my_plots': ['toml'], 'cpu': []}})"})
    declaration = find_declaration(tmp_path)
    assert declaration and declaration.resolved_extras(("my-plots",), "cpu") == ("cpu", "my-plots")
    assert declaration.resolved_extras((), "gpu") == ()
    with pytest.raises(UsageError, match=r"setup\.py declares no extra 'my_plot'") as fault:
        declaration.resolved_extras(("my_plot",), "cpu")
    assert "my_plots" in fault.value.hint
