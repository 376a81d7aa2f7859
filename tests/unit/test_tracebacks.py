"""The check of the cases and of the public projects, whose output has tracebacks of other programs."""

from tests import tracebacks

HEAD = "Traceback (most recent call last):\n  "


def test_a_traceback_of_ours_is_told_from_that_of_a_build() -> None:
    assert tracebacks.of_ours(f'{HEAD}File "/opt/venv/lib/ocicaliban/targets/local/runner.py", line 1, in start')
    assert tracebacks.of_ours(f'{HEAD}File "ocicaliban/__main__.py", line 1')
    assert not tracebacks.of_ours(f'{HEAD}File "/dev/oc-cache/ocicaliban/e2a8/builds-v0/.tmp/setuptools/__init__.py"')
    assert not tracebacks.of_ours('File "ocicaliban/__main__.py" is not a traceback')
