"""What jobs ask Slurm for: the settings of the user and of the project, and the command line above them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import asdict, evolve

from ocicaliban.app import job_checks
from ocicaliban.app.requests import JobsRequest, RunRequest, SlurmRequest
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import place, structure
from ocicaliban.model.job import Submission
from ocicaliban.model.resources import parse_resources
from ocicaliban.project import config, user_config
from ocicaliban.system import files
from ocicaliban.targets.slurm import clusters
from ocicaliban.targets.slurm import jobs as jobs_at_slurm
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.backend import TARGET
from ocicaliban.targets.slurm.given import Given
from ocicaliban.targets.slurm.options import Options

_HINT = "see docs/hpc.md"


def options(root: Path, jobs: JobsRequest, wanted: SlurmRequest) -> Options:
    """Return the options for jobs of the project in `root`. Raises UsageError for one that is not valid."""
    user_path = files.config() / user_config.NAME
    made: dict[str, object] = {}
    places: dict[str, str] = {}
    own_path, above = config.settings_file(root)
    for path, tables, before in (
        (user_path, user_config.load_user_config().targets, ()),
        (own_path, config.load_project(root).targets, above),
    ):
        table = tables.get(slurm_options.KEY, {})
        keys = (*before, "targets", slurm_options.KEY)
        text = path.read_text(encoding="utf-8", errors="replace") if table else ""
        read = structure(table, Options, path=path, text=text, keys=keys)
        made |= {name: getattr(read, name) for name in table}
        places |= {name: f"{place(path, text, (*keys, name))}: {name}" for name in table}
    given = _given(jobs, wanted)
    if "gpus" in given or "gres" in given:  # one replaces the other
        made = {name: value for name, value in made.items() if name not in ("gpus", "gres")}
    whole = Options(**{**made, **given})  # type: ignore[arg-type]
    return slurm_options.checked(whole, lambda name: name if name in given else places.get(name, name))


def _given(jobs: JobsRequest, wanted: SlurmRequest) -> Mapping[str, object]:
    """Return the options of the command line that were given."""
    cpus = jobs.cpus
    parse_resources(cpus, "")  # neither infinite nor no number at all
    if cpus is not None and cpus != int(cpus):
        raise UsageError(f"--cpus {cpus:g}: Slurm gives whole cores only", f"for example --cpus {int(cpus) + 1}")
    values = {
        **{name: value for name, value in asdict(wanted).items() if name not in ("wait", "slurm_args")},
        "slurm_args": slurm_options.split_args(wanted.slurm_args),
        "jobs": jobs.jobs,
        "gpus": jobs.gpus_per_job,
        "cpus": None if cpus is None else int(cpus),
        "memory": jobs.memory,
        "retries": jobs.retries or None,
    }
    return {name: value for name, value in values.items() if value not in ("", None, ())}


def submission(made: Submission, asked: Options, wanted: Given, cluster: str) -> Submission:
    """Return a submission of a `run` as one to a cluster, with the mounts and the folder that the user gives."""
    launch = evolve(
        made.launch, mounts=(*made.launch.mounts, *wanted.mounts), workdir=wanted.workdir or made.launch.workdir
    )
    recorded = {
        **made.options,
        slurm_options.KEY: slurm_options.to_record(asked),
        clusters.CLUSTER: cluster,
        jobs_at_slurm.LOG_LIMIT: job_checks.log_limit(made),
    }
    return evolve(made, target=TARGET, launch=launch, options=recorded)


def wants_gpus(options: Options) -> bool:
    """Return whether the jobs ask for GPUs, as far as we can tell."""
    words = " ".join(options.slurm_args)
    return bool(options.gpus or "gpu" in options.gres or "gpu" in words)


def check(request: RunRequest) -> None:
    """Raise UsageError for options of `run` that jobs at Slurm do not have."""
    launch, jobs = request.launch, request.jobs
    for option, given, hint in (
        ("--cloud-key", launch.cloud_key, "put the key's folder where the nodes see it"),
        ("--gpus", launch.gpus, "Slurm chooses them: --gpus-per-job 1, or [targets.slurm] gres"),
        ("--fail-fast", jobs.fail_fast, f"ocicaliban stop --group GROUP ends the rest; {_HINT}"),
    ):
        if given:
            raise UsageError(f"{option} is not for --target slurm", hint)
    if jobs.retries < 0:
        raise UsageError(f"--retries {jobs.retries}: a negative number", "for example --retries 2")
