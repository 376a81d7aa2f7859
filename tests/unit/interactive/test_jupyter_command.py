"""The command line of a notebook server, and the options of its container."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from ocicaliban.interactive import jupyter_command
from ocicaliban.interactive.notebook import NotebookSettings
from ocicaliban.model.image import Launch

SETTINGS = NotebookSettings(
    project="/somewhere/digits", port=8888, interface="lab", environment="key", version="", variant="cpu", extras=("a",)
)


def test_the_server_listens_on_loopback_alone_at_its_port() -> None:
    words = jupyter_command.arguments(Launch(command=("jupyter-lab",)), evolve(SETTINGS, port=9000))
    assert words[0] == "jupyter-lab" and words[-1] == "--ServerApp.port=9000"
    assert "--ServerApp.ip=127.0.0.1" in words and "--ServerApp.port_retries=0" in words


def test_the_token_is_in_no_argument(tmp_path: Path) -> None:
    words = jupyter_command.container_options(SETTINGS, tmp_path, {"JUPYTER_TOKEN": "hush"})
    assert words[words.index("JUPYTER_TOKEN") - 1] == "--env" and "hush" not in " ".join(words)
    assert f"{tmp_path}:{tmp_path}" in words


def test_the_label_gives_the_settings_back() -> None:
    assert NotebookSettings.from_label(SETTINGS.to_label()) == SETTINGS
