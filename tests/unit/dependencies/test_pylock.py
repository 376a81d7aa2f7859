"""pylock.toml: what applies to an image."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.dependencies.pylock import PylockToml, applicable
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from tests.folders import write

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
SIX = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
PYLOCK = """
    lock-version = "1.0"
    created-by = "a test"
    requires-python = ">=3.9"
    extras = ["cpu", "gpu"]
    default-groups = ["main"]
    dependency-groups = ["main", "dev"]
    [[packages]]
    name = "six"
    version = "1.17.0"
    sdist = { url = "https://example.org/six-1.17.0.tar.gz", hashes = { sha256 = "bb" } }
    wheels = [{ url = "https://example.org/six-1.17.0-py3-none-any.whl", hashes = { sha256 = "aa" } }]
    [[packages]]
    name = "on-windows"
    version = "1"
    marker = "sys_platform == 'win32'"
    sdist = { url = "https://example.org/on_windows-1.tar.gz", hashes = { sha256 = "cc" } }
    [[packages]]
    name = "for-gpu"
    version = "1"
    marker = "'gpu' in extras"
    sdist = { url = "https://example.org/for_gpu-1.tar.gz", hashes = { sha256 = "dd" } }
    [[packages]]
    name = "for-dev"
    version = "1"
    marker = "'dev' in dependency_groups"
    sdist = { url = "https://example.org/for_dev-1.tar.gz", hashes = { sha256 = "ee" } }
    [[packages]]
    name = "demo"
    directory = { path = "." }
"""


def target(*extras: str, groups: tuple[str, ...] = ("main",), python: str = "3.11.2") -> ResolutionTarget:
    base = evolve(BASE, python=python, libc="2.36")
    return ResolutionTarget(base=base, variant="cpu", extras=extras, groups=groups)


def test_a_pylock_gives_what_applies_to_the_image() -> None:
    raw = tomllib.loads(PYLOCK)
    own = ".\n"  # the project itself, which another layer brings
    assert applicable(raw, target(), ["example.org"]) == own + SIX
    gpu, dev = "for-gpu==1 \\\n    --hash=sha256:dd\n", "for-dev==1 \\\n    --hash=sha256:ee\n"
    assert applicable(raw, target("gpu"), ["example.org"]) == own + gpu + SIX
    assert applicable(raw, target(groups=("main", "dev")), ["example.org"]) == own + dev + SIX


def test_extras_and_groups(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(PYLOCK.replace("    ", ""))
    lock = PylockToml(root=tmp_path, path=tmp_path / "pylock.toml")
    assert lock.resolved_extras((), "gpu") == ("gpu",)
    assert lock.resolved_groups(()) == ("main",)
    assert lock.resolved_groups(("dev",)) == ("dev", "main")
    with pytest.raises(UsageError, match="declares no extra 'plot'"):
        lock.resolved_extras(("plot",), "cpu")
    with pytest.raises(UsageError, match="declares no group 'docs'"):
        lock.resolved_groups(("docs",))
    (tmp_path / "pylock.toml").write_text("extras = [")
    with pytest.raises(UsageError, match="not valid TOML"):
        lock.resolved_extras((), "cpu")


def test_a_pylock_that_does_not_fit() -> None:
    raw = tomllib.loads(PYLOCK)
    with pytest.raises(UsageError, match=r"requires Python >=3\.12, but the base image has 3\.11\.2"):
        applicable({**raw, "requires-python": ">=3.12"}, target())
    with pytest.raises(UsageError, match=r"not made for Python 3\.11\.2 on linux/amd64"):
        applicable({**raw, "environments": ["sys_platform == 'win32'"]}, target())
    with pytest.raises(UsageError, match="is not valid"):
        applicable({"lock-version": "1.0"}, target())


COMMIT = "0123456789012345678901234567890123456789"
PLACES = f"""
lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "from-index"
version = "1"
index = "https://me:secret@own.example/simple/"
wheels = [{{ url = "https://own.example/from_index-1-py3-none-any.whl", hashes = {{ sha256 = "aa" }} }}]
[[packages]]
name = "from-pypi"
version = "1"
index = "https://pypi.org/simple"
wheels = [{{ url = "https://files.pythonhosted.org/from_pypi-1-py3-none-any.whl", hashes = {{ sha256 = "bb" }} }}]
[[packages]]
name = "torch"
version = "2+cpu"
wheels = [
    {{ url = "https://t.example/torch-2+cpu-cp310-cp310-linux_x86_64.whl", hashes = {{ sha256 = "c1" }} }},
    {{ url = "https://t.example/torch-2+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", hashes = {{ sha256 = "c2" }} }},
    {{ url = "https://t.example/torch-2+cpu-cp311-cp311-manylinux_2_40_x86_64.whl", hashes = {{ sha256 = "c3" }} }},
]
[[packages]]
name = "nets"
directory = {{ path = "libs", subdirectory = "nets", editable = true }}
[[packages]]
name = "tools"
vcs = {{ type = "git", url = "https://h/tools.git", commit-id = "{COMMIT}", subdirectory = "py" }}
[[packages]]
name = "far"
archive = {{ url = "https://h/far.zip", hashes = {{ sha256 = "dd" }} }}
"""


def test_where_the_packages_of_a_pylock_come_from() -> None:
    found = applicable(tomllib.loads(PLACES), target())
    torch = "https://t.example/torch-2+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
    hashes = " \\\n    --hash=sha256:c1 \\\n    --hash=sha256:c2 \\\n    --hash=sha256:c3\n"
    assert found == (
        "far @ https://h/far.zip \\\n    --hash=sha256:dd\n"
        "from-index==1 \\\n    --hash=sha256:aa\n    # from https://own.example/simple\n"
        "from-pypi==1 \\\n    --hash=sha256:bb\n"
        "-e ./libs/nets\n"
        f"tools @ git+https://h/tools.git@{COMMIT}#subdirectory=py\n"
        f"torch @ {torch}{hashes}"
    )
    # An index that is asked anyway needs no mention.
    known = applicable(tomllib.loads(PLACES), target(), ["own.example", "t.example"])
    assert "# from" not in known and f"torch==2+cpu{hashes}" in known


PROJECT = '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = ["six>=1.17"]\n'
MATCHING = PYLOCK.replace("    ", "").replace('extras = ["cpu", "gpu"]', 'extras = ["plot"]')


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("six>=1.17", "Six[extra]; python_version > '3'", ""),
        ("six>=1.17", "toolz; sys_platform == 'win32'", ""),
        ("six>=1.17", 'six", "toolz>=1', "does not hold toolz>=1"),
        ("six>=1.17", "six<1.17", "does not hold six<1.17"),
        ("six>=1.17", "six @ git+https://example.org/six", r"does not hold six @ git\+https://example.org/six"),
        (">=3.9", ">=3.10", "it is for Python >=3.9, not >=3.10"),
        (">=3.9", ">=3.7", ""),
    ],
)
def test_a_pylock_that_is_not_of_the_project_beside_it(tmp_path: Path, before: str, after: str, says: str) -> None:
    write(tmp_path, {"pylock.toml": MATCHING, "pyproject.toml": PROJECT.replace(before, after)})
    lock = PylockToml(root=tmp_path, path=tmp_path / "pylock.toml")
    assert lock.covers() == ("pyproject.toml",)
    assert "pyproject.toml" in lock.texts()
    if not says:
        lock.resolve(target(), "")
        return
    with pytest.raises(UsageError, match=says) as raised:
        lock.resolve(target(), "")
    assert "uv export --format pylock.toml -o pylock.toml" in raised.value.hint


def test_the_extras_of_the_project_are_compared_too(tmp_path: Path) -> None:
    more = '[project.optional-dependencies]\nPlot = ["toolz"]\n'
    write(tmp_path, {"pylock.toml": MATCHING, "pyproject.toml": PROJECT + more})
    lock = PylockToml(root=tmp_path, path=tmp_path / "pylock.toml")
    lock.resolve(target(), "")
    with pytest.raises(UsageError, match="does not hold toolz"):
        lock.resolve(target("plot"), "")


def test_the_groups_of_the_project_are_compared_too(tmp_path: Path) -> None:
    more = '[dependency-groups]\nbase = ["toolz"]\nplot = [{ include-group = "base" }]\n'
    text = MATCHING.replace('"main", "dev"', '"main", "dev", "plot"')
    write(tmp_path, {"pylock.toml": text, "pyproject.toml": PROJECT + more})
    lock = PylockToml(root=tmp_path, path=tmp_path / "pylock.toml")
    lock.resolve(target(), "")
    with pytest.raises(UsageError, match="does not hold toolz"):
        lock.resolve(evolve(target(), groups=("plot",)), "")


@pytest.mark.parametrize(
    ("name", "project"),
    [
        ("pylock.docs.toml", PROJECT.replace("six", "toolz")),
        ("pylock.toml", PROJECT.replace("dependencies =", 'dynamic = ["dependencies"]\n#')),
        ("pylock.toml", "[tool.ruff]\nline-length = 100\n"),
    ],
)
def test_a_pylock_that_is_of_no_project(tmp_path: Path, name: str, project: str) -> None:
    write(tmp_path, {name: MATCHING, "pyproject.toml": project})
    lock = PylockToml(root=tmp_path, path=tmp_path / name)
    assert lock.covers() == ()
    assert "six-1.17.0" in lock.resolve(target(), "")


def test_a_pylock_beside_a_project_of_poetry(tmp_path: Path) -> None:
    project = '[tool.poetry]\nname = "demo"\n[tool.poetry.dependencies]\npython = "^3.9"\nsix = "^1.16"\n'
    write(tmp_path, {"pylock.toml": MATCHING, "pyproject.toml": project})
    lock = PylockToml(root=tmp_path, path=tmp_path / "pylock.toml")
    lock.resolve(target(), "")
    write(tmp_path, {"pyproject.toml": project + 'toolz = "*"\n'})
    with pytest.raises(UsageError, match="does not hold toolz"):
        lock.resolve(target(), "")
