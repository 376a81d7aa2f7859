"""Where the measures work: a temporary folder with its own caches, projects in it, and timed commands."""

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
from itertools import pairwise
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import cgroups, image_store

REPOSITORY = Path(__file__).parents[2]
SCRIPT = "train.py"
IMAGE_TOOLS = ("podman", "buildah", "mmdebstrap")
UV = (sys.executable, "-m", "uv")
CONFIG = '[layers.base]\nbootstrap = "debian:bookworm"\n'


class BenchError(Exception):
    """A measure cannot be taken, because something that it needs failed."""


@frozen(kw_only=True)
class Took:
    """The seconds that a command took (`cpu`: user and system, with its children), and its stdout."""

    wall: float
    cpu: float
    out: str


class Workshop:
    """A place for projects, and the ocicaliban that is measured: the installed command, or that of a `checkout`.

    Leaving it removes the projects, their images (not the base) and what ocicaliban recorded about them.
    """

    def __init__(self, checkout: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ocicaliban-bench-"))
        self.checkout = (checkout or REPOSITORY).resolve()
        installed = Path(sys.executable).with_name("ocicaliban")
        as_module = checkout is not None or not installed.exists()
        self.command = (sys.executable, "-m", "ocicaliban") if as_module else (str(installed),)
        cache = self.folder / "cache"
        self.environ = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "UV_CACHE_DIR": str(cache / "uv"),
        }
        if as_module:
            self.environ["PYTHONPATH"] = str(self.checkout)
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
        """Run a command to its end; raise BenchError with its stderr if it fails."""
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
        """Start a server, wait until `ready` returns true for it, stop it, and return the seconds until it was ready.

        Raise BenchError with the server's stderr if it ends before.
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
        """The lock of a project with the base alone, which is bootstrapped once, without an image registry."""
        self._before = self._images()
        project = Project(workshop=self, folder=self.folder / "base")
        project.write("ocicaliban.toml", CONFIG)
        project.write(SCRIPT, f"print({self.folder.name!r})\n")
        project.run()
        return (project.folder / "ocicaliban.lock").read_text()

    def project(self, name: str, files: Mapping[str, str | bytes]) -> Project:
        """Make a project with `files`, in its own folder, upon the base."""
        project = Project(workshop=self, folder=self.folder / name)
        # The name of the folder gives the project layers of its own.
        for path, content in {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": self.lock,
            "mark": self.folder.name + name,
            **files,
        }.items():
            project.write(path, content)
        return project

    def tag(self, name: str, number: int) -> str:
        """Return a name for an image that is built here without ocicaliban."""
        own = self.folder.name.lower().replace("_", "")  # a name may not end with an underscore
        return f"localhost/{own}-{name}:{number}"

    def _images(self) -> frozenset[str]:
        words = ("podman", "images", "--all", "--format", "{{.Repository}}:{{.Tag}}")
        return frozenset(self.timed(words).out.split())

    def made(self, names: Sequence[str]) -> None:
        """Remember images by name, parents first, to remove them at the end, except those that existed before."""
        self._made |= dict.fromkeys(name for name in names if name not in self._before)

    def remove_images(self, names: Collection[str]) -> None:
        """Remove those of the images that were built here."""
        wanted = [name for name in reversed(self._made) if name in names]
        self._made = {name: None for name in self._made if name not in names}
        if wanted:
            self.timed(("podman", "image", "rm", "--ignore", *wanted))


@frozen(kw_only=True)
class Project:
    """A folder of research code."""

    workshop: Workshop
    folder: Path

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def ocicaliban(self, command: str, *args: str) -> Took:
        """Run an ocicaliban command in the project, on the CPU."""
        return self.workshop.timed((*self.workshop.command, command, "--nogpu", *args), self.folder)

    def run(self) -> float:
        """Run `ocicaliban run`, remember its images, and return the seconds that it took."""
        took = self.ocicaliban("run", SCRIPT)
        self.workshop.made(self.images())
        return took.wall

    def images(self, mode: str = "run") -> list[str]:
        """Return the names of the images of its layers, parents first."""
        layers = json.loads(self.ocicaliban("plan", mode, SCRIPT, "--json").out)["layers"]
        return [image_store.layer_name(layer["name"], layer["key"]) for layer in layers]

    def containerfile(self, mode: str = "run") -> str:
        """Return the Containerfile that `plan --containerfile` writes."""
        return self.ocicaliban("plan", mode, SCRIPT, "--containerfile").out + "\n"

    def podman_run(self, image: str) -> tuple[str, ...]:
        """Return the command by which `ocicaliban run` starts a container, with another image."""
        return cgroups.in_cgroup2(plain_podman(self.ocicaliban("run", SCRIPT, "--dry-run").out, image))


def plain_podman(dry_run: str, image: str) -> tuple[str, ...]:
    """Return the `podman run` in the output of `run --dry-run`, of `image` instead of the one to be built.

    With hybrid cgroups the command stands inside of another one, which makes a mount namespace; that one is left out.
    Raise BenchError where there is no such command.
    """
    words = shlex.split(dry_run.splitlines()[-1]) if dry_run else []
    start = next((index for index, pair in enumerate(pairwise(words)) if pair == ("podman", "run")), None)
    if start is None or words[start:].count("$image") != 1:
        raise BenchError(f"`run --dry-run` should end with a `podman run` of $image, not: {shlex.join(words)}")
    return tuple(image if word == "$image" else word for word in words[start:])


class Containerfile:
    """A project that buildah builds from a Containerfile and podman runs, without ocicaliban.

    `flags` are options of buildah; `containers` says whether building starts containers.
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
        """Run `buildah build --layers` and `podman run`, and return the seconds of both; `tag` names the image."""
        self._count += 1
        self.tag = self.project.workshop.tag(self.project.folder.name, self._count)
        build = ("buildah", "build", "--layers", "--pull=never", "--network", "host", *self._flags)
        build = (*build, "--tag", self.tag, "--file", str(self._file), ".")
        podman = self.project.podman_run(self.tag)
        self.project.workshop.made([self.tag])
        took = [self.project.workshop.timed(argv, self.project.folder) for argv in (self._wrapped(build), podman)]
        return sum(each.wall for each in took)
