"""Ask rattler, in a process of its own, and turn its faults into errors that users can act on."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.system import files, installation, process

_MIRRORS = (
    "name a mirror: CONDA_CHANNEL_ALIAS=URL, CONDA_DEFAULT_CHANNELS=URL for `defaults`,"
    " or [mirrors] in ~/.config/rattler/config.toml;\n"
    "or, with a requirements.txt that lists the packages, write into ocicaliban.toml:"
    ' [layers.python] requirements = "requirements.txt"'
)


@frozen(kw_only=True)
class _Fault:
    """What a fault of one kind is called, and what helps."""

    message: str
    hint: str = ""


_FAULTS: Mapping[str, _Fault] = {
    "settings": _Fault(
        message="rattler's settings cannot be read: {text}", hint="correct ~/.config/rattler/config.toml"
    ),
    "channel": _Fault(message="{file}: the conda channel {text}", hint=_MIRRORS),
    "solve": _Fault(message="the conda packages in {file} cannot be resolved for {platform}\n{text}"),
    "fetch": _Fault(message="{file}: this conda package cannot be fetched: {text}", hint=_MIRRORS),
    "hash": _Fault(
        message="{file}: this conda package is not the one that was locked: {text}",
        hint="the channel serves another file under the same name: find out why, and do not use it",
    ),
    "install": _Fault(message="the conda packages of {file} cannot be installed\n{text}"),
    "lock": _Fault(message="{file} cannot be read: {text}", hint="write it again, for example: pixi lock"),
    "environment": _Fault(message="{file}: {text}", hint="name one of them: --with-group NAME"),
    "platform": _Fault(message="{file}: {text}", hint="add the platform to the project's, and lock again"),
}


def available() -> bool:
    """Return whether rattler is installed."""
    return importlib.util.find_spec("rattler") is not None


def call(action: str, file: str, platform: str, **values: Any) -> dict[str, Any]:
    """Return the result of an action of `worker`.

    `file` is the declaring file that errors name, and `platform` one of conda. Raises UsageError if rattler is not
    installed, and OcicalibanError with what rattler says.
    """
    if not available():
        raise UsageError(
            f"{file} declares a conda environment, which needs py-rattler", installation.with_extra("conda")
        )
    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        job.touch(mode=0o600)  # addresses may hold passwords
        asked = {"action": action, "platform": platform, "cache": str(files.cache() / "conda"), **values}
        job.write_text(json.dumps(asked))
        argv = (sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(job), str(result))
        try:
            process.run(argv)
        except ToolError as exc:
            # It may have failed after its work, at its end.
            if not result.is_file():
                raise ToolError(f"rattler failed\n{exc.stderr}", "run the command again", stderr=exc.stderr) from exc
        said: dict[str, Any] = json.loads(result.read_text())
    if kind := said.get("fault"):
        fault = _FAULTS[kind]
        text = str(said["text"]).strip()
        raise OcicalibanError(fault.message.format(file=file, platform=platform, text=text), fault.hint)
    return said
