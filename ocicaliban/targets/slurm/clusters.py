"""Which jobs are at the cluster whose commands we have: several clusters may have the same home folders."""

from __future__ import annotations

from collections.abc import Sequence

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Job, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.slurm import client
from ocicaliban.targets.slurm.client import Cluster

CLUSTER = "cluster"
"""The option of a submission with the name of its cluster."""


def checked(submission: Submission) -> Cluster:
    """Return this cluster. Raises UsageError if a submission is for another one."""
    cluster = client.cluster()
    if _is_elsewhere(submission, cluster):
        name = submission.options[CLUSTER]
        raise UsageError(
            f"{submission.group} is for the cluster {name}, and this is {cluster.name}",
            f"give the same command on a machine of {name}",
        )
    return cluster


def here(jobs: Sequence[Job], reporter: Reporter) -> Sequence[Job]:
    """Return the jobs that are not at another cluster, and name the groups of the others."""
    if not any(job.submission.options.get(CLUSTER) for job in jobs):
        return jobs
    cluster = client.cluster()
    others = {job.submission.id: job.submission for job in jobs if _is_elsewhere(job.submission, cluster)}
    for each in {each.group: each for each in others.values()}.values():
        reporter.note(f"{each.group} is at the cluster {each.options[CLUSTER]}; this is {cluster.name}")
    return [job for job in jobs if job.submission.id not in others]


def _is_elsewhere(submission: Submission, cluster: Cluster) -> bool:
    name = submission.options.get(CLUSTER)
    return bool(name and cluster.name) and name != cluster.name
