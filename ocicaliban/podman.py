"""podman's command line, for what needs the terminal, and the exit code that podman 4.3 loses."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban import proc

if TYPE_CHECKING:
    # The shortest way to a running container goes through this module without the model.
    from ocicaliban.model import Image, Launch


def run_argv(
    image: Image,
    launch: Launch,
    args: tuple[str, ...],
    *,
    name: str,
    terminal: tuple[bool, bool],
    extra: tuple[str, ...] = (),
    entrypoint: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The command that runs a container; `terminal` tells whether stdin and stdout are one.

    An init process is put in, because the kernel does not deliver SIGTERM to a PID 1 that does not handle it.
    """
    argv = ["podman", "run", "--rm", "--init", "--pull=never", "--name", name, "--network", "host"]
    if terminal[0]:
        argv.append("-i")
    if all(terminal):
        argv += ["-t", "--env", "TERM"]
    else:
        argv += ["-i"] if not terminal[0] else []
    for key, value in launch.env:
        argv += ["--env", f"{key}={value}"]
    for mount in launch.mounts:
        argv += ["-v", mount]
    for port in launch.ports:
        argv += ["-p", port]
    if launch.workdir:
        argv += ["--workdir", launch.workdir]
    argv += extra
    command = entrypoint or launch.command
    if command:
        argv += ["--entrypoint", command[0]]
        return (*argv, image.id, *command[1:], *args)
    return (*argv, image.id, *args)


def run(argv: tuple[str, ...], name: str) -> int:
    """Run the container called `name` on our terminal; the exit code is its script's.

    podman 4.3 returns 0 after it passed a signal on. So a signal goes to the container by `podman kill`, while a
    `podman wait` started before it fetches the code.
    """

    def on_signal(number: int) -> int | None:
        codes: list[int] = []

        def wait() -> None:
            out = proc.output(("podman", "wait", name))
            if out.strip().isdigit():
                codes.append(int(out))

        waiter = threading.Thread(target=wait)
        waiter.start()
        proc.ok(("podman", "kill", "--signal", signal.Signals(number).name, name))
        waiter.join()
        return codes[0] if codes else None

    return proc.foreground(proc.in_cgroup2(argv), on_signal=on_signal)


def container_name() -> str:
    """A fresh container's name."""
    return f"ocicaliban-{os.urandom(6).hex()}"


def terminal() -> tuple[bool, bool]:
    """Whether our stdin and stdout are terminals."""
    return sys.stdin.isatty(), sys.stdout.isatty()


def words(text: str) -> tuple[str, ...]:
    """The words of a `--podman-args` string, split as a shell would."""
    return tuple(shlex.split(text))


def entry_command(root: Path, module: str) -> tuple[str, ...]:
    """What MODULE starts: `trainer.train` by `python -m`, `trainer/train.py` by `python`, another file as it is.

    Raises UsageError when the project has no such module or file.
    """
    from ocicaliban.errors import UsageError

    if not module:
        return ()
    path = root / module
    if path.is_file():
        if module.endswith(".py"):
            return ("python3", module)
        if path.stat().st_mode & 0o111:
            return (f"./{module}",)
        raise UsageError(f"'{module}' is neither a Python file nor executable", f"chmod +x {module}")
    dotted = root / module.replace(".", "/")
    if dotted.with_suffix(".py").is_file() or (dotted / "__main__.py").is_file():
        return ("python3", "-m", module)
    if (root / "src" / module.replace(".", "/")).with_suffix(".py").is_file():
        return ("python3", "-m", module)
    found = sorted(str(p.relative_to(root)) for p in root.glob("*.py"))[:8]
    raise UsageError(
        f"there is no module or file '{module}' in {root}",
        f"there is: {', '.join(found)}" if found else "run it in the project's folder",
    )
