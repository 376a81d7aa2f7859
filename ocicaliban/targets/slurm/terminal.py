"""A shell or a notebook on a node: its script, and the command line of srun. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.model.image import Launch
from ocicaliban.targets.slurm import arrays
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.arrays import Array
from ocicaliban.targets.slurm.options import Options

_BEGIN = """\
fail() { echo "ocicaliban: $*" >&2; exit 125; }
N=${SLURM_STEP_ID:-0} SHOWN=${TERM:-xterm} OUT='' FILES='' OWN=() code=''
"""


@frozen(kw_only=True)
class Session:
    """A container on a node that somebody works in.

    `launch` has its whole command, environment and mounts. `folder` is on the shared disk, for this session alone. With
    a `port`, a server listens on the first free port of the node from that one on. `terminal` is whether it has ours.
    """

    key: str
    options: Options
    image: ImageFile
    launch: Launch
    folder: Path
    port: int = 0
    terminal: bool = False

    @property
    def name(self) -> str:
        """The name of its job at Slurm."""
        return f"ocicaliban-{self.key}"


def script(session: Session) -> str:
    """Return the script that runs on the node."""
    array = Array(
        key="",
        name=session.name,
        options=session.options,
        image=evolve(session.image, command=()),
        launch=session.launch,
        marks="",
        log="",
    )
    lines = [
        "#!/bin/bash",
        "set -u",
        *arrays.settings(array),
        f"KEY={session.key} SESSION={shlex.quote(str(session.folder))} PORT={session.port or ''}",
    ]
    return "\n".join(lines) + "\n" + _BEGIN + "".join(map(arrays.part, ("given.sh", "node.sh", "terminal.sh")))


def argv(session: Session) -> tuple[str, ...]:
    """Return the command line that runs the script on a node, and waits for its end."""
    return (
        *("srun", "--ntasks=1", f"--job-name={session.name}", "--quit-on-interrupt"),
        *(("--pty",) if session.terminal else ()),
        *slurm_options.words(session.options),
        *session.options.slurm_args,
        *("bash", str(session.folder / "script")),
    )
