"""Integration tests need real tools: they must run under `./bootstrap test`, and are left out elsewhere."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import configuration, settings

# No test depends on the clock: a busy machine must not turn one red.
# A few examples each time, and others the next; `--hypothesis-profile thorough` is for who changes what they are about.
settings.register_profile("ocicaliban", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("ocicaliban")

if not os.access(Path.cwd(), os.W_OK):
    # Without a folder hypothesis makes its table of all characters anew in each process, which takes a second.
    configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"hypothesis-{os.getuid()}")

# Before anything imports it: its fork support makes a child hang at times (see gcp.quieten).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# It compares for tests of both kinds; without this a failure would not say what differs.
pytest.register_assert_rewrite("tests.records")

INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("OCICALIBAN_TEST_STRICT") == "1":
        return
    reason = "needs the test container; run ./bootstrap test (or set OCICALIBAN_TEST_STRICT=1)"
    for item in items:
        if item.path.is_relative_to(INTEGRATION):
            item.add_marker(pytest.mark.skip(reason=reason))
