"""pdm.lock: what belongs to an image."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ocicaliban.dependencies import pdm_project
from ocicaliban.dependencies.pdm_lock import PdmLock
from ocicaliban.errors import UsageError
from tests.locks import LOCKS, copied, resolved, versions

ALWAYS = {
    "attrs": "23.2.0",  # of the group lint of [tool.pdm.dev-dependencies]
    "certifi": "2026.10.19.post1",
    "charset-normalizer": "3.5.3",
    "idna": "3.20",
    "iniconfig": "2.0.0",
    "pysocks": "1.7.1",
    "requests": "2.31.0",
    "six": "1.16.0",
    "urllib3": "2.8.0",
}
PLOT = {"tabulate": "0.9.0"}


def lock_of(root: Path) -> PdmLock:
    return PdmLock(root=root, path=root / "pdm.lock")


@pytest.mark.parametrize(
    ("name", "python", "more"),
    [
        ("pdm-inherited", "3.11.2", PLOT),  # locked with `-G plot`, so that `pdm install` installs it
        ("pdm-inherited", "3.10.4", PLOT | {"tomli": "2.5.0"}),
        ("pdm-plain", "3.11.2", {}),
        ("pdm-plain", "3.10.4", {"tomli": "2.5.0"}),
    ],
)
def test_what_pdm_would_install(name: str, python: str, more: dict[str, str]) -> None:
    text = resolved(lock_of(LOCKS / name), python)
    assert versions(text) == ALWAYS | more
    assert (
        "six==1.16.0 \\\n    --hash=sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926 \\\n"
        in text
    )


def test_extras_and_groups() -> None:
    inherited, plain = lock_of(LOCKS / "pdm-inherited"), lock_of(LOCKS / "pdm-plain")
    assert inherited.resolved_extras((), "cpu") == ("plot",)
    assert inherited.resolved_groups(()) == ("lint", "test")
    with pytest.raises(UsageError, match="declares no extra 'plots'"):
        inherited.resolved_extras(("plots",), "cpu")
    with pytest.raises(UsageError, match="declares no group 'docs'"):
        inherited.resolved_groups(("docs",))
    with pytest.raises(UsageError, match=r"pdm\.lock was made without 'plot'") as caught:
        plain.resolved_extras(("plot",), "cpu")
    assert caught.value.hint == "run `pdm lock -G plot`, or -G:all"


def test_the_extra_of_the_other_variant_is_left_out(tmp_path: Path) -> None:
    root = copied("pdm-inherited", tmp_path)
    for name in ("pyproject.toml", "pdm.lock"):
        (root / name).write_text((root / name).read_text().replace("plot", "gpu"))
    lock = lock_of(root)
    assert lock.resolved_extras((), "cpu") == ()
    assert lock.resolved_extras(("gpu",), "cpu") == ("gpu",)
    assert lock.resolved_extras((), "gpu") == ("gpu",)


def test_a_lock_that_is_out_of_date_or_damaged(tmp_path: Path) -> None:
    root = copied("pdm-inherited", tmp_path)
    manifest, lock = root / "pyproject.toml", root / "pdm.lock"
    before = lock.read_text()
    for old, new, message in (
        ('lock_version = "4.5.1"', 'lock_version = "2.0"', r"version '2\.0'"),
        ('name = "six"', "names = 6", "damaged"),
        ("[metadata]", "[metadata", "not valid TOML"),
    ):
        lock.write_text(before.replace(old, new, 1))
        with pytest.raises(UsageError, match=message):
            resolved(lock_of(root))
    lock.write_text(before)
    assert not lock_of(root).is_out_of_date()
    manifest.write_text(manifest.read_text().replace("six<1.17", "six"))
    assert lock_of(root).is_out_of_date()
    assert versions(resolved(lock_of(root))) == ALWAYS | PLOT  # the locked packages fit all the same
    manifest.write_text(manifest.read_text().replace('"six"', '"six>=1.17"'))
    with pytest.raises(UsageError, match=r"pdm\.lock is not up to date with pyproject\.toml") as caught:
        resolved(lock_of(root))
    assert caught.value.hint == "run `pdm lock`"
    manifest.unlink()
    with pytest.raises(UsageError, match=r"no pyproject\.toml beside it"):
        resolved(lock_of(root))


def test_a_lock_whose_digest_is_of_more_files_is_compared_by_its_packages(tmp_path: Path) -> None:
    root = copied("pdm-inherited", tmp_path)
    manifest, lock = root / "pyproject.toml", root / "pdm.lock"
    lock.write_text(lock.read_text().replace("[metadata]", "[metadata]\nlock_inputs = {}", 1))
    before = manifest.read_text()
    assert versions(resolved(lock_of(root))) == ALWAYS | PLOT
    for wanted, missing in (('"six>=1.17"', "six>=1.17"), ('"six", "toolz"', "toolz")):
        manifest.write_text(before.replace('"six<1.17"', wanted))
        with pytest.raises(UsageError, match=f"it does not hold {missing}"):
            resolved(lock_of(root))
    manifest.write_text(before.replace('"six<1.17"', '"six", "a-member"') + '[tool.pdm.workspace]\nmembers = ["x"]\n')
    assert versions(resolved(lock_of(root))) == ALWAYS | PLOT


FOREIGN = """
[metadata]
groups = ["default"]
strategy = [STRATEGY]
lock_version = "4.5.0"
content_hash = "sha256:HASH"
[[package]]
name = "nets"
path = "./libs/nets"
editable = true
groups = ["default"]
[[package]]
name = "study"
path = "."
groups = ["default"]
[[package]]
name = "tools"
git = "https://host.example/group/tools.git"
ref = "main"
revision = "0123456789012345678901234567890123456789"
groups = ["default"]
dependencies = ["far"]
[[package]]
name = "far"
url = "https://host.example/far.whl"
files = [{url = "https://host.example/far.whl", hash = "sha256:aa"}]
groups = ["default"]
"""
MANIFEST = """
[project]
name = "study"
version = "1"
dependencies = ["nets @ file:///${PROJECT_ROOT}/libs/nets", "tools @ git+https://host.example/group/tools.git@main"]
"""


@pytest.mark.parametrize("strategy", ['"inherit_metadata"', ""])
def test_packages_that_are_not_from_an_index(strategy: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(MANIFEST)
    digest = next(iter(pdm_project.content_hashes(tomllib.loads(MANIFEST))))
    (tmp_path / "pdm.lock").write_text(FOREIGN.replace("HASH", digest).replace("STRATEGY", strategy))
    assert resolved(lock_of(tmp_path)) == (
        "far @ https://host.example/far.whl \\\n    --hash=sha256:aa\n"
        "-e ./libs/nets\n"
        "tools @ git+https://host.example/group/tools.git@0123456789012345678901234567890123456789\n"
    )


def test_groups_that_include_others() -> None:
    raw = tomllib.loads(
        '[dependency-groups]\na = ["six", {include-group = "B"}]\nb = ["attrs"]\nc = [{include-group = "c"}]\n'
        'd = [{include-group = "x"}]\n[tool.pdm.dev-dependencies]\nb = ["-e file:///${PROJECT_ROOT}/libs/x"]\n'
    )
    assert pdm_project.group_lines(raw, "a") == ["six", "attrs", "-e file:///${PROJECT_ROOT}/libs/x"]
    for group, message in (("c", "includes itself"), ("d", "'d' includes 'x', which does not exist")):
        with pytest.raises(UsageError, match=message):
            pdm_project.group_lines(raw, group)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("six", None),
        ("far @ https://host.example/far.whl", None),
        ("-e file:///${PROJECT_ROOT}/libs/x#egg=x", ("libs/x", True)),
        ("x @ file:///${PROJECT_ROOT}/libs/x ; python_version > '3'", ("libs/x", False)),
        ("-e ./libs/x", ("./libs/x", True)),
        ("x @ file:///home/ada/study/libs/x", ("libs/x", False)),
        ("x @ file:///opt/x", ("/opt/x", False)),
        ("-e git+https://host.example/x.git#egg=x", None),
    ],
)
def test_requirements_that_are_folders(line: str, expected: tuple[str, bool] | None) -> None:
    assert pdm_project.local_path(line, Path("/home/ada/study")) == expected
