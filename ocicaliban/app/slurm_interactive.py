"""A shell or a notebook on a node of a Slurm cluster: the image as a file, and srun."""

from __future__ import annotations

import getpass
import itertools
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import evolve

from ocicaliban.app import launch, place, slurm_options
from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.app.requests import JobsRequest, LaunchRequest, NotebookRequest, RunRequest, SlurmRequest
from ocicaliban.containers import image_file
from ocicaliban.containers.image_file import FileForm
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.interactive import jupyter_command, notebook, pip_answer, shell, ssh_tunnel
from ocicaliban.model.image import Launch
from ocicaliban.project import entry_point
from ocicaliban.recipes import catalog
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import process
from ocicaliban.targets.slurm import client, given, shared, terminal
from ocicaliban.targets.slurm.options import Options
from ocicaliban.targets.slurm.terminal import Session

_FILES = "/run/ocicaliban"
_FIRST_PORT = 8888
_POLL = 0.2
"""Seconds between two looks whether the server on the node answers."""
_WITH_TOKEN = f'JUPYTER_TOKEN=$(cat {_FILES}/token) && export JUPYTER_TOKEN && exec "$@"'


def run_shell(request: LaunchRequest, wanted: SlurmRequest, args: tuple[str, ...], *, bare: bool = False) -> int:
    """Run a shell, or the command `args`, on a node, and return its exit code. Raises OcicalibanError."""
    options = _options(request, wanted)
    chosen = shell.choose(request.shell, os.environ)
    home = None if bare else shell.home(os.environ)
    prepared = _prepare(evolve(request, shell=chosen), options)
    with _session(prepared, options) as made:
        files = made.folder / "files"
        shutil.copytree(catalog.builtin_layers() / "shell" / "rc", files)
        words = shell.options(prepared.planned.project.root.name, files, home, os.environ)
        words = (*words, *pip_answer.variable(prepared.planned.environment.declaration))
        command = (*prepared.start, *shell.entrypoint(chosen), *args)
        folder = prepared.request.folder
        workdir = os.path.join(entry_point.APP, folder).rstrip("/") if folder or request.image_id else ""
        return _run(evolve(made, launch=_launch(prepared, command, words, workdir)))


def run_notebook(
    request: LaunchRequest, wanted: SlurmRequest, asked: NotebookRequest, show: Callable[[str], None]
) -> int:
    """Run a notebook's server on a node until it ends, and `show` its URL; return its exit code.

    Raises OcicalibanError if Slurm or the node refuses it.
    """
    options = _options(request, wanted)
    home = None if asked.bare else shell.home(os.environ)
    prepared = _prepare(request, options)
    launched = prepared.planned.plan.launch
    interface = notebook.interface(launched)
    with _session(prepared, options) as made:
        files = made.folder / "files"
        files.mkdir(mode=0o700)
        token = secrets.token_hex(24)
        descriptor = os.open(files / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(token)
        # The node adds the port, which it knows to be free.
        server = ("/bin/sh", "-c", _WITH_TOKEN, "sh", *jupyter_command.ENTRYPOINT)
        command = (*prepared.start, *server, *jupyter_command.server_words(launched))
        words = [*jupyter_command.environment_options(), *shell.home_options(home, os.environ)]
        words += ["-v", f"{files}:{_FILES}:ro"]
        session = evolve(
            made,
            launch=_launch(prepared, command, words, ""),
            port=asked.port or _FIRST_PORT,
            terminal=False,
        )
        page = "lab" if interface == "lab" else "tree"
        ended = threading.Event()

        def tell() -> None:
            there = session.folder / "there"
            while not ended.wait(_POLL):
                if there.exists():
                    node, port = there.read_text(encoding="utf-8").split()
                    show(f"http://{notebook.ADDRESS}:{port}/{page}?token={token}")
                    TERMINAL.say(f"to reach it from your own machine, run there: {tunnel(int(port), node)}")
                    TERMINAL.say("Ctrl-C ends it")
                    return

        watcher = threading.Thread(target=tell, daemon=True)
        watcher.start()
        try:
            return _run(session)
        finally:
            ended.set()
            watcher.join()


def tunnel(port: int, node: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the ssh command that leads to a port of a node, through this login node."""
    here = socket.getfqdn()
    if here.partition(".")[0] == "localhost":
        here = socket.gethostname()
    # As a program in a job of this node would see it.
    seen = {"SLURM_JOB_ID": "", "SLURM_SUBMIT_HOST": here, "SLURMD_NODENAME": node}
    known = {name: environ[name] for name in ("SSH_CONNECTION",) if name in environ}
    return ssh_tunnel.command(port, {**known, **seen}, getpass.getuser(), node)


def _options(request: LaunchRequest, wanted: SlurmRequest) -> Options:
    slurm_options.check(RunRequest(launch=request, jobs=JobsRequest()))
    given.read(request.podman_args, os.environ)
    options = slurm_options.options(place.project_root(), JobsRequest(), wanted)
    if options.image != "squashfs" and options.runtime not in ("", "podman"):
        raise UsageError(f"{options.runtime} cannot run an OCI archive", 'image = "squashfs"')
    return evolve(options, nodes=None, grace=0)


def _prepare(request: LaunchRequest, options: Options) -> PreparedLaunch:
    asked = evolve(request, lived_in=True, gpu_wanted=False, gpus=None, gpu_elsewhere=slurm_options.wants_gpus(options))
    return launch.prepare(asked, here=False)


@contextmanager
def _session(prepared: PreparedLaunch, options: Options) -> Iterator[Session]:
    """Make the image a file, and a folder on the shared disk for the session, which goes with it."""
    client.test(terminal_test(options))
    image = prepared.image()
    prepared.record_built()
    top = shared.root(options.shared)
    file = image_file.make(top / "images", image, FileForm(form=options.image))
    key = secrets.token_hex(6)
    folder = top / "sessions" / key
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as exc:
        hint = "[targets.slurm] shared names a folder that all nodes see"
        raise UsageError(f"{folder} cannot be made: {exc.strerror}", hint) from exc
    try:
        yield Session(
            key=key,
            options=options,
            image=file,
            launch=prepared.planned.plan.launch,
            folder=folder,
            terminal=process.has_terminal() and os.isatty(1),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def terminal_test(options: Options) -> str:
    """Return a script that asks for what the session needs."""
    from ocicaliban.targets.slurm import backend

    return backend.test_script(options)


def _launch(prepared: PreparedLaunch, command: tuple[str, ...], words: Sequence[str], workdir: str) -> Launch:
    """Return how the container starts. `words` are podman's options, of which mounts and variables count here."""
    made = prepared.planned.plan.launch
    asked = given.read(prepared.request.podman_args, os.environ)
    pairs = [*itertools.pairwise(words)]
    env = [value for name, value in pairs if name == "--env" and "=" in value]
    mounts = [value for name, value in pairs if name == "-v"]
    return evolve(
        made,
        command=command,
        env=(
            *made.env,
            *((name, value) for name, _, value in (each.partition("=") for each in env)),
            *asked.env.items(),
        ),
        mounts=(*made.mounts, *mounts, *asked.mounts),
        workdir=asked.workdir or workdir or made.workdir,
    )


def _run(session: Session) -> int:
    """Run a session on a node, and return its exit code."""
    script = session.folder / "script"
    script.write_text(terminal.script(session), encoding="utf-8")

    def end(_: int) -> None:
        client.cancel_named(session.name)

    try:
        return process.run_in_foreground(terminal.argv(session), on_signal=end)
    except OcicalibanError as fault:
        raise OcicalibanError(fault.message, "a login node of the cluster has srun") from fault
