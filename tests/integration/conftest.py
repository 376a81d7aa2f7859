"""What the integration tests share: one base in the store, bootstrapped once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ocicaliban.emulator.identity import ServerCertificate

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def base_lock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lock of a project that has nothing but the bootstrapped base, which is made once."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "ocicaliban.toml").write_text('[layers.base]\nbootstrap = "debian:bookworm"\n')
    done = subprocess.run(
        [sys.executable, "-m", "ocicaliban", "build", "--nogpu"], cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lock = (folder / "ocicaliban.lock").read_text()
    assert "[base.cpu]" in lock
    return lock


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> "ServerCertificate":
    """What all emulators of this process are trusted by: gRPC reads it only once."""
    from ocicaliban.emulator import identity

    return identity.create_certificate(tmp_path_factory.mktemp("certificate"))
