"""A job's log: as conmon writes it, and plain."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.jobs import log_file

TIME = b"2026-11-24T02:10:00.123456789+00:00"


def conmon(written: bytes, size: int = 8, stream: bytes = b"stdout") -> bytes:
    """What conmon makes of bytes that it reads in pieces of `size`."""
    lines = []
    for start in range(0, len(written), size):
        *whole, rest = written[start : start + size].split(b"\n")
        lines += [TIME + b" " + stream + b" F " + line + b"\n" for line in whole]
        if rest:
            lines.append(TIME + b" " + stream + b" P " + rest + b"\n")
    return b"".join(lines)


def text_of(folder: Path, written: bytes) -> Path:
    log = folder / "1.log"
    log_file.raw(log).write_bytes(conmon(written))
    return log


@given(st.binary(max_size=200))
def test_the_plain_log_is_what_the_job_wrote_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, written: bytes
) -> None:
    log = text_of(tmp_path_factory.mktemp("log"), written)
    assert b"".join(log_file.follow(log, lambda: True)) == written
    log_file.plain(log)
    assert log.read_bytes() == written
    assert b"".join(log_file.follow(log, lambda: True)) == written
    assert [path.name for path in log.parent.iterdir()] == ["1.log"]


def test_both_streams_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log_file.raw(log).write_bytes(conmon(b"a", 8) + conmon(b"wrong\n", 8, b"stderr") + conmon(b"b\n"))
    log_file.plain(log)
    assert log.read_bytes() == b"awrong\nb\n"


def test_a_job_that_writes_lines_like_conmons_has_them_in_its_log(tmp_path: Path) -> None:
    written = conmon(b"12345\n")
    log = text_of(tmp_path, written)
    for _ in range(2):
        log_file.plain(log)
        assert log.read_bytes() == written
    assert log_file.last_line(log) == written.decode().rstrip("\n")


def test_a_kill_in_the_middle_of_the_change_loses_nothing(tmp_path: Path) -> None:
    log = text_of(tmp_path, b"all of it\n")
    (tmp_path / "1.log.half").write_bytes(b"al")
    log.write_bytes(b"all of it\n")  # renamed, and conmon's not removed yet
    assert log_file.last_line(log) == "all of it"
    log_file.plain(log)
    assert log.read_bytes() == b"all of it\n" and not log_file.raw(log).exists()


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    log_file.plain(tmp_path / "1.log")
    assert log_file.last_line(tmp_path / "1.log") == ""
    assert list(log_file.follow(tmp_path / "1.log", lambda: True)) == []


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"", ""),
        (b"\n \n\n", ""),
        (b"a\nb\n\n", "b"),
        (b"a\nhalf", "half"),
        (b"epoch 1\r\n", "epoch 1"),
        (b" 10%\r 20%\r", "20%"),
        (b" 10%\r 20%\r\x1b[K", "20%"),
        (b"\x1b[1;31mred\x1b[0m\ttab\x07\n", "red tab"),
        (b"\x1b]0;title\x07text\x00\n", "text"),
        ("loss 0.1 \N{GREEK SMALL LETTER ALPHA}\n".encode(), "loss 0.1 \N{GREEK SMALL LETTER ALPHA}"),
        (b"\xff\xfe\n", "\N{REPLACEMENT CHARACTER}" * 2),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b".encode(), "ab"),
    ],
)
def test_the_last_line_as_a_terminal_would_show_it(tmp_path: Path, written: bytes, line: str) -> None:
    log = text_of(tmp_path, written)
    assert log_file.last_line(log) == line
    log_file.plain(log)
    assert log_file.last_line(log) == line


def test_the_last_line_of_a_large_log_is_read_from_its_end_and_is_short(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log_file.raw(log).write_bytes(conmon(b"x" * 200_000, 8000) + conmon(b"\nlast\n", 8000))
    assert log_file.last_line(log) == "last"
    log_file.raw(log).write_bytes(conmon(b"x" * 200_000, 8000))
    assert set(log_file.last_line(log)) == {"x"} and len(log_file.last_line(log)) < 1000


def test_following_goes_on_over_the_change_to_plain_text(tmp_path: Path) -> None:
    log = text_of(tmp_path, b"one\n")
    lines = log_file.follow(log, lambda: False, pause=0.001)
    assert next(lines) == b"one\n"
    with log_file.raw(log).open("ab") as file:
        file.write(conmon(b"two\n") + TIME + b" std")
        file.flush()
        assert next(lines) == b"two\n"
        file.write(b"out F three\n")
    log_file.plain(log)
    assert list(lines) == [b"three\n"]
    assert os.listdir(tmp_path) == ["1.log"]


def test_a_log_that_cannot_be_converted_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = text_of(tmp_path, b"one\ntwo\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        log_file.plain(log)
    assert caught.value.filename == f"{log}.half"
    assert [path.name for path in tmp_path.iterdir()] == ["1.log.conmon"]
    assert log_file.last_line(log) == "two" and b"".join(log_file.follow(log, lambda: True)) == b"one\ntwo\n"
