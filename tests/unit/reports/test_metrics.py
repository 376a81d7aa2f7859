"""What a job reports, and what a killed one leaves."""

from __future__ import annotations

import json
import math
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.reports import metrics
from ocicaliban.reports.metrics import Curve

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def _lines(folder: Path, *lines: object, end: str = "\n") -> str:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metrics.jsonl").write_text(text + end)
    return str(folder)


def test_nested_results_are_joined_by_dots(tmp_path: Path) -> None:
    found = {"accuracy": 0.5, "eval": {"loss": 1, "deep": {"ok": True}}, "model": "net", "later": None}
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    read = metrics.read_folder(str(tmp_path))
    assert read.results == {"accuracy": 0.5, "eval.loss": 1, "eval.deep.ok": True, "model": "net"}
    assert not read.notes and not read.curves


def test_a_curve_goes_over_its_steps_and_its_last_value_is_the_result(tmp_path: Path) -> None:
    folder = _lines(tmp_path, {"step": 0, "loss": 2}, {"step": 10, "loss": 1.5, "lr": 0.1}, {"step": 20, "loss": 1})
    read = metrics.read_folder(folder, 100)
    assert read.results == {"loss": 1, "lr": 0.1}
    assert read.curves == {
        "loss": Curve(steps=(0, 10, 20), values=(2, 1.5, 1)),
        "lr": Curve(steps=(10,), values=(0.1,)),
    }


def test_without_steps_the_lines_are_counted(tmp_path: Path) -> None:
    folder = _lines(tmp_path, {"loss": 2}, {"loss": 1})
    assert metrics.read_folder(folder, 10).curves["loss"] == Curve(steps=(1, 2), values=(2, 1))


def test_a_step_that_comes_again_counts_with_its_last_value(tmp_path: Path) -> None:
    steps = ((0, 3), (1, 2), (2, 1), (0, 30), (1, 20))
    folder = _lines(tmp_path, *({"step": step, "loss": loss} for step, loss in steps))
    read = metrics.read_folder(folder, 10)
    assert read.curves["loss"] == Curve(steps=(0, 1, 2), values=(30, 20, 1))
    assert read.results == {"loss": 20}


def test_metrics_json_says_the_result_where_both_have_it(tmp_path: Path) -> None:
    _lines(tmp_path, {"loss": 2, "time": 1}, {"loss": 1, "time": 2})
    (tmp_path / "metrics.json").write_text('{"loss": 0.5}')
    read = metrics.read_folder(str(tmp_path), 10)
    assert dict(read.results) == {"loss": 0.5, "time": 2} and len(read.curves["loss"].steps) == 2


def test_a_half_written_last_line_is_told(tmp_path: Path) -> None:
    read = metrics.read_folder(_lines(tmp_path, {"loss": 2}, '{"loss": 1', end=""), 10)
    assert read.results == {"loss": 2}
    assert read.notes == ("metrics.jsonl: the last line is incomplete",)


def test_a_last_line_that_lacks_but_its_end_counts(tmp_path: Path) -> None:
    read = metrics.read_folder(_lines(tmp_path, {"loss": 2}, {"loss": 1}, end=""))
    assert read.results == {"loss": 1} and not read.notes


def test_an_attempt_that_was_appended_to_half_a_line_loses_that_line_alone(tmp_path: Path) -> None:
    read = metrics.read_folder(_lines(tmp_path, {"a": 1}, '{"a": 2, "b{"a": 3}', "[4]", {"a": 5}))
    assert read.results == {"a": 5}
    assert read.notes == ("metrics.jsonl: line 2 is not a JSON object, the first of 2 such lines",)


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    folder = _lines(tmp_path, '{"loss": NaN, "step": NaN}', '{"loss": -Infinity, "big": 1' + "0" * 400 + "}")
    read = metrics.read_folder(folder, 10)
    assert read.results == {"loss": -math.inf, "big": math.inf}
    assert read.curves["loss"].steps == (1, 2) and math.isnan(read.curves["loss"].values[0])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "metrics.json is empty"),
        (b"accuracy: 1", "metrics.json is not JSON"),
        (b"\xff\xfe\x00", "metrics.json is not JSON"),
        (b"\0" * 4096, "metrics.json is not JSON"),
        (b"[" * 200_000, "metrics.json is not JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "metrics.json is not JSON"),
        (b"[1, 2]", "metrics.json is not a JSON object"),
        (b'{"losses": [1, 2]}', "metrics.json: losses is a list, which is ignored"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, "metrics.json: " + ".".join("a" * 20) + " is nested too deeply"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    assert metrics.read_folder(str(tmp_path), 10) == metrics.Metrics(notes=(told,))


def test_names_and_texts_can_always_be_printed(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"a\\ud800": "\\udfff"}')
    assert metrics.read_folder(str(tmp_path)).results == {"a\\ud800": "\\udfff"}


def test_a_link_shows_no_file_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"password": 1}')
    (tmp_path / "metrics.json").symlink_to(tmp_path / "secret")
    read = metrics.read_folder(str(tmp_path))
    assert not read.results and read.notes == ("cannot read metrics.json: it is a link: write the file itself",)


@pytest.mark.timeout(10)
def test_fifos_sockets_and_folders_keep_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.json")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "metrics.jsonl"))
        read = metrics.read_folder(str(tmp_path))
    assert [note.split(": ")[-1] for note in read.notes] == ["it is not a regular file", "it is not a regular file"]
    (tmp_path / "folder" / "metrics.json").mkdir(parents=True)
    assert metrics.read_folder(str(tmp_path / "folder")).notes == (
        "cannot read metrics.json: it is not a regular file",
    )
    assert metrics.read_folder(str(tmp_path / "nowhere")) == metrics.read_folder("") == metrics.Metrics()


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_shape(tmp_path: Path) -> None:
    folder = _lines(tmp_path, *(f'{{"step": {step}, "loss": {step}}}' for step in range(20_000)))
    curve = metrics.read_folder(folder, 1000).curves["loss"]
    assert 500 <= len(curve.steps) <= 1000 and curve.steps[-1] == 19_999
    assert curve.steps == curve.values and max(b - a for a, b in zip(curve.steps, curve.steps[1:], strict=False)) < 60


def test_a_thinned_curve_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    attempts = [f'{{"step": {step}, "loss": {attempt}}}' for attempt in (1, 2) for step in range(7777)]
    curve = metrics.read_folder(_lines(tmp_path, *attempts), 100).curves["loss"]
    assert set(curve.values) == {2.0} and len(curve.steps) >= 50


def test_a_line_without_an_end_is_passed_over(tmp_path: Path) -> None:
    folder = _lines(tmp_path, {"a": 1}, '{"b": "' + "x" * 3_000_000 + '"}', {"a": 2})
    read = metrics.read_folder(folder)
    assert read.results == {"a": 2} and read.notes == ("metrics.jsonl: line 2 is longer than 1 MB",)


def test_a_job_that_makes_up_names_without_end_is_bounded(tmp_path: Path) -> None:
    read = metrics.read_folder(_lines(tmp_path, *({f"name{n}": n} for n in range(2000))), 10)
    assert len(read.results) == len(read.curves) == 500
    assert read.notes == ("more than 500 names: the others are ignored",)


@given(whole=JSON, lines=st.lists(JSON, max_size=8), cut=st.integers(0, 200))
def test_no_json_makes_it_raise(
    tmp_path_factory: pytest.TempPathFactory, whole: object, lines: list[object], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("out")
    (folder / "metrics.json").write_text(json.dumps(whole))
    text = "\n".join(json.dumps(line) for line in lines).encode()
    (folder / "metrics.jsonl").write_bytes(text[: max(0, len(text) - cut)])
    read = metrics.read_folder(str(folder), 3)
    for name, value in read.results.items():
        assert isinstance(value, str | int | float | bool)
        f"{name}={value}".encode()


@given(
    points=st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False)), max_size=60
    ),
    most=st.integers(1, 8),
)
def test_a_curve_of_any_steps_stays_bounded_in_order_and_true(points: list[tuple[float, float]], most: int) -> None:
    thinning = metrics.Thinning(points=most)
    for step, value in points:
        thinning.add(step, value)
    made = thinning.curve()
    assert len(made.steps) <= 2 * most + 2 and list(made.steps) == sorted(made.steps)
    last = dict(points)
    assert all(
        last[step] == value or (step, value) in points for step, value in zip(made.steps, made.values, strict=True)
    )
    if len(last) <= most:
        assert dict(zip(made.steps, made.values, strict=True)) == last


def test_of_a_file_without_end_the_beginning_and_the_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "first": 1}\n')
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse
        file.seek(0, 2)
        file.write(b'\n{"step": 2, "last": 2}\n')
    found = metrics.read_folder(str(tmp_path))
    assert found.results == {"first": 1, "last": 2}
    assert "metrics.jsonl is large: 1099.4 GB in the middle of it were not read" in found.notes


def test_of_a_large_file_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(metrics, "_LARGE", 1000)
    (tmp_path / "whole").mkdir()
    file, whole = tmp_path / "metrics.jsonl", tmp_path / "whole" / "metrics.jsonl"
    parsed: list[object] = []
    loads = json.loads

    def counted(text: str | bytes) -> object:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", counted)
    pieces = [
        b"".join(b'{"step": %d, "loss": %d}\n' % (n, -n) for n in range(2000)),
        b'wrong\n{"step": 2000, "loss": 5, "name": ["a"]}\n{"step": 2001, "los',  # a line that is half written
        b's": 6}\n{"loss": 7}',  # no end yet
        b"\n" + b"x" * 1_500_000,  # and one that is too long, without an end
        b'x\n{"step": 9, "loss": NaN}\n',
        b"",
    ]
    for number, piece in enumerate(pieces):
        with file.open("ab") as out, whole.open("ab") as again:
            out.write(piece)
            again.write(piece)
        parsed.clear()
        found = metrics.read_folder(str(tmp_path), 100)
        assert len([text for text in parsed if b'"step"' in text]) <= (2000 if not number else 3)  # type: ignore[operator]
        with monkeypatch.context() as forgetful:
            forgetful.setattr(metrics, "_LARGE", 1 << 60)
            assert repr(found) == repr(metrics.read_folder(str(whole.parent), 100))
    file.write_text('{"loss": 1}\n' * 200)  # another run, in the same file
    assert metrics.read_folder(str(tmp_path), 100).results == {"loss": 1}
    for memory in tmp_path.glob("cache/ocicaliban/metrics/*"):
        memory.write_text('{"version": 1}')
    assert metrics.read_folder(str(tmp_path), 100).results == {"loss": 1}
