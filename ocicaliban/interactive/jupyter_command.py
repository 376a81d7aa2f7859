"""The command line of a notebook server, and podman's options for its container.

The token is passed in the environment and read back from podman: every user of a machine can see the arguments of a
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ocicaliban.interactive import shell
from ocicaliban.interactive.notebook import ADDRESS, LABEL, NotebookSettings
from ocicaliban.model.image import Launch
from ocicaliban.project import entry_point

TOKEN_VARIABLE = "JUPYTER_TOKEN"
_RUNTIME_FOLDER = "/tmp/jupyter"

# The command line overrides every configuration file; the user's could set an empty token. Others cannot see sys.argv.
ENTRYPOINT = (
    "python3",
    "-c",
    # To collect garbage during so many imports takes a tenth of the start.
    "import gc, os, runpy, shutil, sys; gc.set_threshold(50_000); "
    # `!pip install` and `%pip install` answer what to do instead, unless the environment has a pip.
    "os.environ['PATH'] = '/run/ocicaliban/bin:' + os.environ['PATH']; "
    "os.environ['PYTHONPATH'] = os.environ.get('PYTHONPATH', '/usr/app') + ':/run/ocicaliban/python'; "
    f"sys.argv = [*sys.argv[1:], '--IdentityProvider.token=' + os.environ.pop('{TOKEN_VARIABLE}')]; "
    "runpy.run_path(shutil.which(sys.argv[0]) or sys.argv[0], run_name='__main__')",
)
"""Starts the server whose command line follows, with the token."""

_SERVER_OPTIONS = (
    f"--ServerApp.ip={ADDRESS}",
    "--ServerApp.port_retries=0",
    "--ServerApp.open_browser=False",
    "--ServerApp.allow_root=True",
    f"--ServerApp.root_dir={entry_point.APP}",
    "--ServerApp.base_url=/",
    "--ServerApp.certfile=",
    "--ServerApp.keyfile=",
    "--ServerApp.sock=",
    "--LabApp.extension_manager=readonly",
    "--log-level=WARN",
)


def container_options(settings: NotebookSettings, home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return podman's options for a server with these settings; mount the `home` folder if there is one."""
    words = ["--log-driver", "k8s-file", "--label", f"{LABEL}={settings.to_label()}", "--env", TOKEN_VARIABLE]
    return *words, *environment_options(), *shell.home_options(home, environ)


def environment_options() -> tuple[str, ...]:
    """Return podman's options for the variables of a server."""
    # A runtime folder of its own: processes in different containers have the same numbers, and would collide in the
    # home folder.
    words = ["--env", f"JUPYTER_RUNTIME_DIR={_RUNTIME_FOLDER}", "--env", "JUPYTER_PREFER_ENV_PATH=1"]
    return *words, "--env", "LANG=C.UTF-8"  # otherwise its terminals use the C locale


def server_words(launch: Launch) -> tuple[str, ...]:
    """Return the words that follow `ENTRYPOINT`, without the port."""
    return *launch.command, *_SERVER_OPTIONS


def arguments(launch: Launch, settings: NotebookSettings) -> tuple[str, ...]:
    """Return the words that follow `ENTRYPOINT`."""
    return *server_words(launch), f"--ServerApp.port={settings.port}"
