"""Notebook servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import notebook
from ocicaliban.app.requests import LaunchRequest, NotebookRequest
from ocicaliban.build import base_image, debian_resolution
from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError
from ocicaliban.interactive import notebook_server as servers
from ocicaliban.interactive import ports
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings
from ocicaliban.project.lockfile import Resolution

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


@pytest.fixture
def running(world: World, monkeypatch: pytest.MonkeyPatch) -> list[NotebookServer]:
    """Return the servers that run; a new one is among them when it has started."""
    made: list[NotebookServer] = []

    def start(argv: tuple[str, ...], container: str, settings: NotebookSettings) -> NotebookServer:
        server = NotebookServer(container=container, settings=settings, token="secret")
        made.append(server)
        world.ran.append(argv)
        return server

    monkeypatch.setattr(servers, "start", start)
    monkeypatch.setattr(servers, "stop", made.remove)
    monkeypatch.setattr(servers, "find_servers", lambda: tuple(made))
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    monkeypatch.setattr(resolver, "resolve", lambda *_, **__: None)
    monkeypatch.setattr(base_image, "resolved", lambda base, **_: base)
    for name in ("SSH_CONNECTION", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return made


NOTEBOOK = LaunchRequest(mode="notebook", gpu_wanted=False, extras=("b", "a", "b"))


def test_a_notebook_is_started_listed_and_ended(
    world: World, running: list[NotebookServer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _resolve_nothing(monkeypatch)
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.9 1 192.0.2.1 22")
    started = notebook.start(NOTEBOOK, NotebookRequest(lab=False, version="7", port=9000, bare=True))
    server = started.server
    assert (server.name, server.settings.interface, server.settings.version) == ("digits-9000", "notebook", "7")
    assert server.settings.extras == ("a", "b") and server.settings.variant == "cpu"
    assert "running on the CPU" in started.summary and started.tunnel.startswith("ssh -N -L 9000:")
    assert "--detach" in world.ran[0]
    [listed] = notebook.listed()
    assert listed.server is server and listed.remark == ""
    world.write(
        {"ocicaliban.toml": (world.project / "ocicaliban.toml").read_text() + '[layers.apt]\npackages = ["x"]\n'}
    )
    [listed] = notebook.listed()
    assert listed.remark == "with the packages from before"
    notebook.start(NOTEBOOK, NotebookRequest(port=9001))
    assert "digits-9000 still runs with the packages from before" in capsys.readouterr().err
    (world.project / "ocicaliban.toml").write_text("[")
    assert "ocicaliban.toml" in next(notebook.listed()).remark
    with pytest.raises(UsageError, match="there is no notebook 'digit'") as caught:
        list(notebook.stop("digit"))
    assert "digits-900" in caught.value.hint
    assert [each.name for each in notebook.stop("9000")] == ["digits-9000"]
    assert [each.name for each in notebook.stop("all")] == ["digits-9001"] and not running
    assert list(notebook.stop("all")) == []


def test_containers_of_servers_that_have_ended_are_removed(running: list[NotebookServer]) -> None:
    about = NotebookSettings(
        project="/p", port=1, interface="lab", environment="e", version="", variant="cpu", extras=()
    )
    running.append(NotebookServer(container="c", settings=about, token="t", state="exited"))
    assert list(notebook.listed()) == [] and running == []


def _resolve_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve no packages of Jupyter or Debian: that asks an index."""
    resolved = Resolution(inputs="", requirements="jupyterlab==4\n", weights={})
    monkeypatch.setattr(resolver, "resolve_additions", lambda *_, **__: resolved)
    monkeypatch.setattr(debian_resolution, "resolve", lambda *_: Resolution(inputs="", requirements=""))
