"""The program, called as a user calls it, for the integration tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.folders import write

REPOSITORY = Path(__file__).parents[2]
CONFIG = '[layers.base]\nbootstrap = "debian:bookworm"\n'
Done = subprocess.CompletedProcess[str]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


def command(*args: str) -> list[str]:
    """The command line; nothing runs on a GPU of this machine by chance."""
    plain = args[0] not in ("build", "run", "plan", "shell") or not {"--gpu", "--gpus", "--nogpu"}.isdisjoint(args)
    return [sys.executable, "-m", "ocicaliban", args[0], *(() if plain else ("--nogpu",)), *args[1:]]


def call(folder: Path, *args: str, env: Mapping[str, str] | None = None, limit: float = 240) -> Done:
    return subprocess.run(
        command(*args), cwd=folder, env=environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=limit,
    )  # fmt: skip


def ok(folder: Path, *args: str, env: Mapping[str, str] | None = None, limit: float = 240) -> Done:
    done = call(folder, *args, env=env, limit=limit)
    assert done.returncode == 0, done.stderr
    return done


def built_project(folder: Path, lock: str, job: str) -> Path:
    """Make a project with the script job.py on the base that the lock names, and build its image; return its folder."""
    write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": lock, "job.py": job})
    ok(folder, "build", "job.py")
    return folder


def built(done: Done) -> list[str]:
    """The layers that a command made, in order."""
    return layers_in(done.stderr)


def layers_in(stderr: str) -> list[str]:
    """The layers that a command made, by what it printed."""
    return [line.removesuffix(": building") for line in stderr.splitlines() if line.endswith(": building")]


def until(holds: Callable[[], object], child: subprocess.Popen[str] | None = None) -> None:
    """Wait until it holds, for a minute at most, and while the child runs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holds():
            return
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.005)
    raise AssertionError("it never came to hold")
