"""Write the jobs of a report to an MLflow server or folder. The only module that knows MLflow."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ocicaliban.errors import OcicalibanError, first_line
from ocicaliban.history.url import without_password
from ocicaliban.model.job import Job, Status
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.report import Report
from ocicaliban.reports.values import as_number, exact

KEY = "ocicaliban.key"
"""The tag by which the run of a job is found again."""
_STATUSES: Mapping[Status, str] = {
    "succeeded": "FINISHED", "failed": "FAILED", "lost": "FAILED", "stopped": "KILLED", "queued": "SCHEDULED",
    "pending": "SCHEDULED", "running": "RUNNING",
}  # fmt: skip
_NAMES = re.compile(r"[^\w\-. :/]")
_LONGEST = 6000  # characters of a parameter's value
_TAG = 5000
_METRICS, _PARAMETERS, _TAGS = 1000, 100, 100  # that one request may have


def write(uri: str, report: Report, metrics: Mapping[int, Metrics]) -> tuple[int, int]:
    """Write each job of a report as a run of the experiment with the group's name; return how many are new, and known.

    A run that is there already, of a job that had ended, is left as it is. Raises OcicalibanError if MLflow is not
    installed or does not answer.
    """
    try:
        # MLflow asks again and again for minutes if a server is not there.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as exc:
        raise OcicalibanError(
            "--to mlflow needs the package mlflow-skinny, which is not installed",
            "install ocicaliban with the extra `mlflow`",
        ) from exc
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(report.group)
        experiment = found.experiment_id if found else client.create_experiment(report.group)
        known = _known(client, experiment)
        new = 0
        for row in report.rows:
            status = _STATUSES[row.job.status]
            if (old := known.get(row.job.key)) is not None:
                if old.info.status == status and row.job.last and row.job.last.ended:
                    continue
                client.delete_run(old.info.run_id)
            _write_run(client, experiment, row.job, metrics.get(row.job.id) or Metrics(), _tags(report, row.job))
            new += 1
    except (MlflowException, OSError) as exc:
        raise OcicalibanError(
            without_password(f"MLflow at {uri} refuses") + without_password(f": {first_line(exc)}"),
            "check the address: http://HOST:PORT of an `mlflow server`",
        ) from exc
    return new, len(report.rows) - new


def _known(client: Any, experiment: str) -> dict[str, Any]:
    """Return the runs of ours in an experiment, by the keys of their jobs."""
    runs: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{KEY}` != ''", max_results=1000, page_token=token)
        runs.update({run.data.tags[KEY]: run for run in page})
        token = page.token
        if not token:
            return runs


def _write_run(client: Any, experiment: str, job: Job, found: Metrics, tags: Mapping[str, str]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    began = int(1000 * (job.last.started if job.last else job.submission.created))
    run = client.create_run(experiment, start_time=began, run_name=f"job {job.id}").info.run_id
    parameters = [Param(_name(name), exact(value)[:_LONGEST]) for name, value in job.parameters]
    points = [Metric(name, value, at, step) for name, value, at, step in _points(job, found, began)]
    labels = [RunTag(name, value[:_TAG]) for name, value in tags.items()]
    for some in _portions(parameters, _PARAMETERS):
        client.log_batch(run, params=some)
    for some in _portions(labels, _TAGS):
        client.log_batch(run, tags=some)
    for some in _portions(points, _METRICS):
        client.log_batch(run, metrics=some)
    status = _STATUSES[job.status]
    ended = int(1000 * job.last.ended) if job.last and job.last.ended else None
    client.set_terminated(run, status, ended) if ended else client.update_run(run, status)


def _points(job: Job, found: Metrics, began: int) -> Iterator[tuple[str, float, int, int]]:
    """Yield the name, the value, the time (milliseconds since 1970) and the step of each value of a metric."""
    ended = int(1000 * job.last.ended) if job.last and job.last.ended else began
    for name, curve in found.curves.items():
        last = max(1, len(curve.steps) - 1)
        for number, (step, value) in enumerate(zip(curve.steps, curve.values, strict=True)):
            if math.isfinite(value):
                yield _name(name), value, began + (ended - began) * number // last, int(step)
    for name, result in found.results.items():
        own = None if isinstance(result, bool) else as_number(result)
        if own is not None and math.isfinite(own) and name not in found.curves:
            yield _name(name), float(own), ended, 0


def _tags(report: Report, job: Job) -> dict[str, str]:
    made = job.submission
    command = next((source.command for source in report.sources), "")
    tags = {
        KEY: job.key,
        "ocicaliban.job": str(job.id),
        "ocicaliban.group": made.group,
        "ocicaliban.image": made.image,
        "ocicaliban.host": made.host,
        "ocicaliban.status": job.status,
        "ocicaliban.dirty": str(made.dirty).lower() if made.commit else "",
        "mlflow.user": made.user,
        "mlflow.source.name": command or made.module,
        "mlflow.source.git.commit": made.commit,
    }
    return {name: value for name, value in tags.items() if value}


def _name(text: str) -> str:
    """Return a name that MLflow takes."""
    return _NAMES.sub("_", text)[:250] or "_"


def _portions(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
