"""Requirements in uv's form, and which of them an image installs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.locked_requirements import (
    declared_hashes,
    entries,
    installable,
    with_declared_hashes,
)
from ocicaliban.errors import UsageError

ROOT = Path("/home/me/my project")
SIX = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def test_entries_keep_their_hashes() -> None:
    assert entries(f"# a remark\n{SIX}\nidna==3\n") == (SIX, "idna==3\n")


@pytest.mark.parametrize(
    "own", ["-e .", ".", "./", "demo @ file:///home/me/my%20project", "-e file:///home/me/my%20project", "lib/.."]
)
def test_the_project_itself_is_not_installed(own: str) -> None:
    if own == "lib/..":
        own = "./lib/.."
    assert installable(f"{own}\n{SIX}", ROOT) == SIX


@pytest.mark.parametrize("other", ["./lib", "-e ./lib", "lib @ file:///elsewhere/lib", "/elsewhere/lib", "../lib"])
def test_another_folder_has_no_hash(other: str) -> None:
    with pytest.raises(UsageError, match="is a folder, and has no hash"):
        installable(f"{other}\n", ROOT)


def test_version_control_has_no_hash() -> None:
    with pytest.raises(UsageError, match="comes from version control"):
        installable("x @ git+https://example.org/x@1d\n", ROOT)


def test_an_archive_with_its_hash_is_installed() -> None:
    remote = "y @ https://example.org/y-1.zip \\\n    --hash=sha256:bb\n"
    assert installable(remote, ROOT) == remote


@pytest.mark.parametrize(
    ("head", "links"),
    [
        ("./wheels/x-1-py3-none-any.whl", "wheels"),
        ("x @ file:///home/me/my%20project/x-1.tar.gz", "."),
        ("x @ file:///elsewhere/x-1.zip", "/elsewhere"),
    ],
)
def test_an_archive_of_this_machine_is_refused_with_the_way_to_name_it(head: str, links: str) -> None:
    with pytest.raises(UsageError, match="is a file on this machine") as caught:
        installable(f"{head} \\\n    --hash=sha256:aa\n", ROOT)
    assert f"'--find-links {links}'" in caught.value.hint


def test_of_the_hashes_those_that_are_declared_are_kept() -> None:
    other = "idna==3 \\\n    --hash=sha256:cc\n"
    text = "Six [x] == 1.17.0 \\\r\n  --hash=sha256:BB --hash sha256:ff # sdist\nidna\n"
    declared = declared_hashes([text, "six --hash=sha256:ee ; python_version < '3'"])
    assert declared == {"six": {"sha256:bb", "sha256:ee", "sha256:ff"}}
    assert with_declared_hashes(SIX + other, declared) == "six==1.17.0 \\\n    --hash=sha256:bb\n" + other
    assert with_declared_hashes(SIX + other, {}) == SIX + other


def test_a_package_without_any_declared_hash_is_refused() -> None:
    declared = declared_hashes(["six==1.17.0 --hash=sha256:00\n"])
    with pytest.raises(UsageError, match=r"no archive of six==1\.17\.0 has a hash that"):
        with_declared_hashes(SIX, declared)
