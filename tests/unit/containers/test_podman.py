"""A container on our terminal: its name, its signals, its exit code."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from ocicaliban.containers import cgroups, podman
from ocicaliban.system import process


@pytest.mark.parametrize("given", [("--name", "mine"), ("--name=mine",), ("--name", "a", "--rm", "--name", "mine")])
def test_a_container_is_known_by_the_name_that_podman_is_given_last(given: tuple[str, ...]) -> None:
    assert podman.container_name(given) == "mine"


def test_a_container_is_named_after_its_job() -> None:
    assert podman.container_name(key="k") == "ocicaliban-k"
    assert podman.container_name(("--name",)) != podman.container_name()


@pytest.mark.parametrize(
    ("attended", "stdin", "stdout", "expected"),
    [
        (True, True, True, (True, True)),
        (True, True, False, (True, False)),
        (False, True, True, (False, False)),  # in the background
        (False, False, True, (True, False)),  # a pipe
    ],
)
def test_what_a_container_may_read(
    attended: bool, stdin: bool, stdout: bool, expected: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "has_terminal", lambda: attended)
    monkeypatch.setattr(os, "isatty", lambda number: (stdin, stdout)[number])
    assert podman.terminal() == expected


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The signals that reach the container, which exists from the second attempt on."""
    sent: list[str] = []

    def kill(name: str, word: str) -> bool:
        sent.append(word)
        return len(sent) > 1

    monkeypatch.setattr(podman, "kill", kill)
    return sent


def _settle(signals: podman._Signals) -> None:
    while signals._under_way:
        threading.Event().wait(0.01)


def test_signals_reach_the_container_and_a_second_sigterm_kills(delivered: list[str]) -> None:
    signals = podman._Signals("n", threading.Event())
    for _ in range(2):
        signals.forward(signal.SIGTERM)
        _settle(signals)
    signals.forward(signal.SIGUSR1)
    _settle(signals)
    assert delivered == ["SIGTERM", "SIGTERM", "KILL", "SIGUSR1"]


def test_the_same_signal_is_ignored_while_it_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    let, sent = threading.Event(), list[str]()

    def kill(name: str, word: str) -> bool:
        sent.append(word)
        return let.wait(10)

    monkeypatch.setattr(podman, "kill", kill)
    signals = podman._Signals("n", threading.Event())
    for _ in range(2):
        signals.forward(signal.SIGTERM)  # `timeout` sends each of its own twice
    let.set()
    _settle(signals)
    assert sent == ["SIGTERM"]


def test_nothing_is_sent_to_a_container_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman, "kill", lambda name, word: False)
    ended = threading.Event()
    ended.set()
    signals = podman._Signals("n", ended)
    signals.forward(signal.SIGINT)
    _settle(signals)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that were run on our terminal; each ends with 3."""
    calls: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...], *, on_signal: object, meanwhile: Callable[[], None]) -> int:
        calls.append(argv)
        meanwhile()
        return 3

    def replace(argv: tuple[str, ...]) -> NoReturn:
        calls.append(("exec", *argv))
        raise SystemExit

    monkeypatch.setattr(process, "run_in_foreground", run)
    monkeypatch.setattr(process, "replace_process", replace)
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    return calls


def test_a_container_runs_on_our_terminal(ran: list[tuple[str, ...]]) -> None:
    done: list[int] = []
    assert podman.run(("podman", "run"), "n", lambda: done.append(1)) == 3
    assert ran == [("podman", "run")] and done == [1]


def test_a_shell_takes_our_place_at_a_terminal_alone(
    ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(podman, "terminal", lambda: (True, False))
    assert podman.run_interactively(("podman", "run"), "n") == 3
    assert ran == [("podman", "run")]
    monkeypatch.setattr(podman, "terminal", lambda: (True, True))
    with pytest.raises(SystemExit):
        podman.run_interactively(("podman", "run"), "n", full)
    assert ran[1] == ("exec", "podman", "run")


def test_the_command_of_a_service_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    assert podman.api_service_argv(Path("/run/s"), 3) == ("podman", "system", "service", "--time=3", "unix:///run/s")
