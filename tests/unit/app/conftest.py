"""A project, a history and an image store in the test's folder; podman and buildah are only thought of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.build import base_image, builder
from ocicaliban.containers import cgroups, image_store, podman, podman_api
from ocicaliban.gpu.cdi import Device
from ocicaliban.history import access
from ocicaliban.history.store import History
from ocicaliban.model.image import Base, Image, Plan
from ocicaliban.model.job import Attempt, Job, JobSpec, Submission
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock
from ocicaliban.system import filesystems, kernel, process
from ocicaliban.targets.container_runner import ContainerExit, ObservedContainer
from ocicaliban.targets.local import listing
from ocicaliban.targets.local import runner as local

BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64",
)  # fmt: skip
CONFIG = '[layers.base]\nimage = "example.org/base:1"\n'


class FakeRunner:
    """Runs jobs by their arguments: one with "fails" ends with 1, each other one with 0."""

    def __init__(self, service: object, setup: local.Setup, on_end: Callable[[ContainerExit], None]) -> None:
        self._on_end = on_end

    def close(self) -> None:
        """End."""

    def start(self, job: Job, attempt: Attempt, devices: tuple[Device, ...] = ()) -> None:
        """Run a job to its end."""
        self._on_end(ContainerExit(handle=attempt.handle, exit_code=int("fails" in job.args), started=1.0, ended=2.0))

    def watch(self, handle: str) -> None:
        """Tell the end of a container: it is gone."""
        self._on_end(ContainerExit(handle=handle, exit_code=None))

    def signal(self, handle: str, name: str) -> bool:
        """Send no signal."""
        return False

    def remove(self, handle: str) -> None:
        """Remove nothing."""

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Find nothing."""
        return {}


class World:
    """What the use cases act on, and what they did to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "digits"
        self.images: list[Image] = []
        self.ran: list[tuple[str, ...]] = []
        self.tools: list[tuple[str, ...]] = []
        self.exit_code = 0
        self.driver = "vfs"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of the project."""
        for name, text in files.items():
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_text(text)

    def image(self, identity: str, *names: str) -> Image:
        """Add an image to the store."""
        image = Image(id=identity, digest="", key="", names=names)
        self.images.append(image)
        return image

    @contextlib.contextmanager
    def history(self) -> Iterator[History]:
        """Open the history."""
        with access.open() as history:
            yield history

    def jobs(self, **which: Any) -> tuple[Job, ...]:
        """Return jobs of the history, by number."""
        with self.history() as history:
            return tuple(sorted(history.jobs(**which), key=lambda job: job.id))

    def statuses(self) -> list[str]:
        """Return the status of each job, by number."""
        return [job.status for job in self.jobs()]

    def submit(self, submission: Submission, *args: tuple[str, ...]) -> Submission:
        """Add a submission with a job for each of these arguments."""
        with self.history() as history:
            return history.submit(submission, [JobSpec(args=each) for each in args])

    def end(self, number: int, status: str, **how: Any) -> None:
        """Start an attempt at a job, and end it."""
        with self.history() as history:
            attempt = history.begin(number, started=1.0)
            assert attempt
            assert history.end(number, attempt.number, status, ended=2.0, **how)  # type: ignore[arg-type]

    def begin(self, number: int, **how: Any) -> Attempt:
        """Start an attempt at a job."""
        with self.history() as history:
            attempt = history.begin(number, started=1.0, **how)
            assert attempt
            return attempt


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which the project `digits` is the current folder."""
    made = World(tmp_path)
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("OCICALIBAN_DB_URL", f"sqlite:///{tmp_path}/history.db")
    made.write({"ocicaliban.toml": CONFIG, "train.py": "", "data/x": "x"})
    lockfile.write_lock(made.project, Lock().with_base("cpu", BASE).with_base("gpu", BASE))
    monkeypatch.chdir(made.project)
    base = made.image("ba" * 32, "example.org/base:1")

    def build(plan: Plan, *_: object, **__: object) -> Image:
        top = plan.layers[-1]
        return made.image(f"{len(made.images):02}" * 32, image_store.layer_name(top.name, top.key))

    def run(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
        made.ran.append(argv)
        meanwhile()
        return made.exit_code

    def tool(argv: tuple[str, ...], **_: object) -> str:
        made.tools.append(tuple(argv))
        if argv[-1].startswith("{{.Host"):
            return "v2 cpu memory "
        if argv[:3] == ("podman", "image", "inspect"):
            return next((image.id for image in made.images if argv[-1] in (image.id, *image.names)), "")
        return ""

    @contextlib.contextmanager
    def connected(image: str = "") -> Iterator[object]:
        yield object()

    monkeypatch.setattr(builder, "build", build)
    monkeypatch.setattr(image_store, "location", lambda: (tmp_path / "store", made.driver))
    monkeypatch.setattr(image_store, "may_have", lambda image, path: False)
    monkeypatch.setattr(kernel, "has_selinux", lambda: False)
    monkeypatch.setattr(filesystems, "kind", lambda path, mounts: "ext4")
    monkeypatch.setattr(base_image, "present", lambda _: base)
    monkeypatch.setattr(image_store, "images", lambda: tuple(made.images))
    monkeypatch.setattr(image_store, "image_sizes", lambda: {image.id: 1_000_000 for image in made.images})
    monkeypatch.setattr(image_store, "image_config", lambda _: {"config": {"Cmd": ["bash"]}})
    monkeypatch.setattr(image_store, "find_layer", _finder(made))
    monkeypatch.setattr(image_store, "index_file", lambda: tmp_path / "images.json")
    monkeypatch.setattr(image_store, "settings_files", tuple)
    monkeypatch.setattr(podman, "run", run)
    monkeypatch.setattr(podman, "run_interactively", run)
    monkeypatch.setattr(podman, "version", lambda: (4, 3, 1))
    monkeypatch.setattr(process, "tool", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(process, "run", tool)
    monkeypatch.setattr(process, "output", tool)
    monkeypatch.setattr(process, "ok", lambda argv, **_: bool(tool(argv)) or True)
    monkeypatch.setattr(cgroups, "in_cgroup2", tuple)
    monkeypatch.setattr(podman_api, "connected", connected)
    monkeypatch.setattr(local, "LocalRunner", FakeRunner)
    monkeypatch.setattr(listing, "find", lambda **_: {})
    return made


def _finder(world: World) -> Callable[..., Image | None]:
    def find(layer: str, key: str, known: object = None) -> Image | None:
        name = image_store.layer_name(layer, key)
        return next((image for image in world.images if name in image.names), None)

    return find


@pytest.fixture
def submission(world: World) -> Submission:
    """Return a submission of ours on this machine, whose image is in the store."""
    from ocicaliban.jobs import provenance

    image = world.image("1d" * 32)
    return Submission(
        target="local",
        group="digits",
        user=provenance.user(),
        host=provenance.host(),
        project=str(world.project),
        mode="run",
        module="train.py",
        image=image.id,
        options={"version": 1, "mode": "run", "module": "train.py", "gpu_wanted": False},
    )
