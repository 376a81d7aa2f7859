"""cog.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.cog import CogYaml


@pytest.mark.parametrize(
    ("version", "specifier"),
    [
        ('"3.10"', "==3.10.*"),
        ("'3.10'", "==3.10.*"),
        ("3.10", "==3.10.*"),  # YAML's number 3.1
        ("3.12", "==3.12.*"),
        ("3.11.4", "==3.11.4"),
    ],
)
@pytest.mark.parametrize(
    "form", ["build:\n  gpu: false\n  python_version: VERSION\n", "build: {python_version: VERSION}"]
)
def test_the_python_version_is_read_as_it_is_written(tmp_path: Path, form: str, version: str, specifier: str) -> None:
    (tmp_path / "cog.yaml").write_text(form.replace("VERSION", version))
    declaration = CogYaml.find(tmp_path)
    assert declaration
    assert [each.specifier for each in declaration.python_requirements()] == [specifier]
