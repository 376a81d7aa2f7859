"""The project itself and the packages beside it, built and installed for real."""

import subprocess
from pathlib import Path

import pytest

from tests.folders import write
from tests.integration.program import CONFIG, ok

PYPROJECT = """
[project]
name = "study"
version = "0.1"
requires-python = ">=3.9"
dependencies = ["six", "nets"]
[project.scripts]
study-train = "study.train:main"
[tool.uv.sources]
nets = { path = "libs/nets" }
[build-system]
requires = ["BACKEND"]
build-backend = "MODULE"
"""
NETS = """
[project]
name = "nets"
version = "0.2"
dependencies = ["idna"]
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
"""
TRAIN = """
import importlib.metadata as metadata
import re
import nets

def main():
    for name in ("study", "nets"):
        for requirement in metadata.requires(name):
            metadata.version(re.match(r"[\\w.-]+", requirement)[0])
    print("trained by", metadata.version("study"), nets.WIDTH)
"""
BACKENDS = {"setuptools>=64": "setuptools.build_meta", "hatchling": "hatchling.build"}


def _project(folder: Path, base_lock: str, backend: str, source: str) -> Path:
    text = PYPROJECT.replace("BACKEND", backend).replace("MODULE", BACKENDS[backend])
    return write(
        folder,
        {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": base_lock,
            "pyproject.toml": text,
            f"{source}study/__init__.py": "",
            f"{source}study/train.py": TRAIN,
            "libs/nets/pyproject.toml": NETS,
            "libs/nets/src/nets/__init__.py": "WIDTH = 8\n",
        },
    )


@pytest.mark.parametrize("backend, source", [("setuptools>=64", "src/"), ("hatchling", "")])
def test_a_project_has_its_metadata_scripts_and_packages(
    backend: str, source: str, base_lock: str, tmp_path: Path
) -> None:
    _project(tmp_path, base_lock, backend, source)
    assert ok(tmp_path, "shell", "--", "study-train").stdout == "trained by 0.1 8\n"
    first = ok(tmp_path, "build", "--no-cache").stdout
    assert ok(tmp_path, "build", "--no-cache").stdout == first
    write(tmp_path, {f"{source}study/train.py": TRAIN.replace("trained", "TRAINED"), f"{source}study/new.py": ""})
    again = ok(tmp_path, "shell", "--", "study-train")
    assert again.stdout == "TRAINED by 0.1 8\n"
    assert "building" not in again.stderr


def test_a_package_from_git_is_built_from_its_commit(base_lock: str, tmp_path: Path) -> None:
    repository = write(tmp_path / "nets", {"pyproject.toml": NETS, "src/nets/__init__.py": "WIDTH = 9\n"})
    git = ["git", "-C", str(repository), "-c", "user.email=a@example.org", "-c", "user.name=a"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    project = write(
        tmp_path / "p",
        {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": base_lock,
            "requirements.txt": f"-e git+file://{repository}@v1#egg=nets\n",
            "run.py": "import nets, idna; print(nets.WIDTH, nets.__file__.split('/')[1])\n",
        },
    )
    assert ok(project, "run", "run.py").stdout == "9 opt\n"
    assert f"nets @ git+file://{repository}@{commit}" in (project / "ocicaliban.lock").read_text()
    # The lock has all, and the repository stays in the cache.
    repository.rename(tmp_path / "gone")
    assert ok(project, "build", "--no-cache", "run.py").stdout
