"""Every form in which a project can declare its dependencies, resolved and installed for real."""

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folders import write
from tests.integration.program import CONFIG, built, call, ok

PROJECT = """
[project]
name = "demo"
version = "0.1"
requires-python = ">=3.9"
dependencies = ["six"]
[project.optional-dependencies]
cpu = ["idna"]
gpu = ["tabulate"]
"""
SETUP = """
from setuptools import setup
setup(name="demo", version="1", install_requires=["six"], extras_require={"cpu": ["idna"]}, py_modules=["demo"])
"""
SETUP_CFG = (
    "[metadata]\nname = demo\nversion = 1\n[options]\npy_modules = demo\ninstall_requires =\n    six\n    idna\n"
)
COMPUTED = """
from setuptools import setup
setup(name="demo", version="1", install_requires=open("needs.txt").read().split())
"""
IMPORTS = "import sys, demo, six, idna\nprint('imported from', sys.prefix)\n"


def _uv(folder: Path, *words: str) -> None:
    subprocess.run(["uv", *words, "--quiet"], cwd=folder, check=True)


def _uv_lock(folder: Path) -> None:
    write(folder, {"pyproject.toml": PROJECT})
    _uv(folder, "lock")


def _pylock(folder: Path) -> None:
    write(folder, {"in.txt": "six\nidna\n"})
    _uv(folder, "pip", "compile", "--format", "pylock.toml", "--output-file", "pylock.toml", "in.txt")


FORMS: dict[str, Callable[[Path], object]] = {
    "uv.lock": _uv_lock,
    "pylock.toml": _pylock,
    "requirements.txt with an include and the project itself": lambda folder: write(
        folder, {"pyproject.toml": PROJECT, "requirements.txt": "-r more.txt\n-e .[cpu]\n", "more.txt": "six<2\n"}
    ),
    "pyproject.toml with an extra for the CPU": lambda folder: write(folder, {"pyproject.toml": PROJECT}),
    "setup.py with an extra for the CPU": lambda folder: write(folder, {"setup.py": SETUP}),
    "setup.cfg": lambda folder: write(folder, {"setup.cfg": SETUP_CFG}),
    "a setup.py that computes, beside two packages": lambda folder: write(
        folder, {"setup.py": COMPUTED, "needs.txt": "six\nidna\n", "one/__init__.py": "", "two/__init__.py": ""}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_dependencies_are_installed_from(form: str, base_lock: str, tmp_path: Path) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "demo.py": "", "run.py": IMPORTS})
    FORMS[form](tmp_path)
    done = ok(tmp_path, "run", "run.py")
    assert done.stdout == "imported from /opt/venv\n"
    # Its source changed, its dependencies did not.
    write(tmp_path, {"demo.py": "changed = True\n"})
    assert "python" not in built(ok(tmp_path, "run", "run.py"))


def _wheel(folder: Path, name: str) -> None:
    """A wheel that no public index has."""
    folder.mkdir()
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "WHERE = 'from the folder'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "--find-links ./wheels\nocicaliban-private\n"},
        {"pyproject.toml": PROJECT.replace('"six"', '"ocicaliban-private"') + '[tool.uv]\nfind-links = ["./wheels"]\n'},
    ],
    ids=["requirements.txt", "pyproject.toml"],
)
def test_what_an_index_of_the_project_alone_has_is_installed_too(
    files: dict[str, str], base_lock: str, tmp_path: Path
) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, **files})
    write(tmp_path, {"run.py": "import ocicaliban_private\nprint(ocicaliban_private.WHERE)\n"})
    _wheel(tmp_path / "wheels", "ocicaliban_private")
    assert ok(tmp_path, "run", "run.py").stdout == "from the folder\n"


REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "a hash that no archive has": (
        {"requirements.txt": f"six==1.16.0 --hash=sha256:{'0' * 64}\n"},
        "no archive of six==1.16.0 has a hash that the requirements declare",
        "find out which",
    ),
    "a uv.lock that is out of date": (
        {"pyproject.toml": PROJECT.replace('"six"', '"six", "rich"')},
        "uv.lock is not up to date with what the project declares",
        "run `uv lock`",
    ),
    "a Python that the base does not have": (
        {"pyproject.toml": PROJECT.replace(">=3.9", ">=3.99")},
        "pyproject.toml: requires-python asks for Python >=3.99, and there is no such Python 3",
        'python = "3.11"',
    ),
    "an extra that is not declared": (
        {"pyproject.toml": PROJECT, "ocicaliban.toml": f'extras = ["plot"]\n{CONFIG}'},
        "pyproject.toml declares no extra 'plot'",
        "there are: cpu, gpu",
    ),
    "extras of a list": (
        {"requirements.txt": "six\n", "ocicaliban.toml": f'extras = ["plot"]\n{CONFIG}'},
        "cannot be resolved\nRequesting extras",
        "declare the extras in a pyproject.toml",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_dependencies_are_refused_before_anything_is_built(case: str, base_lock: str, tmp_path: Path) -> None:
    files, message, hint = REFUSED[case]
    if case == "a uv.lock that is out of date":
        _uv_lock(tmp_path)
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, **files})
    done = call(tmp_path, "build")
    assert done.returncode != 0
    assert message in done.stderr and hint in done.stderr
    assert built(done) == []
