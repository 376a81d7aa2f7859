"""A job's log: as conmon writes it, and plain."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.jobs import log_conversion, log_file
from ocicaliban.jobs.log_parts import END, GAP, LogParts
from ocicaliban.system import holes

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


# --- large logs, and those that reach their limit ---


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_conversion, "_PIECE", 100_000)
    monkeypatch.setattr(log_conversion, "_LINES", 10_000)


LINES = b"".join(b"line number %d\n" % number for number in range(20_000))


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.usefixtures("small_pieces")
def test_a_large_log_is_converted_without_a_second_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = text_of(tmp_path, LINES)
    at_first, seen, free = used(log_file.raw(log)), [], holes.free_beginning

    def free_beginning(file: int, length: int) -> bool:
        done = free(file, length)
        if not done:
            pytest.skip("this file system cannot free a part of a file")
        seen.append(used(log_file.raw(log)) + used(LogParts(log).half))
        assert log_file.last_line(log) == "line number 19999"
        assert b"".join(log_file.follow(log, lambda: True)) == LINES
        return done

    monkeypatch.setattr(holes, "free_beginning", free_beginning)
    log_file.plain(log)
    assert log.read_bytes() == LINES and os.listdir(tmp_path) == ["1.log"]
    assert len(seen) > 5 and max(seen) < at_first + 200_000


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("works", [False, True])
@pytest.mark.parametrize("until", [0, 1, 3, 5, 8, 100])
def test_a_kill_while_a_large_log_is_converted_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int, works: bool, cut: bool
) -> None:
    log = text_of(tmp_path, LINES)
    expected = LINES
    if cut:
        os.link(log_file.raw(log), LogParts(log).first)
        log_file.raw(log).unlink()
        log_file.raw(log).write_bytes(conmon(b"the end\n" * 100_000, 8000))
        expected = LINES + GAP + b"the end\n" * 100_000 + END
    free, left = holes.free_beginning, until

    class Killed(BaseException):
        pass

    def free_beginning(file: int, length: int) -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return free(file, length) if works else False

    monkeypatch.setattr(holes, "free_beginning", free_beginning)
    for step in (os.replace, os.unlink, None):
        with monkeypatch.context() as patch:
            if step:  # at the end of a conversion

                def killed(*_: object, **__: object) -> None:
                    raise Killed

                patch.setattr(os, step.__name__, killed)
                patch.setattr(Path, "unlink", killed)
            with contextlib.suppress(Killed):
                log_file.plain(log)
        assert b"".join(log_file.follow(log, lambda: True)) == expected
    assert log.read_bytes() == expected
    assert os.listdir(tmp_path) == ["1.log"]


def rotate(log: Path) -> None:
    """What conmon does with a file that is full."""
    new = Path(f"{log_file.raw(log)}.tmp")
    new.touch()
    new.rename(log_file.raw(log))


def write(log: Path, text: bytes) -> None:
    with log_file.raw(log).open("ab") as file:
        file.write(conmon(text, 8000))


@pytest.mark.parametrize("files", [1, 2, 4])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_log_that_reached_its_limit_keeps_its_beginning_and_its_end(tmp_path: Path, files: int, end: bytes) -> None:
    log = tmp_path / "1.log"
    LogParts(log).prepare()
    LogParts(log).prepare()  # the container is made again
    for number in range(files):
        if number:
            rotate(log)
        write(log, b"file %d%s" % (number, end))
    between = b"" if end else b"\n"
    expected = b"file 0" + end
    if files > 1:
        expected += between + GAP + b"file %d" % (files - 1) + end + between + END
    assert log_file.last_line(log) == f"file {files - 1}"
    assert b"".join(log_file.follow(log, lambda: True)) == expected
    log_file.plain(log)
    assert log.read_bytes() == expected and os.listdir(tmp_path) == ["1.log"]
    assert log_file.last_line(log) == f"file {files - 1}"
    assert b"".join(log_file.follow(log, lambda: True)) == expected


def test_who_follows_a_log_sees_what_is_left_out_of_it(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    LogParts(log).prepare()
    write(log, b"one\n")
    lines = log_file.follow(log, lambda: False, pause=0.001)
    assert next(lines) == b"one\n"
    write(log, b"two\n")
    rotate(log)
    assert next(lines) == b"two\n"
    write(log, b"three\n")
    assert next(lines) == GAP
    assert next(lines) == b"three\n"
    rotate(log)
    write(log, b"four\n")
    assert next(lines) == b"four\n"
    rotate(log)  # unseen
    write(log, b"five\n")
    rotate(log)
    write(log, b"the long end of it\n")
    log_file.plain(log)
    assert b"".join(lines) == b"the long end of it\n" + END
    assert log.read_bytes() == b"one\ntwo\n" + GAP + b"the long end of it\n" + END


def test_a_file_system_without_links_keeps_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    log = tmp_path / "1.log"
    LogParts(log).prepare()
    write(log, b"one\n")
    rotate(log)
    write(log, b"two\n")
    log_file.plain(log)
    assert log.read_bytes() == b"two\n" and os.listdir(tmp_path) == ["1.log"]
