"""The first settings of a project, and the schemas of all settings."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.app import init, schemas
from ocicaliban.errors import UsageError
from ocicaliban.project.config import load_project

REPOSITORY = Path(__file__).parents[3]


def near(url: str) -> float:
    return 0.25


def far(url: str) -> str:
    return "its name cannot be resolved"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_file_has_what_was_found_and_can_be_used(root: Path) -> None:
    (root / "requirements.txt").write_text("numpy\n")
    (root / ".python-version").write_text("3.13\n")
    (root / "apt.txt").write_text("git\n")
    for name in ("conftest.py", "plot.py", "train.py"):
        (root / name).touch()
    text, path, then = init.init(ask=far)
    assert path.read_text() == text and (root / init.SCHEMA).is_file() and then == "ocicaliban run train.py"
    assert text.startswith(f"#:schema ./{init.SCHEMA}\n")
    assert "come from requirements.txt." in text and "# Python: ==3.13.*" in text and ": git\n" in text
    assert load_project(root).layers == {"base": {"bootstrap": "debian:trixie"}}
    with pytest.raises(UsageError, match=r"ocicaliban\.toml has the settings of this project already"):
        init.init(ask=near)


def test_with_a_registry_nothing_has_to_be_set_and_a_dry_run_writes_nothing(root: Path) -> None:
    text, path, then = init.init(dry_run=True, ask=near)
    assert not path.exists() and not (root / init.SCHEMA).exists() and then == "ocicaliban run SCRIPT"
    assert "answers in 0.25 s" in text and "No file declares dependencies" in text
    assert tomllib.loads(text) == {"layers": {"base": {}}}


def test_each_commented_setting_is_valid(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_LARGE", 10)
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(b"x" * 100)
    text, _, _ = init.init(dry_run=True, ask=near)
    settings = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.M)
    (root / "ocicaliban.toml").write_text(settings)
    project = load_project(root)
    assert project.run.all_modes.volumes == (f"{root}/images:/usr/app/images:ro",)
    assert project.layers["apt"] == {"packages": ["git"]} and 'dirs = ["images"]' in text


def test_odd_names_make_no_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_LARGE", 10)
    good = ['a"b', "a'b", "back\\slash", "größe 😀"]
    for name in [*map(os.fsencode, good), b"a:b", b"new\nline = 1", b"\xff", b"a\x7f"]:
        os.mkdir(folder := os.path.join(os.fsencode(root), name))
        Path(os.fsdecode(folder), "data").write_bytes(b"x" * 100)
    (root / "requirements.txt").touch()
    (root / "requirements-a\nb = 1.txt").write_text("numpy\n")
    text, _, _ = init.init(ask=near)
    assert tomllib.loads(text) == {"layers": {"base": {}}}
    [line] = [line for line in text.splitlines() if line.startswith("# volumes = ")]
    assert tomllib.loads(line[2:])["volumes"] == [f"./{name}:/usr/app/{name}:ro" for name in sorted(good)]
    assert tomllib.loads(text[text.index("dirs = [") :].splitlines()[0])["dirs"] == sorted(good)


def test_files_that_contradict_each_other_are_told_with_the_lines_to_write(root: Path) -> None:
    (root / "poetry.lock").write_text("x")
    (root / "uv.lock").write_text("version = 1\n")
    (root / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n[tool.poetry]\n')
    text, _, _ = init.init(dry_run=True, ask=near)
    assert "# The dependencies are not clear yet:" in text and "#   [layers.python]" in text
    assert tomllib.loads(text) == {"layers": {"base": {}}}


def test_settings_in_pyproject_are_settings(root: Path) -> None:
    (root / "pyproject.toml").write_text("[tool.ocicaliban.layers.apt]\npackages = []\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml has the settings"):
        init.init(ask=near)


def test_the_schemas_are_those_of_the_types() -> None:
    for name, text in schemas.all_schemas().items():
        path = schemas.FOLDER / name
        if os.environ.get("OCICALIBAN_GOLDEN") == "1":
            path.write_text(text)
        assert path.read_text() == text, "run the tests with OCICALIBAN_GOLDEN=1"


def _unknown(schema: dict[str, Any], value: Any, at: str = "") -> list[str]:
    """Return the keys of a value that the schema does not know."""
    if not isinstance(value, dict):
        return []
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = []
    for key, inner in value.items():
        if key in properties:
            found += _unknown(properties[key], inner, f"{at}.{key}")
        elif more is False:
            found.append(f"{at}.{key}")
        elif isinstance(more, dict):
            found += _unknown(more, inner, f"{at}.{key}")
    return found


def test_the_schema_knows_what_the_documentation_sets() -> None:
    schema = json.loads((schemas.FOLDER / schemas.PROJECT).read_text())
    user = json.loads((schemas.FOLDER / schemas.USER).read_text())
    seen = 0
    for page in [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md"]:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), flags=re.M | re.S):
            value = tomllib.loads(block)
            if {*value} & {"layers", "run", "modes"}:
                seen += 1
                assert min(_unknown(schema, value), _unknown(user, value), key=len) == [], f"{page}: {block}"
    assert seen > 5
    assert _unknown(schema, {"run": {"shm": "1g"}}) == [] and _unknown(schema, {"bogus": 1}) == [".bogus"]
