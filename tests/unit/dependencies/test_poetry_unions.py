"""Unions of Poetry's constraints, compared with poetry-core's own reading of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import tomli_w
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from poetry.core.constraints.version import Version, parse_constraint

from ocicaliban.dependencies import poetry_project
from ocicaliban.errors import UsageError

PARTS = (
    "<1.2", "<=1.2", "1.4.1", "~1.5", "^1.9", ">=2,<2.5", ">2.5,<2.7", "==2.8.*", "^3", ">=3.7,!=3.9", ">3.1.4", "^4.2",
)  # fmt: skip
PYTHON_PARTS = (
    "~2.7", "<3.8", "~3.8", "3.9.7", ">=3.10.4,<3.12", "~3.13", ">3.13.2", "^3.12,!=3.13.1", ">=3.14", "3.8.*",
)  # fmt: skip
VERSIONS = [
    ".".join(map(str, parts))
    for length in (1, 2, 3)
    for parts in itertools.product(*[range(5), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 42), (0, 1, 2, 4, 7, 13)][:length])
]
PYTHONS = [
    f"{major}.{minor}.{patch}" for major, minor in [(2, 6), (2, 7), *((3, n) for n in range(20))] for patch in range(21)
]


def pairs(parts: tuple[str, ...]) -> list[str]:
    triples = list(itertools.combinations(parts, 3))
    return [" || ".join(each) for each in [*itertools.combinations(parts, 2), *triples[::5]]]


@pytest.mark.parametrize("constraint", pairs(PYTHON_PARTS))
def test_the_pythons_of_a_union(constraint: str) -> None:
    wanted, ours = parse_constraint(constraint), SpecifierSet(poetry_project.specifiers(constraint, "python"))
    assert [each for each in PYTHONS if ours.contains(each) != wanted.allows(Version.parse(each))] == []


def requirements(tmp_path: Path, entry: str) -> list[Requirement]:
    path = tmp_path / "pyproject.toml"
    path.write_text(f'[tool.poetry]\nname = "d"\n[tool.poetry.dependencies]\npython = ">=3.8"\nsix = {entry}\n')
    wanted = poetry_project.wanted_dependencies(poetry_project.read_package(path), (), ())
    return [Requirement(poetry_project.requirement_line(each)) for each in wanted]


@pytest.mark.parametrize("constraint", pairs(PARTS))
def test_the_versions_of_a_union(tmp_path: Path, constraint: str) -> None:
    wanted = parse_constraint(constraint)
    [requirement] = requirements(tmp_path, f'"{constraint}"')
    differing = [
        each for each in VERSIONS if requirement.specifier.contains(each) != wanted.allows(Version.parse(each))
    ]
    assert differing == []


ENVIRONMENTS = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.{patch}", "sys_platform": system, "extra": ""}
    for minor in range(8, 16)
    for patch in (0, 5)
    for system in ("linux", "win32")
]


@pytest.mark.parametrize(
    "entries",
    [
        [{"version": "^1 || ^3", "python": "~3.8 || ~3.13"}],
        [{"version": "^1", "python": "<3.10"}, {"version": "^2 || ^4", "python": ">=3.10"}],
        [{"version": "<1.2 || >=3", "python": ">=3.9", "platform": "linux"}, {"version": "1.4.1", "platform": "win32"}],
        [{"version": "^1", "markers": "sys_platform == 'linux' or python_version < '3.9'"}],
        [{"version": "^1", "python": "~3.8 || ^3.12", "markers": "sys_platform == 'win32'"}],
        [{"version": "*", "python": "<3.9 || >=3.11,<3.13 || 3.14.*"}],
        [{"version": "^1", "platform": "linux || win32"}],
        [
            {"version": "^1", "allow-prereleases": True},
            {"version": "*", "platform": "win32", "allow-prereleases": True},
        ],
    ],
)
def test_several_constraints_of_a_dependency(tmp_path: Path, entries: list[dict[str, object]]) -> None:
    path = tmp_path / "pyproject.toml"
    tables = "".join(f"[[tool.poetry.dependencies.six]]\n{tomli_w.dumps(each)}" for each in entries)
    path.write_text(f'[tool.poetry]\nname = "d"\n[tool.poetry.dependencies]\npython = ">=3.8"\n{tables}')
    wanted = [*poetry_project.wanted_dependencies(poetry_project.read_package(path), (), ())]
    lines = [Requirement(poetry_project.requirement_line(each)) for each in wanted]
    for environment in ENVIRONMENTS:
        for version in VERSIONS[::7]:
            theirs = [
                each.constraint.allows(Version.parse(version)) for each in wanted if each.marker.validate(environment)
            ]
            ours = [
                each.specifier.contains(version)
                for each in lines
                if each.marker is None or each.marker.evaluate(environment)
            ]
            assert ours == theirs, (environment, version)


def test_a_prerelease_without_another_condition(tmp_path: Path) -> None:
    [requirement] = requirements(tmp_path, '{ version = "*", allow-prereleases = true }')
    assert str(requirement.specifier) == ">=0.dev0"


def test_versions_too_far_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="uv cannot look for '<20100101 || >=20240101'".replace("|", r"\|")) as raised:
        requirements(tmp_path, '"<20100101 || >=20240101"')
    assert "poetry lock" in raised.value.hint


def test_a_version_that_the_specifiers_let_through(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.poetry]\nname = "d"\n[tool.poetry.dependencies]\npython = ">=3.8"\nsix = "<1.2 || >=3"\n')
    wanted = [*poetry_project.wanted_dependencies(poetry_project.read_package(path), (), ())]
    for version, wrong in (("1.1", ""), ("1.2000", "six==1.2000"), ("3.0", "")):
        assert poetry_project.outside(f"six=={version} \\\n    --hash=sha256:aa\n", wanted, {}) == wrong
