"""Requirements in uv's form, and which of them an image installs."""

from __future__ import annotations

import pytest

from ocicaliban.dependencies.locked_requirements import (
    declared_hashes,
    entries,
    heads,
    name,
    origins,
    version,
    with_declared_hashes,
    with_origins,
    without_origins,
)
from ocicaliban.errors import UsageError

SIX = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def test_entries_keep_their_hashes() -> None:
    assert entries(f"# a remark\n{SIX}\nidna==3\n") == (SIX, "idna==3\n")


def test_of_the_hashes_those_that_are_declared_are_kept() -> None:
    other = "idna==3 \\\n    --hash=sha256:cc\n"
    text = "Six [x] == 1.17.0 \\\r\n  --hash=sha256:BB --hash sha256:ff # sdist\nidna\n"
    declared = declared_hashes([text, "six --hash=sha256:ee ; python_version < '3'"])
    assert declared == {"six": {"sha256:bb", "sha256:ee", "sha256:ff"}}
    assert with_declared_hashes(SIX + other, declared) == "six==1.17.0 \\\n    --hash=sha256:bb\n" + other
    assert with_declared_hashes(SIX + other, {}) == SIX + other
    assert declared_hashes(["s\\\nix \\\n==1.17.0 \\\n --hash=sha256:bb\n"]) == {"six": {"sha256:bb"}}


def test_a_package_without_any_declared_hash_is_refused() -> None:
    declared = declared_hashes(["six==1.17.0 --hash=sha256:00\n"])
    with pytest.raises(UsageError, match=r"no archive of six==1\.17\.0 has a hash that"):
        with_declared_hashes(SIX, declared)


def test_the_index_of_an_entry() -> None:
    text = (
        "six==1 \\\n    --hash=sha256:aa\n    # from a=https://a/simple\n"
        "torch==2+cpu ; sys_platform == 'linux' \\\n    --hash=sha256:bb\n    # from https://t/cpu\n"
        "torch==2 ; sys_platform == 'darwin'\n    # from https://d/simple\n"
        "x @ https://h/x.whl\n"
    )
    assert origins(text, {"sys_platform": "linux"}) == {"six": "a=https://a/simple", "torch": "https://t/cpu"}
    plain = without_origins(text)
    assert "# from" not in plain and len(entries(plain)) == 4
    assert with_origins(plain, lambda entry: "https://o" if name(entry) == "six" else "") == plain.replace(
        "sha256:aa\n", "sha256:aa\n    # from https://o\n"
    )
    assert heads(plain)[1] == "torch==2+cpu ; sys_platform == 'linux'"
    assert [version(entry) for entry in entries(plain)] == ["1", "2+cpu", "2", ""]
