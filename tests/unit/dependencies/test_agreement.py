"""What a lock holds, and what was asked for."""

from __future__ import annotations

import pytest

from ocicaliban.dependencies.agreement import allows_more, named_in, unmet, without
from ocicaliban.dependencies.locked_packages import LockedPackage

COMMIT = "a" * 40
HELD = (
    LockedPackage(name="six", version="1.17.0"),
    LockedPackage(name="torch", version="2.4.0+cpu"),
    LockedPackage(name="pre", version="2.0rc1"),
    LockedPackage(name="odd", version="not a version"),
    LockedPackage(name="far", version="1.5", url="https://example.org/far-1.5-py3-none-any.whl"),
    LockedPackage(name="nets", path="./libs/nets", editable=True),
    LockedPackage(name="tool", url=f"git+https://example.org/tool@{COMMIT}"),
    LockedPackage(name="own", url=f"git+ssh://git@example.org/own.git@{COMMIT}"),
    LockedPackage(name="wheel", url="https://example.org/wheel-1-py3-none-any.whl"),
)
ENVIRONMENT = {"python_version": "3.11", "sys_platform": "linux"}


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("six", True),
        ("Six >= 1.16, < 2", True),
        ("six!=1.17", False),
        ("six==1.17.0; sys_platform == 'linux'", True),
        ("six==1; sys_platform == 'win32'", True),
        ("six==1; extra == 'plot'", True),
        ("torch==2.4.0", True),
        ("pre>=1", True),
        ("odd>=1", False),
        ("far>=1", True),
        ("far>=2", False),
        ("absent", False),
        ("absent; python_version < '3'", True),
        ("not a requirement at all", True),
        ("nets>=5", True),
        ("nets @ file:///somewhere/libs/nets", True),
        ("tool", True),
        ("tool @ git+https://example.org/tool.git@main", True),
        (f"tool @ git+https://me:secret@example.org/tool@{COMMIT}", True),
        (f"tool @ git+https://example.org/tool@{'b' * 40}", False),
        ("tool @ git+https://example.org/fork", False),
        ("own @ git+ssh://git@example.org/own", True),
        ("wheel @ https://example.org/wheel-1-py3-none-any.whl#sha256=00", True),
        ("wheel @ https://example.org/wheel-2-py3-none-any.whl", False),
        ("six @ https://example.org/six-1.17.0.tar.gz", False),
    ],
)
def test_a_requirement_that_a_lock_fulfils_or_not(line: str, holds: bool) -> None:
    assert unmet([line], HELD, ENVIRONMENT) == ("" if holds else line)


@pytest.mark.parametrize(
    ("lock", "project", "more"),
    [
        (">=3.9", ">=3.9", False),
        (">= 3.9, <3.14", ">=3.9,<3.14", False),
        (">=3.11.2", ">=3.9", False),
        (">=3.9", ">=3.11", True),
        (">=3.9", ">=3.9,<3.13", True),
        ("==3.11.*", "~=3.11", False),
        ("anything", ">=3.9", False),
    ],
)
def test_a_lock_for_pythons_that_the_project_excludes(lock: str, project: str, more: bool) -> None:
    assert allows_more(lock, project) is more


def test_what_a_project_overrides_or_excludes_is_not_compared() -> None:
    lines = ("Numpy<2", "six>=1", "not valid !", "pandas")
    assert without(lines, ["numpy", "pandas"]) == ("six>=1", "not valid !")
    assert [*named_in(["numpy==2.1.0", "not valid !"]), *named_in(None)] == ["numpy"]
