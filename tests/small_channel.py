"""A channel of small packages, and a cache of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conda_channel import PLACEHOLDER, CondaPackage, make_channel, python_module

PACKAGES = (
    CondaPackage(
        name="python", version="3.11.2", build="0_cpython", depends=("libstub >=1", "__glibc >=2.17"),
        files={
            "bin/python3.11": "#!/bin/sh\n", "bin/python": ("python3.11",), "lib/python3.11/os.py": "x = 1\n",
            # Byte code with the time of its source: a number for Python's version, flags, time, size.
            "lib/python3.11/__pycache__/os.cpython-311.pyc": b"\xa7\r\r\n\0\0\0\0\1\2\3\4\5\6\7\x08code",
        },
    ),
    CondaPackage(name="libstub", version="1.2", files={"bin/stub": f"#!/bin/sh\necho {PLACEHOLDER}\n"}),
    CondaPackage(
        name="linked", version="3.0",
        files={
            "bin/.linked-post-link.sh": "exit 1\n", "share/linked": "linked\n",
            "etc/conda/activate.d/linked.sh": (
                'export _OLD=$X\nexport LINKED_DATA="$CONDA_PREFIX/share"\nexport OTHER=$(x)\n'
            ),
        },
    ),
    python_module("hello", "def main(): print('hello')\n", version="2.1"),
    python_module("old", "def main(): pass\n", version="0.1", depends=("python <3.9",)),
)  # fmt: skip


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel of four packages."""
    return make_channel(tmp_path_factory.mktemp("channel"), PACKAGES)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "cache" / "ocicaliban" / "conda"
