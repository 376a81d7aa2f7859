"""pylock.toml: what applies to an image."""

from __future__ import annotations

import tomllib

import pytest

from ocicaliban.dependencies.pylock import applicable
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

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


def test_a_pylock_gives_what_applies_to_the_image() -> None:
    raw = tomllib.loads(PYLOCK)
    own = ".\n"  # the project itself, which `installable` leaves out
    assert applicable(raw, BASE, ()) == SIX + own
    assert applicable(raw, BASE, ("gpu",)) == SIX + "for-gpu==1 \\\n    --hash=sha256:dd\n" + own


def test_a_pylock_that_does_not_fit() -> None:
    raw = tomllib.loads(PYLOCK)
    with pytest.raises(UsageError, match="declares no extra 'plot'"):
        applicable(raw, BASE, ("plot",))
    with pytest.raises(UsageError, match=r"requires Python >=3\.12, but the base image has 3\.11\.2"):
        applicable({**raw, "requires-python": ">=3.12"}, BASE, ())
    with pytest.raises(UsageError, match="is not valid"):
        applicable({"lock-version": "1.0"}, BASE, ())
