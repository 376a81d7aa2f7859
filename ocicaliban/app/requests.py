"""What a use case is asked for: frozen types that a command fills from its options, field by field.

A field has the name of the command's parameter, so that `cli.options.request` can fill it. A field with a
`key` is kept in the history too, under that key (see `jobs/records`).
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ocicaliban.jobs.records import key

Settings = Mapping[str, Mapping[str, object]]
"""Parameters of recipes, by the recipe's name."""


@frozen(kw_only=True)
class ImageRequest:
    """Which image to make: the mode, what it starts, extras of the project and folders of data in layers of their own.

    `with_groups` are dependency groups of the project, in addition to those that it installs by default.
    `allow_secrets` are files that may contain credentials.
    `folder` is the current folder, relative to the project; the other paths are relative to it. With `no_cache`
    every layer is built again, and a base image that no lock pins is pulled again.
    """

    mode: str = field(metadata=key("mode"))
    module: str = field(default="", metadata=key("module"))
    extras: tuple[str, ...] = field(default=(), metadata=key("extras"))
    with_groups: tuple[str, ...] = field(default=(), metadata=key("with_groups"))
    dirs: tuple[str, ...] = field(default=(), metadata=key("dirs"))
    no_cache: bool = field(default=False, metadata=key("no_cache"))
    allow_secrets: tuple[str, ...] = field(default=(), metadata=key("allow_secrets", brief=True))
    folder: str = field(default="", metadata=key("folder", brief=True))


@frozen(kw_only=True)
class BuildRequest(ImageRequest):
    """An image for this machine.

    `mount` mounts the project instead of copying it. `gpu_wanted` is None to use a GPU if there is one, `gpus` names
    the GPUs. `shell` is the shell that the image must have. `settings` overrides the project's parameters of recipes.
    """

    mount: bool = field(default=False, metadata=key("mount"))
    gpu_wanted: bool | None = field(default=None, metadata=key("gpu_wanted"))
    gpus: str | None = field(default=None, metadata=key("gpus"))
    shell: str = field(default="", metadata=key("shell"))
    settings: Settings = field(factory=dict, metadata=key("settings"))


@frozen(kw_only=True)
class LockRequest(BuildRequest):
    """A lock to write, renew or check.

    With `upgrade`, what `names` stand for is resolved again, or all of it without a name. `scripts` are locked too:
    those with dependencies of their own, and notebooks. A `check` writes nothing.
    """

    mode: str = "build"
    upgrade: bool = False
    names: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    check: bool = False


@frozen(kw_only=True)
class LaunchRequest(BuildRequest):
    """A container of an image that is built for it, or of the image `image_id`.

    `podman_args` are more options for `podman run`, in one text. `cloud_key` is a key file that the container sees.
    `lived_in` says that a person works in the project's folder, as in a shell. `gpu_elsewhere` says that another
    machine, which has a GPU, runs it. With `dry_run` nothing is built. With `share_gpus`, other programs may use the
    same GPUs meanwhile. With `caches` the containers keep what they put into ~/.cache.
    """

    image_id: str = field(default="", metadata=key("image_id"))
    podman_args: str = field(default="", metadata=key("podman_args"))
    cloud_key: str = field(default="", metadata=key("cloud_key"))
    share_gpus: bool = field(default=False, metadata=key("share_gpus", brief=True))
    lived_in: bool = field(default=False, metadata=key("lived_in"))
    caches: bool = field(default=True, metadata=key("caches", brief=True))
    gpu_elsewhere: bool = field(default=False, metadata=key("gpu_elsewhere", brief=True))
    dry_run: bool = field(default=False, metadata=key("dry_run"))


@frozen(kw_only=True)
class JobsRequest:
    """How the jobs of a `run` go.

    `jobs` is how many run at a time, `gpus_per_job` how many GPUs each has alone; None lets the number of GPUs decide.
    `cpus` is in cores; `memory` is a text such as "8g". `retries` is how often a failed job is tried again; with
    `fail_fast` the first job that fails ends the sweep. `out` is the folder that holds the jobs' folders of results.
    """

    group: str = field(default="", metadata=key("group"))
    jobs: int | None = field(default=None, metadata=key("jobs"))
    gpus_per_job: int | None = field(default=None, metadata=key("gpus_per_job"))
    cpus: float | None = field(default=None, metadata=key("cpus"))
    memory: str = field(default="", metadata=key("memory"))
    fail_fast: bool = field(default=False, metadata=key("fail_fast"))
    retries: int = field(default=0, metadata=key("retries"))
    out: str = field(default="", metadata=key("out"))

    @property
    def needs_number(self) -> bool:
        """Whether a single job must have its number before it starts: its group or its /out depends on it."""
        return bool(self.group or self.out)


@frozen(kw_only=True)
class SearchRequest:
    """A search in the ranges of a sweep file, in the words of the command line.

    `search` is "random" or "optuna", `trials` the number of its jobs, `goal` the metric that counts. With `prune`, jobs
    that cannot become good any more are stopped.
    """

    search: str = ""
    trials: int | None = None
    goal: str = ""
    prune: bool = False


@frozen(kw_only=True)
class RunRequest:
    """A `run`: one job, or one for each point of the sweep file `experiment_config` ("stdin" or "-" for stdin).

    `args` go to the script. `sweep_format` is how the parameters of a sweep reach it (see `jobs.expansion.FORMATS`).
    """

    launch: LaunchRequest
    jobs: JobsRequest
    experiment_config: str = ""
    sweep_format: str = "flags"
    search: SearchRequest = field(factory=SearchRequest)
    args: tuple[str, ...] = ()


@frozen(kw_only=True)
class SlurmRequest:
    """What jobs ask Slurm for, in the words of the command line; "" and None are what the settings say.

    `slurm_args` are other options of sbatch, in one text. With `wait`, jobs that the user's limit does not let in are
    tried again. `grace` is in seconds.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    constraint: str = ""
    nodes: int | None = None
    gres: str = ""
    slurm_args: str = ""
    runtime: str = ""
    grace: int | None = None
    wait: bool = False


@frozen(kw_only=True)
class CloudRequest(ImageRequest):
    """Jobs in a Google Cloud project and region, whose image goes to a repository.

    With `image_tag` they run that image, which is in a registry already. `cloud_key` is a key file that logs us in;
    the jobs do not see it. `gpu` says that the machines have a GPU.
    """

    project_id: str = field(default="", metadata=key("project_id"))
    region: str = field(default="", metadata=key("region"))
    repository: str = field(default="", metadata=key("repository"))
    image_tag: str = field(default="", metadata=key("image_tag"))
    group: str = field(default="", metadata=key("group"))
    cloud_key: str = field(default="", metadata=key("cloud_key"))
    tls_verify: bool = field(default=True, metadata=key("tls_verify"))
    gpu: bool = field(default=True, metadata=key("gpu"))


@frozen(kw_only=True)
class MachinesRequest:
    """The machines of jobs in the cloud, and what else the service is told, in the words of the command line.

    `boot_disk` is in gigabytes; `timeout` is a text such as "1h30m"; `max_restarts` is None for the service's own way;
    `label` has texts of the form KEY=VALUE. `force` submits what the table of machines contradicts.
    """

    machine_type: str = ""
    gpu_spec: str = ""
    nogpu: bool = False
    tpu_spec: str = ""
    service_account: str = ""
    network: str = ""
    boot_disk: int | None = None
    spot: bool = False
    timeout: str = ""
    max_restarts: int | None = None
    replicas: int = 1
    label: tuple[str, ...] = ()
    name: str = ""
    output_dir: str = ""
    force: bool = False


@frozen(kw_only=True)
class PushRequest:
    """Where an image is pushed to, and how. `repository` is "" for the configured one."""

    repository: str = ""
    tag: str = "latest"
    compression: str = "gzip"
    tls_verify: bool = True
    cloud_key: str = ""


@frozen(kw_only=True)
class PublishRequest:
    """Which group to publish, and where. `repository` is "" for the configured one, `tag` for the group's name.

    `dirty` publishes jobs of files that no commit has, `without_metrics` jobs whose results are gone. `with_git` adds
    the history of the project's commit, `with_results` the files that the jobs have written. `without_options`
    publishes jobs that had options for podman. `sign_key` is the file of a private key; `crate` is a folder, or a file
    that ends in .zip, that becomes an RO-Crate.
    """

    group: str
    repository: str = ""
    tag: str = ""
    tls_verify: bool = True
    dirty: bool = False
    without_metrics: bool = False
    with_git: bool = False
    with_results: bool = False
    without_options: bool = False
    sign_key: str = ""
    crate: str = ""


@frozen(kw_only=True)
class ReproduceRequest:
    """Which published experiment to run again, and what counts as the same result.

    `jobs` are "all", "best", a number of jobs ("4"), or numbers with commas ("1,3"). `tolerance` is relative to the
    published value; `metrics` are patterns of the names that count, none for all. `goal` is the metric that says which
    job is the best: NAME, or -NAME for the lowest. `verify_key` is the file of a public key that must have signed it.
    `source` is a git checkout from which the image is built again.
    """

    reference: str
    jobs: str = "all"
    tolerance: float = 0.0
    metrics: tuple[str, ...] = ()
    goal: str = ""
    group: str = ""
    at_a_time: int | None = None
    tls_verify: bool = True
    verify_key: str = ""
    source: str = ""


@frozen(kw_only=True)
class NotebookRequest:
    """A notebook server. `lab` is None for the project's choice, `version` "" for the newest that fits.

    `port` is 0 for the first free one. With `bare` the home folder is not mounted.
    """

    lab: bool | None = None
    version: str = ""
    port: int = 0
    bare: bool = False


@frozen(kw_only=True)
class StatusRequest:
    """Which jobs to show: those of a group, the newest `max_jobs` (0 or less: all).

    Without a group they are those of the newest group of the project in the current folder, if it has one. With
    `all_groups`, `all_users` or a `max_jobs` they are those of all groups.
    """

    group: str = ""
    max_jobs: int | None = None
    all_users: bool = False
    all_groups: bool = False

    @property
    def newest_group(self) -> bool:
        """Whether those of the newest group are meant."""
        return not self.group and self.max_jobs is None and not (self.all_users or self.all_groups)


@frozen(kw_only=True)
class ReportRequest:
    """Which jobs a report has, and how it is ordered. `where` has conditions, `columns` names separated by commas.

    `over` has the parameters that rows are means over, separated by commas; with `each_job` there are none. `compare`
    is the group to compare with.
    """

    group: str
    over: str = ""
    each_job: bool = False
    compare: str = ""
    sort: str = ""
    descending: bool = False
    where: tuple[str, ...] = ()
    columns: str = ""
    maximize: str = ""
    minimize: str = ""
    all_users: bool = False


@frozen(kw_only=True)
class CleanRequest:
    """Which images to remove: those not used for `older_than` ("30d", "12h"), the unused ones, or all."""

    older_than: str = ""
    unused: bool = False
    all_: bool = False
    dry_run: bool = False


@frozen(kw_only=True)
class EmulatorRequest:
    """An emulator of Vertex AI. `port` is 0 for a free one; `jobs` run at a time. Empty paths stand for defaults."""

    port: int = 0
    region: str = "us-central1"
    project: str = "rehearsal"
    gcs: str = ""
    registry: tuple[str, ...] = ()
    jobs: int = 1
    faults: str = ""
    folder: str = ""
