"""Pipfile.lock: what belongs to an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from ocicaliban.dependencies import pipenv_project
from ocicaliban.dependencies.pipfile import Pipfile
from ocicaliban.dependencies.pipfile_lock import PipfileLock
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from tests.locks import LOCKS, copied, resolved, versions

DEFAULT = {
    "certifi": "2026.10.19.post1",
    "charset-normalizer": "3.5.3",
    "idna": "3.20",
    "pysocks": "1.7.1",
    "requests": "2.31.0",
    "six": "1.16.0",
    "urllib3": "2.8.0",
}


def lock_of(root: Path) -> PipfileLock:
    return PipfileLock(root=root, path=root / "Pipfile.lock")


def test_what_pipenv_would_install() -> None:
    lock = lock_of(LOCKS / "pipenv")
    text = resolved(lock)
    assert versions(text) == DEFAULT
    assert (
        "six==1.16.0 \\\n    --hash=sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926 \\\n"
        in text
    )
    for name in ("dev", "develop", "dev-packages"):
        assert versions(resolved(lock, groups=(name,))) == DEFAULT | {"iniconfig": "2.0.0"}
    assert lock.python_requirements() == (
        PythonRequirement(place="Pipfile.lock: requires", specifier="==3.11.*", pinned=True),
    )


def test_a_package_without_a_version_for_this_python() -> None:
    with pytest.raises(UsageError, match=r"Pipfile\.lock has no version of tomli") as caught:
        resolved(lock_of(LOCKS / "pipenv"), "3.10.4")
    assert caught.value.hint == "run `pipenv lock`"


@pytest.mark.parametrize(
    ("wanted", "left_out"),
    [
        ({"version": "*", "sys_platform": "== 'win32'"}, True),
        ({"version": "*", "markers": "sys_platform == 'win32'"}, True),
        ({"version": "*", "sys_platform": "== 'linux'"}, False),
        ("*", False),
    ],
)
def test_a_package_of_another_platform_that_pipenv_has_not_locked(
    tmp_path: Path, wanted: object, left_out: bool
) -> None:
    manifest = {"packages": {"Colorama": wanted, "six": "*"}}
    (tmp_path / "Pipfile").write_text(tomli_w.dumps(manifest))
    current = sorted(pipenv_project.content_hashes(manifest))[0]
    lock = {
        "_meta": {"hash": {"sha256": current}},
        "default": {"colorama": {"version": "*"}, "six": {"version": "==1.16.0"}},
    }
    (tmp_path / "Pipfile.lock").write_text(json.dumps(lock))
    if left_out:
        assert versions(resolved(lock_of(tmp_path))) == {"six": "1.16.0"}
    else:
        with pytest.raises(UsageError, match=r"Pipfile\.lock has no version of colorama"):
            resolved(lock_of(tmp_path))


def test_extras_and_groups_that_are_not_declared() -> None:
    with pytest.raises(UsageError, match="declares no extra 'plot'"):
        lock_of(LOCKS / "pipenv").resolved_extras(("plot",), "cpu")
    with pytest.raises(UsageError, match="declares no group 'docs'"):
        lock_of(LOCKS / "pipenv").resolved_groups(("docs",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n"default": {"six": ', "Pipfile.lock:2: this is not JSON, so the lock is damaged or not complete"),
        ("[]", "Pipfile.lock is damaged: it holds no table"),
        ('{"default": 1}', "Pipfile.lock is damaged: 'default' is not a table"),
        ('{"default": {"six": 1}}', "Pipfile.lock is damaged: 'six' in 'default' is not a table"),
        ('{"default": {"six": {"hashes": 1, "version": "==1"}}}', "an entry is not of the form that its tool writes"),
        ('{"default": {"six": {"git": "https://e.org/six"}}}', "Pipfile.lock is damaged: an entry has no 'ref'"),
    ],
)
def test_a_damaged_lock_is_told_in_plain_words(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "Pipfile.lock").write_text(text)
    with pytest.raises(UsageError) as raised:
        resolved(lock_of(tmp_path))
    assert says in raised.value.message
    assert raised.value.hint == "run `pipenv lock`"


def test_a_section_of_a_pipfile_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "Pipfile").write_text("packages = 1\n")
    with pytest.raises(UsageError, match="Pipfile: 'packages' is not a table of packages"):
        Pipfile(root=tmp_path, path=tmp_path / "Pipfile").lists_dependencies()


def test_a_lock_that_is_out_of_date_or_damaged(tmp_path: Path) -> None:
    root = copied("pipenv", tmp_path)
    pipfile = root / "Pipfile"
    # Pipenv compares names as indexes do.
    pipfile.write_text(pipfile.read_text().replace("six =", "Six ="))
    assert versions(resolved(lock_of(root))) == DEFAULT
    assert not lock_of(root).is_out_of_date()
    pipfile.write_text(pipfile.read_text().replace("<1.17", "*"))
    assert lock_of(root).is_out_of_date()
    assert versions(resolved(lock_of(root))) == DEFAULT  # the locked packages fit all the same
    pipfile.write_text(pipfile.read_text().replace('Six = "*"', 'Six = ">=1.17"'))
    with pytest.raises(UsageError, match="is not up to date with the Pipfile") as caught:
        resolved(lock_of(root))
    assert caught.value.hint == "run `pipenv lock`"
    pipfile.unlink()
    assert versions(resolved(lock_of(root))) == DEFAULT
    for text, message in (("{", "this is not JSON"), ('{"default": {"six": 1}}', "damaged")):
        (root / "Pipfile.lock").write_text(text)
        with pytest.raises(UsageError, match=message):
            resolved(lock_of(root))


def test_packages_that_are_not_from_the_default_index(tmp_path: Path) -> None:
    commit = "0123456789012345678901234567890123456789"
    lock: dict[str, Any] = {
        "_meta": {
            "sources": [
                {"name": "pypi", "url": "https://pypi.org/simple"},
                {"name": "ours", "url": "https://${USER}:${SECRET}@host.example/simple"},
            ]
        },
        "default": {
            "Own_Tool": {"version": "==1.0", "hashes": ["sha256:aa"], "index": "ours"},
            "six": {"version": "==1.16.0", "hashes": ["sha256:bb"], "index": "pypi"},
            "git-tool": {"git": "https://host.example/tool.git", "ref": commit, "editable": True},
            "nets": {"path": "./libs/nets", "editable": True},
            "far": {"file": "https://host.example/far.whl", "hashes": ["sha256:cc"]},
        },
        "develop": {"six": {"version": "==1.17.0"}},
    }
    (tmp_path / "Pipfile.lock").write_text(json.dumps(lock))
    assert resolved(lock_of(tmp_path), groups=("dev",)) == (
        "far @ https://host.example/far.whl \\\n    --hash=sha256:cc\n"
        f"git-tool @ git+https://host.example/tool.git@{commit}\n"
        "-e ./libs/nets\n"
        "own-tool==1.0 \\\n    --hash=sha256:aa\n    # from ours=https://host.example/simple\n"
        "six==1.16.0 \\\n    --hash=sha256:bb\n"
    )


COMMIT = "0123456789012345678901234567890123456789"
GIT = {"git": "https://host.example/tool.git", "ref": COMMIT}


@pytest.mark.parametrize(
    ("wanted", "held", "fits"),
    [
        ('"*"', {"version": "==1.0", "index": "pypi"}, True),
        ('"<1"', {"version": "==1.0"}, False),
        ('"*"', GIT, False),
        ('{ git = "https://host.example/tool.git", ref = "main" }', GIT, True),
        ('{ git = "https://host.example/tool.git" }', GIT, True),
        ('{ git = "https://host.example/other.git", ref = "main" }', GIT, False),
        ('{ git = "https://host.example/tool.git", ref = "main" }', {"version": "==1.0"}, False),
        ('{ version = "*", index = "ours" }', {"version": "==1.0", "index": "ours"}, True),
        ('{ version = "*", index = "ours" }', {"version": "==1.0", "index": "pypi"}, False),
        ('{ version = "*", extras = ["a"] }', {"version": "==1.0", "extras": ["a"]}, True),
        ('{ version = "*", extras = ["a", "b"] }', {"version": "==1.0", "extras": ["a"]}, False),
        ('{ path = "./libs/tool", editable = true }', {"path": "./libs/tool", "editable": True}, True),
        ('{ path = "./libs/tool" }', {"version": "==1.0"}, False),
    ],
)
def test_a_package_in_another_form_than_the_pipfile_says(
    tmp_path: Path, wanted: str, held: dict[str, Any], fits: bool
) -> None:
    sources = [{"name": name, "url": f"https://{name}.example/simple"} for name in ("pypi", "ours")]
    lock = {"_meta": {"sources": sources, "hash": {"sha256": "0"}}, "default": {"tool": held}}
    (tmp_path / "Pipfile.lock").write_text(json.dumps(lock))
    (tmp_path / "Pipfile").write_text(f"[packages]\ntool = {wanted}\n")
    if fits:
        assert "tool" in resolved(lock_of(tmp_path))
        return
    with pytest.raises(UsageError, match="is not up to date with the Pipfile: it does not hold tool"):
        resolved(lock_of(tmp_path))
