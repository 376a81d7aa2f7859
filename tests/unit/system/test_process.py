"""How tools are run: what goes on beside one that has our terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.system import process, threads


def _nothing(_: int) -> None:
    """No signal comes here."""


@pytest.mark.parametrize("fault", [ToolError("no room"), OSError(28, "no room")])
def test_what_fails_meanwhile_is_no_fault_of_the_run(fault: Exception) -> None:
    def meanwhile() -> None:
        raise fault

    assert process.run_in_foreground(("sh", "-c", "exit 3"), on_signal=_nothing, meanwhile=meanwhile) == 3


def test_an_error_of_ours_meanwhile_comes_when_the_tool_has_ended(tmp_path: Path) -> None:
    def meanwhile() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        process.run_in_foreground(
            ("sh", "-c", f"sleep 0.2; echo > {tmp_path}/ended"), on_signal=_nothing, meanwhile=meanwhile
        )
    assert (tmp_path / "ended").exists()


def test_a_tools_failure_is_told_in_its_words_without_passwords() -> None:
    script = "echo 'from https://ann:s3cret@example.org/' >&2; exit 3"
    with pytest.raises(ToolError) as caught:
        process.run(("sh", "-c", script), doing="it cannot be built", hint="read the log")
    assert caught.value.message == "it cannot be built\nfrom https://****@example.org/"
    assert caught.value.hint == "read the log" and "s3cret" not in caught.value.stderr


def test_a_known_failure_has_its_own_hint() -> None:
    with pytest.raises(ToolError) as caught:
        process.run(("sh", "-c", "echo 'No space left on device' >&2; exit 1"), hint="read the log")
    assert "podman system df" in caught.value.hint


@pytest.mark.parametrize("whole", [False, True])
def test_the_output_is_without_its_last_newline_and_the_environment_is_added(whole: bool) -> None:
    assert process.run(("sh", "-c", "echo $A; pwd"), env={"A": "1"}, cwd=Path("/"), whole=whole) == "1\n/"


def test_a_tool_may_be_let_finish_from_any_thread() -> None:
    assert threads.start(lambda: process.run(("echo", "done"), whole=True)).result(10) == "done"


def test_a_tool_that_takes_too_long_is_killed() -> None:
    with pytest.raises(ToolError, match=r"sh -c failed: no answer within 0\.1 seconds"):
        process.run(("sh", "-c", "sleep 60"), limit=0.1)
    with pytest.raises(ToolError, match=r"sleep 60: no answer within 0\.1 seconds"):
        process.ask(("sleep", "60"), limit=0.1)


def test_an_answer_may_be_secret_and_is_in_no_message() -> None:
    assert process.ask(("cat",), "question", limit=10) == "question"
    with pytest.raises(ToolError) as caught:
        process.ask(("sh", "-c", "printf s3%s cret; echo why >&2; exit 1"), limit=10)
    assert "s3cret" not in caught.value.message and "why" in caught.value.message
    assert "s3cret" in caught.value.stderr  # for the caller, which knows what to look for


def test_a_tool_that_is_missing_is_told_with_its_package() -> None:
    with pytest.raises(OcicalibanError, match="no-such-tool is not installed") as caught:
        process.run(("no-such-tool",))
    assert "sudo apt install no-such-tool" in caught.value.hint
    assert process.on_path("no-such-tool") is None


def test_output_and_success_are_told_of_a_failure_too(tmp_path: Path) -> None:
    fails = ("sh", "-c", "echo out; echo err >&2; exit 4")
    assert process.output(fails) == "out\n"
    assert process.output(fails, errors=True) == "out\nerr\n"
    assert not process.ok(fails) and process.ok(("true",))
    assert process.run_logged(fails, tmp_path / "log") == 4
    assert (tmp_path / "log").read_text() == "out\nerr\n"


PANIC = """STEP 1/2: FROM base
time="2026-11-28T05:00:00Z" level=error msg="no space"
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]

goroutine 1 [running]:
main.main()
\t/build/main.go:12 +0x1
""" + "\n".join(f"goroutine {number} [chan receive]:\nx.y()" for number in range(2, 400))


def test_a_crash_is_told_in_a_few_words_and_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "said").write_text(PANIC)
    log = tmp_path / "state/ocicaliban/crashes/sh.log"
    argv = ["sh", "-c", f"cat {tmp_path}/said >&2; exit 2"]
    with pytest.raises(ToolError) as caught:
        process.run(argv, doing="the layer 'apt' cannot be built")
    assert caught.value.message.splitlines() == [
        "the layer 'apt' cannot be built",
        *PANIC.splitlines()[:2],
        "sh has crashed: panic: runtime error: invalid memory address or nil pointer dereference",
        f"its whole output: {log}",
    ]
    assert log.read_text() == PANIC and log.stat().st_mode & 0o777 == 0o600
    assert caught.value.stderr == PANIC
    log.unlink()
    log.parent.rmdir()
    log.parent.touch()  # it cannot be written
    with pytest.raises(ToolError) as caught:
        process.run(argv)
    assert caught.value.message.splitlines()[-1].startswith("sh has crashed: panic: ")


def test_what_only_looks_like_a_crash_is_told_whole() -> None:
    with pytest.raises(ToolError, match="panic: no\nmore\nlines"):
        process.run(["sh", "-c", "printf 'panic: no\nmore\nlines\n' >&2; exit 1"])
