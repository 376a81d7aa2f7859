"""Integration tests need real tools: they must run under `./bootstrap test`, and are left out elsewhere."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import configuration, settings
from xdist.scheduler import LoadScopeScheduling

STRICT = os.environ.get("OCICALIBAN_TEST_STRICT") == "1"
"""Whether the integration tests run: in the test container, and where somebody asks for them."""


# A worker of pytest-xdist has these from the readline library; tests of terminals choose their own size.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

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

TESTS = Path(__file__).parent

LIMITS = {"unit": 120, "integration": 900}
"""After how many seconds a test has hung: many times what the slowest takes, since machines differ and may be busy."""

WITHOUT_CONTAINERS = ("test_expand", "test_git", "test_history")
"""Files of integration tests that start no container."""


class ContainersTogether(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives all tests with containers to one process of pytest-xdist, and each file of the others to any.

    Tests with containers count them, remove images and kill podman's processes, so two cannot run at a time. A store
    for each process does not help: a new one frees the locks of the others, and with locks in files podman's own
    service was seen to take a container that runs for one that has ended (podman 4.3).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        together = file.parent.name == "integration" and file.stem not in WITHOUT_CONTAINERS
        return "containers" if together else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Return what divides the tests among the processes; None for what the command line says."""
    return ContainersTogether(config, log) if STRICT else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit each test's time, and skip the integration tests outside the test container."""
    reason = "needs the test container; run ./bootstrap test (or set OCICALIBAN_TEST_STRICT=1)"
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in LIMITS and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMITS[kind]))
        if kind == "integration" and not STRICT:
            item.add_marker(pytest.mark.skip(reason=reason))
