"""environment.yml: what it declares for conda, for pip and about Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import registry
from ocicaliban.dependencies.conda.declaration import python_specifier
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.errors import UsageError

WHOLE = """
name: study
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - numpy>=1.26,<2
  - pytorch::pytorch=2.*=*cpu*
  - pip
  - pip:
      - six
      - -r requirements.txt
variables:
  STUDY: 1
"""


def declared(root: Path, text: str, name: str = "environment.yml") -> EnvironmentYml:
    (root / name).write_text(text)
    found = EnvironmentYml.find(root)
    assert found is not None
    return found


def test_all_that_the_file_declares_is_read(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("attrs\n--extra-index-url https://example.org/simple\n")
    found = declared(tmp_path, WHOLE)
    environment = found.environment("linux-64", ())
    assert environment.channels == ("conda-forge", "nodefaults")
    assert environment.specs == ("python=3.11", "numpy>=1.26,<2", "pytorch::pytorch=2.*=*cpu*", "pip")
    assert found.variables() == {"STUDY": "1"}
    assert found.covers() == ("requirements.txt",)
    assert set(found.texts()) == {"environment.yml", "requirements.txt"}
    assert any("example.org" in text for text in found.requirement_lists().values())
    (wanted,) = found.python_requirements()
    assert (wanted.place, wanted.specifier) == ("environment.yml: python", "==3.11.*")


@pytest.mark.parametrize("name", ["environment.yml", "environment.yaml", "env.yml", "conda.yml"])
def test_its_other_names_are_found(tmp_path: Path, name: str) -> None:
    declared(tmp_path, "dependencies: [python=3.9]\n", name)
    (found,) = registry.found_in(tmp_path)
    assert found.shown == name


def test_a_file_without_dependencies_is_no_environment(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("name: s\n")
    assert EnvironmentYml.find(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: [\n", "environment.yml:2: this is not YAML"),
        ("- dependencies:\n", "this is not a table"),
        ("dependencies: numpy\n", "dependencies: 'numpy' is not a list"),
        ("dependencies:\n  - npm: [x]\n", "is neither a package nor the section pip"),
        ("dependencies: [x]\nvariables: [A]\n", "variables: .* is not a table"),
        ("dependencies: [x]\nchannels: conda-forge\n", "channels: 'conda-forge' is not a list"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "environment.yml").write_text(text)
    found = EnvironmentYml(root=tmp_path, path=tmp_path / "environment.yml")
    with pytest.raises(UsageError, match=message):
        found.environment("linux-64", ())
    assert found.python_requirements() == () and found.covers() == ()  # it may lie beside the source


@pytest.mark.parametrize(
    ("version", "specifier"),
    [
        ("=3.10", "==3.10.*"), ("3.10.*", "==3.10.*"), ("=3.10.*", "==3.10.*"), ("==3.10.4", "==3.10.*"),
        ("=3.10.4=h123_0_cpython", "==3.10.*"), ("3.10 h123_0", "==3.10.*"), (" >=3.9,<3.12", ">=3.9,<3.12"),
        (">= 3.9", ">=3.9"), ("!=3.9.*,>=3.8", "!=3.9.*,>=3.8"), ("=3", "==3.*"), ("", ""), ("3.9|3.10", ""), ("*", ""),
        ("=3.11=*_cpython", "==3.11.*"),
    ],
)  # fmt: skip
def test_condas_versions_become_specifiers(version: str, specifier: str) -> None:
    assert python_specifier(version) == specifier
