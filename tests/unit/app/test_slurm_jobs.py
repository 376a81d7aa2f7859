"""Jobs of a cluster that are left, or run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from ocicaliban.app import slurm_jobs
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Submission
from ocicaliban.targets.slurm import client, clusters, options
from ocicaliban.targets.slurm.options import Options

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_jobs_of_another_cluster_stay_as_they_are(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "cluster", lambda: client.Cluster(name="here"))
    recorded = {**submission.options, options.KEY: options.to_record(Options()), clusters.CLUSTER: "there"}
    made = world.submit(evolve(submission, target="slurm", options=recorded), ("1",), ("2",))
    world.end(1, "failed", exit_code=1)
    backend: Any = None  # which is not asked
    with world.history() as history, pytest.raises(UsageError, match="is for the cluster there, and this is here"):
        slurm_jobs.resubmit(history, [*history.jobs(ids=[1])], backend, rebuild=False)
    with world.history() as history, pytest.raises(UsageError, match="is for the cluster there, and this is here"):
        slurm_jobs.resume(history, made, backend)
    assert world.statuses() == ["failed", "queued"] and {job.submission.id for job in world.jobs()} == {made.id}
