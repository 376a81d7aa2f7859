"""Where the measures work: a temporary folder with caches of its own, projects in it, and commands that are timed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import cgroups, image_store

REPOSITORY = Path(__file__).parents[2]
SCRIPT = "train.py"
CONFIG = '[layers.base]\nbootstrap = "debian:bookworm"\n'


class BenchError(Exception):
    """Something that has to work for a measure did not."""


@frozen(kw_only=True)
class Took:
    """What a command took, in seconds (`cpu`: of it and its children, user and system), and its stdout."""

    wall: float
    cpu: float
    out: str


class Workshop:
    """A place for projects; leaving it removes them, their images (not the base) and what ocicaliban kept of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ocicaliban-bench-"))
        beside = Path(sys.executable).with_name("ocicaliban")
        self.command = (str(beside),) if beside.exists() else (sys.executable, "-m", "ocicaliban")
        cache = self.folder / "cache"
        self.environ = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "UV_CACHE_DIR": str(cache / "uv"),
        }
        if not beside.exists():
            self.environ["PYTHONPATH"] = str(REPOSITORY)
        self._before: frozenset[str] = frozenset()
        self._made: dict[str, None] = {}

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.remove_images(tuple(self._made))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def timed(self, argv: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Took:
        """Run a command to its end. Raises BenchError with its own words where it fails."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.perf_counter()
            child = subprocess.Popen(
                argv,
                cwd=cwd or self.folder,
                env={**self.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.terminate()
                child.wait()
                raise
            wall = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if child.returncode:
                words = err.read().decode(errors="replace").strip()
                raise BenchError(f"{shlex.join(argv)} ended with {child.returncode}\n{words}")
            return Took(wall=wall, cpu=usage.ru_utime + usage.ru_stime, out=out.read().decode().strip())

    def until(self, argv: Sequence[str], ready: Callable[[subprocess.Popen[str]], bool], cwd: Path) -> float:
        """The seconds until `ready` says so of the server that `argv` starts; then it is ended, which is not counted.

        Raises BenchError with the server's own words when it ends before.
        """
        with tempfile.TemporaryFile("w+") as err:
            start = time.perf_counter()
            child = subprocess.Popen(
                argv, cwd=cwd, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True
            )
            try:
                while not ready(child):
                    if child.poll() is not None:
                        err.seek(0)
                        raise BenchError(f"{shlex.join(argv)} ended with {child.returncode}\n{err.read().strip()}")
                return time.perf_counter() - start
            finally:
                child.terminate()
                child.communicate()

    @cached_property
    def lock(self) -> str:
        """The lock of a project with the base alone, which is made once; no image registry is needed for it."""
        self._before = self._images()
        project = Project(workshop=self, folder=self.folder / "base")
        project.write("ocicaliban.toml", CONFIG)
        project.write(SCRIPT, f"print({self.folder.name!r})\n")
        project.run()
        return (project.folder / "ocicaliban.lock").read_text()

    def project(self, name: str, files: Mapping[str, str | bytes]) -> Project:
        """A project upon the base, with `files`, in a folder of its own."""
        project = Project(workshop=self, folder=self.folder / name)
        # The name of the folder keeps its layers apart from those of any other project.
        for path, content in {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": self.lock,
            "mark": self.folder.name + name,
            **files,
        }.items():
            project.write(path, content)
        return project

    def tag(self, name: str, number: int) -> str:
        """A name for an image made here without ocicaliban."""
        own = self.folder.name.lower().replace("_", "")  # which may stand at no end of a part
        return f"localhost/{own}-{name}:{number}"

    def _images(self) -> frozenset[str]:
        words = ("podman", "images", "--all", "--format", "{{.Repository}}:{{.Tag}}")
        return frozenset(self.timed(words).out.split())

    def made(self, names: Sequence[str]) -> None:
        """Remember images by name, lower ones first, to be removed in the end; never one that was there before."""
        self._made |= dict.fromkeys(name for name in names if name not in self._before)

    def remove_images(self, names: Collection[str]) -> None:
        """Remove those of `names` that were made here."""
        wanted = [name for name in reversed(self._made) if name in names]
        self._made = {name: None for name in self._made if name not in names}
        if wanted:
            self.timed(("podman", "image", "rm", "--ignore", *wanted))


@frozen(kw_only=True)
class Project:
    """A folder of research code, and what ocicaliban does with it."""

    workshop: Workshop
    folder: Path

    def write(self, name: str, content: str | bytes) -> None:
        """Write one of its files."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def ocicaliban(self, command: str, *args: str) -> Took:
        """Run an ocicaliban command in the project, on the CPU."""
        return self.workshop.timed((*self.workshop.command, command, "--nogpu", *args), self.folder)

    def run(self) -> float:
        """The seconds of `ocicaliban run`; its images are noted, to be removed in the end."""
        took = self.ocicaliban("run", SCRIPT)
        self.workshop.made(self.images())
        return took.wall

    def images(self, mode: str = "run") -> list[str]:
        """The names of its layers' images, from the bottom up."""
        layers = json.loads(self.ocicaliban("plan", mode, SCRIPT, "--json").out)["layers"]
        return [image_store.name_for(layer["name"], layer["key"]) for layer in layers]

    def containerfile(self, mode: str = "run") -> str:
        """What `plan --containerfile` writes."""
        return self.ocicaliban("plan", mode, SCRIPT, "--containerfile").out + "\n"

    def podman_run(self, image: str) -> tuple[str, ...]:
        """The very command by which `ocicaliban run` starts a container, but of `image`."""
        words = shlex.split(self.ocicaliban("run", SCRIPT, "--dry-run").out.splitlines()[-1])
        places = [index for index, word in enumerate(words) if word == "$image"]
        if words[:2] != ["podman", "run"] or len(places) != 1:
            raise BenchError(f"no `podman run` of an image to be built ends `run --dry-run`: {shlex.join(words)}")
        words[places[0]] = image
        return cgroups.in_cgroup2(words)


class Containerfile:
    """A project built by buildah from a Containerfile and run by podman, without ocicaliban.

    `flags` are for buildah; `containers` tells whether building starts any.
    """

    def __init__(self, project: Project, text: str, flags: Sequence[str] = (), *, containers: bool = False) -> None:
        self.project = project
        self._file = project.workshop.folder / f"{project.folder.name}.Containerfile"
        self._file.write_text(text)
        self._flags = tuple(flags)
        self._wrapped = cgroups.in_cgroup2 if containers else tuple
        self._count = 0
        self.tag = ""

    def run(self) -> float:
        """The seconds of `buildah build --layers` and `podman run`; the image is called `tag`, another every time."""
        self._count += 1
        self.tag = self.project.workshop.tag(self.project.folder.name, self._count)
        build = ("buildah", "build", "--layers", "--pull=never", "--network", "host", *self._flags)
        build = (*build, "--tag", self.tag, "--file", str(self._file), ".")
        podman = self.project.podman_run(self.tag)
        self.project.workshop.made([self.tag])
        took = [self.project.workshop.timed(argv, self.project.folder) for argv in (self._wrapped(build), podman)]
        return sum(each.wall for each in took)
