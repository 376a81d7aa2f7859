"""Integration tests need real tools: they must run under `./bootstrap test`, and are left out elsewhere."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import configuration, settings

STRICT = os.environ.get("OCICALIBAN_TEST_STRICT") == "1"
"""Whether the integration tests run: in the test container, and where somebody asks for them."""


def _live_apart(worker: str) -> None:
    """Give this worker of pytest-xdist a home and a runtime folder, and so an image store, of its own.

    Integration tests count containers, remove images and kill podman's processes. Workers that shared a store would
    meet each other's. The home lies where the user's images are, since native overlay needs such a file system; of an
    earlier run it keeps the images alone.
    """
    users = Path.home() / ".config" / "containers"
    home = Path.home() / ".local" / "share" / "containers" / "workers" / worker
    images = home / ".local" / "share" / "containers"
    images.mkdir(parents=True, exist_ok=True)
    for folder in (home, home / ".local", home / ".local" / "share"):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                if not images.is_relative_to(path):
                    shutil.rmtree(path)
            else:
                path.unlink()
    if users.is_dir():
        shutil.copytree(users, home / ".config" / "containers")
    # By default podman keeps its locks in memory that all stores of a user share, and a new store frees all of them.
    settings = home / ".config" / "containers" / "containers.conf.d" / "locks.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text('[engine]\nlock_type = "file"\n')
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / worker
    runtime.mkdir(mode=0o700, exist_ok=True)
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        os.environ.pop(f"XDG_{name}_HOME", None)
    os.environ |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}


# A worker of pytest-xdist has these from the readline library; tests of terminals choose their own size.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

if STRICT and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    _live_apart(worker)

# No test depends on the clock: a busy machine must not turn one red.
# Each run tries a few examples, others than the last. `--hypothesis-profile thorough` tries many, after a change of
# the code that they are about.
settings.register_profile("ocicaliban", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("ocicaliban")

if not os.access(Path.cwd(), os.W_OK):
    # Without a folder each process of hypothesis makes its table of all characters again, which takes a second.
    configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"hypothesis-{os.getuid()}")

# Set before anything imports gRPC: its fork support makes a child hang at times (see google_auth.quieten).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Its assertions serve tests of both kinds; without this a failure would not say what differs.
pytest.register_assert_rewrite("tests.records")

INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the integration tests outside the test container."""
    if STRICT:
        return
    reason = "needs the test container; run ./bootstrap test (or set OCICALIBAN_TEST_STRICT=1)"
    for item in items:
        if item.path.is_relative_to(INTEGRATION):
            item.add_marker(pytest.mark.skip(reason=reason))
