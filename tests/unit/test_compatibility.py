"""The check of public projects finds an environment that is not the one that a project declares."""

import json
from pathlib import Path

import pytest

from tests.compatibility import exports
from tests.compatibility.compared import Contents, contents, differences
from tests.compatibility.declared import declared
from tests.folders import write

POETRY = '[tool.poetry.dependencies]\npython = "^3.10"\nsix = "*"\n'
SIX = '[[package]]\nname = "six"\nversion = "1.15.0"\n'
CASES = {
    "poetry.lock": {"poetry.lock": SIX, "pyproject.toml": POETRY},
    "pdm.lock": {
        "pdm.lock": SIX,
        "pyproject.toml": '[project]\nrequires-python = ">=3.10,<4"\ndependencies = ["six"]\n',
    },
    "uv.lock": {"uv.lock": SIX, "pyproject.toml": '[project]\nrequires-python = ">=3.10"\ndependencies = ["six"]\n'},
    "Pipfile.lock": {
        "Pipfile.lock": json.dumps({"default": {"six": {"version": "==1.15.0"}}}),
        "Pipfile": '[packages]\nsix = "*"\n[requires]\npython_version = "3.11"\n',
    },
    "pylock.toml": {"pylock.toml": SIX.replace("package", "packages"), ".python-version": "3.11\n"},
    "conda-lock.yml": {
        "conda-lock.yml": "package:\n- {name: six, version: 1.15.0, platform: linux-64}\n",
        "environment.yml": "dependencies:\n  - python=3.11\n",
    },
    "requirements.txt": {
        "requirements.txt": "-r more.txt\n",
        "more.txt": "six==1.15.0\n",
        "runtime.txt": "python-3.11\n",
    },
    "setup.cfg": {"setup.cfg": "[options]\ninstall_requires =\n    six==1.15.0\n", ".python-version": "3.11.2"},
    "train.py": {"train.py": '# /// script\n# requires-python = "==3.11.*"\n# dependencies = ["six<1.16"]\n# ///\n'},
}


def _there(python: str = "3.11.2", debian: frozenset[str] = frozenset(), **packages: str) -> Contents:
    return Contents(python=python, packages=packages, requires={}, debian=debian)


@pytest.mark.parametrize("way", CASES)
def test_what_a_project_declares_is_compared_with_what_is_there(way: str, tmp_path: Path) -> None:
    write(tmp_path, CASES[way])
    wanted = declared(tmp_path, way)
    assert not differences(wanted, _there(six="1.15.0"), frozenset())
    assert "1.17.0" in str(differences(wanted, _there(six="1.17.0"), frozenset()))
    assert "3.9.1" in str(differences(wanted, _there("3.9.1", six="1.15.0"), frozenset()))


def test_a_package_that_the_lock_does_not_name_differs(tmp_path: Path) -> None:
    wanted = declared(write(tmp_path, CASES["uv.lock"]), "uv.lock")
    assert differences(wanted, _there(six="1.15.0", study="1", idna="3"), frozenset({"study"})) == [
        "idna 3 is installed, and the lock says nothing of it"
    ]


def test_a_missing_package_differs(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": 'six\nidna; python_version < "3"\n', "apt.txt": "figlet\n"})
    assert differences(declared(tmp_path, "requirements.txt"), _there(), frozenset()) == [
        "the project wants six, which is not installed",
        "figlet is not installed (apt.txt)",
    ]


def test_debian_packages_are_no_python_packages(tmp_path: Path) -> None:
    wanted = declared(write(tmp_path, {"apt.txt": "figlet\n"}), "apt.txt")
    assert not differences(wanted, _there(debian=frozenset({"figlet"})), frozenset())


def test_the_probe_is_read() -> None:
    raw = {"python": "3.11.2", "packages": {"A.b": {"version": "1", "requires": ["six"]}}, "debian": ["bash"]}
    there = contents(f"noise\nPROBE {json.dumps(raw)}\n")
    assert differences(declared(Path("/nowhere"), "apt.txt"), there, frozenset()) == [
        "a-b wants six, which is not installed"
    ]


def test_what_a_lock_leaves_to_the_environment_is_not_missing(tmp_path: Path) -> None:
    there = Contents(
        python="3.11.2", packages={"six": "1.15.0"}, requires={"six": ("setuptools>=20", "idna")}, debian=frozenset()
    )
    wanted = declared(write(tmp_path, CASES["poetry.lock"]), "poetry.lock")
    assert differences(wanted, there, frozenset()) == ["six wants idna, which is not installed"]
    unlocked = declared(write(tmp_path / "other", {"requirements.txt": "six\n"}), "requirements.txt")
    assert "six wants setuptools>=20, which is not installed" in differences(unlocked, there, frozenset())


THEIRS = """\
-i https://pypi.org/simple
Six==1.16.0 ; python_version >= "3.9" \\
    --hash=sha256:aa \\
    --hash=sha256:bb
tomli==2.0.1 ; python_version < "3.11" --hash=sha256:cc
nets @ https://example.org/nets-1.whl#sha256=dd
"""


def test_a_list_of_requirements_is_compared_with_what_is_installed() -> None:
    theirs = exports.listed(THEIRS, "3.11.2")
    assert theirs == {
        "six": ("1.16.0", frozenset({"sha256:aa", "sha256:bb"})),
        "nets": ("https://example.org/nets-1.whl", frozenset()),
    }
    ours = {**theirs, "six": ("1.16.0", frozenset({"sha256:aa"})), "idna": ("3", frozenset[str]())}
    assert list(exports.different(ours, theirs, ())) == ["idna: 3 here, None there", "six: 1 hashes here, 2 there"]
    assert not list(exports.different(ours, theirs, ("idna", "six")))
