"""Integration tests need real tools: they must run under `./bootstrap test`, and are left out elsewhere."""

import gc
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import configuration, settings
from xdist.scheduler import LoadFileScheduling

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

LONGEST_FIRST = (
    "test_cloud", "test_cases", "test_documentation", "test_vertex", "test_base_forms",
    "test_promises", "test_conda", "test_jobs", "test_push", "test_one_uid", "test_slurm", "test_python",
    "test_sweep", "test_emulator", "test_publish", "test_gpu", "test_history", "test_recipes", "test_bench",
    "test_notebook", "test_packages",
)  # fmt: skip
"""The files of integration tests that take longest, as `pytest --durations=200` shows them. The others come last."""

LIMITS = {"unit": 120, "integration": 900}
"""After how many seconds a test has hung: many times what the slowest takes, since machines differ and may be busy."""


def pytest_collection() -> None:
    """Let the collection, which makes only what stays, not be searched for garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let what the collection has made not be searched for garbage from now on."""
    gc.freeze()
    gc.enable()


def pytest_configure_node(node: Any) -> None:
    """Let a process that runs as another user have its folder beside those of the others."""
    node.config._tmp_path_factory.getbasetemp().chmod(0o1777)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Return what divides the tests among the processes; None for what the command line says."""
    if not STRICT:
        return None
    # Our own order, not by the number of tests.
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit each test's time. Order the integration tests; skip them outside the test container."""
    reason = "needs the test container; run ./bootstrap test (or set OCICALIBAN_TEST_STRICT=1)"
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in LIMITS and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMITS[kind]))
        if kind == "integration" and not STRICT:
            item.add_marker(pytest.mark.skip(reason=reason))
    if STRICT:
        # The longest first, so that no process is left with a long file at the end.
        places = {name: place for place, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: places.get(item.path.stem, len(places)))
