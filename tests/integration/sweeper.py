"""Runs or takes up a submission, in a process that can be killed: `python -m tests.integration.sweeper ID [JOBS]`."""

import functools
import sys

from ocicaliban.containers import podman_api
from ocicaliban.execution import runner
from ocicaliban.execution.progress import Progress, summary
from ocicaliban.execution.scheduler import slots
from ocicaliban.history import access
from ocicaliban.targets.local.runner import LocalRunner, Setup


def main(number: int, jobs: int) -> int:
    with access.open() as opened:
        (submission,) = opened.submissions(ids=[number])
        image = submission.image
        with podman_api.connected(image) as connection, Progress(places=jobs) as progress:
            connect = functools.partial(LocalRunner, connection, Setup(image=image, launch=submission.launch))
            options = runner.Options(places=slots((), jobs), retries=int(sys.argv[3]) if sys.argv[3:] else 0)
            outcome = runner.resume(opened, submission, connect, options, progress)
    print("\n".join(summary(submission.group, outcome, progress.failed)), file=sys.stderr)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
