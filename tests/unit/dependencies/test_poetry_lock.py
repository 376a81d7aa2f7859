"""poetry.lock: what belongs to an image."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.dependencies import locked_packages, poetry_project, poetry_walk
from ocicaliban.dependencies.declaration import manifest
from ocicaliban.dependencies.poetry_lock import PoetryLock
from ocicaliban.errors import UsageError
from tests.locks import LOCKS, base_with, copied, resolved, versions

ALWAYS = {
    "attrs": "23.2.0",  # of the group train, which is not optional
    "certifi": "2026.10.19.post1",
    "charset-normalizer": "3.5.3",
    "idna": "3.20",
    "numpy": "1.26.4",
    "pysocks": "1.7.1",
    "requests": "2.31.0",
    "six": "1.16.0",
}
NEW = {"urllib3": "2.8.0"}
OLD = {"urllib3": "2.6.3"}
SIX = """six==1.16.0 \\
    --hash=sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926 \\
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""


def lock_of(root: Path) -> PoetryLock:
    return PoetryLock(root=root, path=root / "poetry.lock")


@pytest.mark.parametrize(
    ("name", "python", "extras", "groups", "more"),
    [
        ("poetry-2.1", "3.11.2", (), (), NEW),
        ("poetry-2.1", "3.11.2", ("table",), ("docs",), NEW | {"tabulate": "0.9.0", "markdown": "3.11.3"}),
        ("poetry-2.1", "3.10.4", (), (), OLD | {"tomli": "2.5.0"}),
        ("poetry-2.0", "3.11.2", (), (), OLD),
        ("poetry-2.0", "3.11.2", ("table",), ("docs",), OLD | {"tabulate": "0.9.0", "markdown": "3.9"}),
        ("poetry-2.0", "3.10.4", (), (), OLD | {"tomli": "2.5.0"}),
        ("poetry-1.1", "3.11.2", (), (), OLD),
        ("poetry-1.1", "3.11.2", ("table",), ("docs",), OLD | {"tabulate": "0.9.0", "markdown": "3.9"}),
        ("poetry-1.1", "3.10.4", (), (), OLD | {"tomli": "2.5.0"}),
    ],
)
def test_what_poetry_would_install(
    name: str, python: str, extras: tuple[str, ...], groups: tuple[str, ...], more: dict[str, str]
) -> None:
    text = resolved(lock_of(LOCKS / name), python, extras, groups)
    assert versions(text) == ALWAYS | more
    assert SIX in text


def test_extras_and_groups_that_are_not_declared(tmp_path: Path) -> None:
    lock = lock_of(LOCKS / "poetry-2.1")
    with pytest.raises(UsageError, match="declares no extra 'tables'") as caught:
        lock.resolved_extras(("tables",), "cpu")
    assert caught.value.hint == "did you mean 'table'?"
    with pytest.raises(UsageError, match="declares no group 'doc'"):
        lock.resolved_groups(("doc",))
    assert lock.resolved_groups(()) == ("train",)
    assert lock.resolved_groups(("docs", "main")) == ("docs", "train")


def test_a_lock_that_poetry_would_refuse(tmp_path: Path) -> None:
    root = copied("poetry-2.1", tmp_path)
    manifest = root / "pyproject.toml"
    assert not lock_of(root).is_out_of_date()
    manifest.write_text(manifest.read_text().replace("^1.15,<1.17", "^1.15"))
    assert lock_of(root).is_out_of_date()
    assert versions(resolved(lock_of(root))) == ALWAYS | NEW  # the locked packages fit all the same
    manifest.write_text(manifest.read_text().replace("^1.15", "^1.17"))
    with pytest.raises(UsageError, match=r"poetry\.lock is not up to date with pyproject\.toml") as caught:
        resolved(lock_of(root))
    assert caught.value.hint == "run `poetry lock`"
    manifest.write_text((LOCKS / "poetry-2.1" / "pyproject.toml").read_text())
    lock = (LOCKS / "poetry-2.1" / "poetry.lock").read_text()
    (root / "poetry.lock").write_text(lock.replace('lock-version = "2.1"', 'lock-version = "3.0"'))
    with pytest.raises(UsageError, match=r"version '3\.0'"):
        resolved(lock_of(root))
    (root / "poetry.lock").write_text(lock.replace('name = "six"', "names = 6"))
    with pytest.raises(UsageError, match="damaged"):
        resolved(lock_of(root))
    manifest.unlink()
    with pytest.raises(UsageError, match=r"no pyproject\.toml beside it"):
        resolved(lock_of(root))


def test_an_old_lock_without_a_package(tmp_path: Path) -> None:
    root = copied("poetry-2.0", tmp_path)
    text = (root / "poetry.lock").read_text()
    (root / "poetry.lock").write_text(text.replace('name = "idna"', 'name = "other"'))
    with pytest.raises(UsageError, match="does not hold idna"):
        resolved(lock_of(root))


HEAD = """
[project]
name = "study"
version = "1"
[tool.poetry]
"""
FOREIGN = """
[[package]]
name = "Nets"
version = "0.1"
optional = false
python-versions = "*"
groups = ["main"]
files = []
develop = true
[package.source]
type = "directory"
url = "libs/nets"
[[package]]
name = "tools"
version = "2"
optional = false
python-versions = "*"
groups = ["main"]
files = []
develop = false
[package.source]
type = "git"
url = "git@host.example:group/tools.git"
reference = "main"
resolved_reference = "0123456789012345678901234567890123456789"
subdirectory = "python"
[[package]]
name = "wheel-of-url"
version = "3"
optional = false
python-versions = "*"
groups = ["main"]
files = [{file = "wheel.whl", hash = "sha256:aa"}]
[package.source]
type = "url"
url = "https://host.example/wheel.whl"
[[package]]
name = "torch"
version = "2.0+cpu"
optional = false
python-versions = "*"
groups = ["main"]
files = [{file = "torch.whl", hash = "sha256:bb"}, {file = "torch.md5", hash = "md5:cc"}]
[package.source]
type = "legacy"
url = "https://me:secret@host.example/simple"
reference = "cpu"
[metadata]
lock-version = "2.1"
python-versions = "*"
content-hash = "HASH"
"""


def test_packages_that_are_not_from_the_default_index(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(HEAD)
    digest = next(iter(poetry_project.content_hashes(tomllib.loads(HEAD))))
    (tmp_path / "poetry.lock").write_text(FOREIGN.replace("HASH", digest))
    assert resolved(lock_of(tmp_path)) == (
        "-e ./libs/nets\n"
        "tools @ git+ssh://git@host.example/group/tools.git@0123456789012345678901234567890123456789"
        "#subdirectory=python\n"
        "torch==2.0+cpu \\\n    --hash=sha256:bb\n    # from cpu=https://host.example/simple\n"
        "wheel-of-url @ https://host.example/wheel.whl \\\n    --hash=sha256:aa\n"
    )


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("^3.10", ">=3.10,<4.0"),
        ("^3", ">=3,<4.0"),
        ("~3.11", ">=3.11,<3.12"),
        ("~3.11.4", ">=3.11.4,<3.12"),
        ("~3", ">=3,<4.0"),
        ("^3.8.1", ">=3.8.1,<4.0"),
        (">=3.9,<3.13", ">=3.9,<3.13"),
        (">=3.9 <3.13", ">=3.9,<3.13"),
        ("3.11.*", "==3.11.*"),
        ("3.11", "==3.11.*"),
        ("3.11.4", "==3.11.4"),
        ("*", ""),
        ("~2.7 || ^3.2", ">=2.7,<4.0,!=3.0.*,!=3.1.*"),
        ("!=3.9.1", "!=3.9.1"),
    ],
)
def test_pythons_as_specifiers(constraint: str, expected: str) -> None:
    assert poetry_project.specifiers(constraint, "python") == expected


def test_a_python_that_poetry_does_not_know() -> None:
    with pytest.raises(UsageError, match="python: 'three' is not a version constraint"):
        poetry_project.specifiers("three", "python")


@pytest.mark.parametrize(
    "text", ["[tool.poetry]\ndependencies = 1\n", "tool = 1\n", '[tool.poetry.dependencies]\nsix = "^^1"\n']
)
def test_a_pyproject_that_poetry_cannot_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    raw: dict[str, Any] = tomllib.loads(text)
    assert poetry_project.content_hashes(raw)
    assert poetry_project.python_requirements(raw) == ()
    try:
        poetry_project.read_package(tmp_path / "pyproject.toml")
    except UsageError as exc:
        assert "cannot read its dependencies" in exc.message


def test_extras_that_name_others_of_the_project(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\nname = "study"\nversion = "1"\ndependencies = ["six"]\n[project.optional-dependencies]\n'
        'plot = ["tabulate"]\nmore = ["attrs"]\nall = ["study[plot]"]\n'
        '[dependency-groups]\ntest = ["iniconfig", {include-group = "lint"}]\nlint = ["toolz"]\n'
    )
    package = poetry_project.read_package(path)
    found = poetry_project.wanted_dependencies(package, ("test",), ("all",))
    assert sorted(dependency.name for dependency in found) == ["iniconfig", "six", "tabulate", "toolz"]
    assert base_with("3.11.2").machine == "x86_64"


def test_a_group_that_was_added_since_is_no_part_of_the_lock(tmp_path: Path) -> None:
    root = copied("poetry-2.1", tmp_path)
    path = root / "pyproject.toml"
    path.write_text(path.read_text() + '[tool.poetry.group.new.dependencies]\ntoolz = "*"\nsix = "*"\n')
    package = poetry_project.read_package(path)
    held = tomllib.loads((root / "poetry.lock").read_text())["package"]
    wanted = list(poetry_project.wanted_dependencies(package, ("new",), ()))
    rest, added = poetry_walk.unknown(held, wanted)
    assert [dependency.name for dependency in added] == ["toolz"] and len(rest) == len(wanted) - 1
    path.write_text(path.read_text().replace("[tool.poetry.dependencies]", '[tool.poetry.dependencies]\ntoolz = "*"'))
    with pytest.raises(UsageError, match="it does not hold toolz"):
        resolved(lock_of(root))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package = 1\n", "'package' is not a list of tables"),
        ("[[package]]\nname = 1\n", "the package number 1 has no name"),
        ('[[package]]\nname = "six"\ngroups = ["main"]\n', "an entry has no 'version'"),
        ('[[package]]\nname = "six"\ngroups = 1\n', "an entry is not of the form that its tool writes"),
    ],
)
def test_a_damaged_lock_is_told_in_plain_words(tmp_path: Path, text: str, says: str) -> None:
    root = copied("poetry-2.1", tmp_path)
    (root / "poetry.lock").write_text(f'{text}[metadata]\nlock-version = "2.1"\ncontent-hash = "HASH"\n')
    [digest, *_] = poetry_project.content_hashes(manifest(root))
    (root / "poetry.lock").write_text((root / "poetry.lock").read_text().replace("HASH", digest))
    assert lock_of(root).lists_dependencies()
    with pytest.raises(UsageError) as raised:
        resolved(lock_of(root))
    assert raised.value.message == f"poetry.lock is damaged: {says}"


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ('{ git = "https://e.org/tool.git", branch = "main" }', True),
        ('{ git = "https://e.org/tool" }', True),
        ('{ git = "https://e.org/tool", rev = "abc" }', True),
        ('{ git = "https://e.org/tool", branch = "other" }', False),
        ('{ git = "https://e.org/fork", branch = "main" }', False),
        ('{ url = "https://e.org/tool-1-py3-none-any.whl" }', False),
        ('"^1"', True),
    ],
)
def test_a_repository_that_has_changed_since(tmp_path: Path, wanted: str, holds: bool) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f'[tool.poetry]\nname = "d"\n[tool.poetry.dependencies]\npython = "^3.9"\ntool = {wanted}\n')
    dependencies = [*poetry_project.wanted_dependencies(poetry_project.read_package(path), (), ())]
    source = {"type": "git", "url": "https://e.org/tool.git", "reference": "main", "resolved_reference": "abc"}
    held = [{"name": "tool", "version": "1.0", "source": source}]
    walked = poetry_walk.walked(held, dependencies, "d", locked_packages.marker_environment(base_with("3.11.2")))
    if holds:
        assert [*walked] == held
        return
    with pytest.raises(UsageError, match=r"poetry\.lock is not up to date"):
        list(walked)
