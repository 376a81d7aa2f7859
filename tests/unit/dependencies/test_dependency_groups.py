"""The groups of a pyproject.toml: which there are, and which are installed by default."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ocicaliban.dependencies import dependency_groups, resolver
from ocicaliban.dependencies.registry import declaration_in, find_declaration
from ocicaliban.errors import UsageError
from tests.plans import BASE

DEV_AND_TRAIN = '[dependency-groups]\ndev = ["pytest"]\nTrain_Set = ["six"]\n'


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("", (), ()),
        ('[dependency-groups]\ntrain = ["six"]\n', (), ()),
        (DEV_AND_TRAIN, (), ("dev",)),
        (DEV_AND_TRAIN, ("train.set",), ("dev", "train-set")),
        (DEV_AND_TRAIN, ("dev", "dev"), ("dev",)),
        ('[tool.uv]\ndev-dependencies = ["six"]\n', (), ("dev",)),
        (f"{DEV_AND_TRAIN}[tool.uv]\ndefault-groups = []\n", (), ()),
        (f"{DEV_AND_TRAIN}[tool.uv]\ndefault-groups = []\n", ("dev",), ("dev",)),
        (f'{DEV_AND_TRAIN}[tool.uv]\ndefault-groups = ["train_set"]\n', (), ("train-set",)),
        (f'{DEV_AND_TRAIN}[tool.uv]\ndefault-groups = "all"\n', (), ("dev", "train-set")),
        ("tool = 1\ndependency-groups = 2\n", (), ()),
    ],
)
def test_the_defaults_are_those_of_uv_run(text: str, asked: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert dependency_groups.with_defaults(tomllib.loads(text), asked, "pyproject.toml") == expected


@pytest.mark.parametrize(
    ("text", "asked", "message", "hint"),
    [
        (DEV_AND_TRAIN, ("train-se",), "pyproject.toml: there is no dependency group 'train-se'", "'train-set'"),
        ("", ("x",), "there is no dependency group 'x'", "[dependency-groups]"),
        (f'{DEV_AND_TRAIN}[tool.uv]\ndefault-groups = ["devs"]\n', (), "tool.uv.default-groups: there is no", "'dev'"),
    ],
)
def test_an_undeclared_group_is_an_error(text: str, asked: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as fault:
        dependency_groups.with_defaults(tomllib.loads(text), asked, "pyproject.toml")
    assert message in fault.value.message and hint in fault.value.hint


@pytest.mark.parametrize(
    ("files", "asked", "expected"),
    [
        ({"pyproject.toml": f'[project]\nname = "x"\n{DEV_AND_TRAIN}'}, (), ("dev",)),
        ({"pyproject.toml": DEV_AND_TRAIN}, (), ("dev",)),
        ({"pyproject.toml": DEV_AND_TRAIN, "uv.lock": "version = 1\n"}, ("train-set",), ("dev", "train-set")),
        # pip installs no group by default.
        ({"pyproject.toml": DEV_AND_TRAIN, "requirements.txt": "six\n"}, (), ()),
        ({"pyproject.toml": DEV_AND_TRAIN, "requirements.txt": "six\n"}, ("dev",), ("dev",)),
        ({"pyproject.toml": DEV_AND_TRAIN, "setup.py": ""}, ("dev",), ("dev",)),
    ],
)
def test_each_way_installs_the_groups_of_its_tool(
    tmp_path: Path, files: dict[str, str], asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    declaration = find_declaration(tmp_path)
    assert declaration and declaration.resolved_groups(asked) == expected


def test_a_project_without_groups_has_none(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    declaration = find_declaration(tmp_path)
    assert declaration
    with pytest.raises(UsageError, match="no dependency group 'dev'"):
        declaration.resolved_groups(("dev",))


def test_a_file_with_only_groups_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(DEV_AND_TRAIN)
    assert declaration_in(tmp_path, path).compiled_files() == ()
    path.write_text(f'[project]\nname = "x"\n{DEV_AND_TRAIN}')
    assert declaration_in(tmp_path, path).compiled_files() == (path,)


def test_the_inputs_digest_follows_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("six\n")
    declaration = declaration_in(tmp_path, path)
    digests = [resolver.inputs_digest(declaration, BASE, ())]
    for text, groups in ((DEV_AND_TRAIN, ("dev",)), (DEV_AND_TRAIN + 'x = ["y"]\n', ("dev",)), (DEV_AND_TRAIN, ())):
        (tmp_path / "pyproject.toml").write_text(text)
        digests.append(resolver.inputs_digest(declaration, BASE, (), None, groups))
    assert digests[0] == digests[3] and len({*digests}) == 3
