"""The measures of the cloud can be taken; whether they keep their limits is for who has a quiet machine."""

import json
import subprocess
import sys

from tests.integration.program import REPOSITORY, environment


def test_the_measures_of_the_cloud_are_taken_and_an_edit_pushes_its_layer_alone() -> None:
    argv = [sys.executable, "-m", "tests.bench", "submit", "cloud-edited", "push-bytes", "--runs", "1", "--json"]
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, 1), done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert set(found) == {"submit", "cloud-edited", "push-bytes"}
    assert found["push-bytes"]["met"], found["push-bytes"]  # bytes, which no clock tells
