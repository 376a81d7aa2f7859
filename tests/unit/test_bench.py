"""The pure part of the bench: samples in turns, medians, limits, tables, parsing of commands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.__main__ import main
from tests.bench.measure import Measure, Result, Sample, alternate, as_json, compare, markdown, table, take
from tests.bench.workshop import BenchError, plain_podman

RATIO = Result(name="r", what="a run", limit=2.5, unit="times", ours=(0.2, 9.0, 0.4), theirs=(0.1, 0.2, 7.0))
BYTES = Result(name="b", what="a push", limit=1.2, unit="times", ours=(1200.0,), theirs=(1000.0,), of="bytes")
SECONDS = Result(name="s", what="a start", limit=0.25, unit="s CPU", ours=(0.3, 0.1, 0.5, 0.3))


def test_samples_are_taken_by_turns() -> None:
    order: list[str] = []

    def sample(side: str) -> float:
        order.append(side)
        return float(len(order))

    assert alternate((lambda: sample("A"), lambda: sample("B")), 3) == ((1.0, 3.0, 5.0), (2.0, 4.0, 6.0))
    assert "".join(order) == "ABABAB"


@pytest.mark.parametrize(("runs", "expected"), [(0, 4), (2, 2)])
@pytest.mark.parametrize("compared", [True, False])
def test_a_measure_is_taken_as_often_as_asked_and_then_left(runs: int, expected: int, compared: bool) -> None:
    left: list[str] = []

    @contextmanager
    def prepare(bench: str) -> Iterator[Sequence[Sample]]:
        yield (lambda: 3.0, lambda: 2.0) if compared else (lambda: 3.0,)
        left.append(bench)

    measure = Measure(name="n", what="w", limit=1, unit="times", runs=4, prepare=prepare)
    result = take(measure, "bench", runs)
    assert result.ours == (3.0,) * expected
    assert result.theirs == ((2.0,) * expected if compared else ())
    assert left == ["bench"]


def test_two_checkouts_are_compared_in_turns_by_our_sample_of_each() -> None:
    order: list[str] = []

    @contextmanager
    def prepare(bench: str) -> Iterator[Sequence[Sample]]:
        def sample() -> float:
            order.append(bench)
            return {"here": 2.2, "there": 2.0}[bench]

        yield sample, lambda: 100.0

    measure = Measure(name="n", what="w", limit=0.1, unit="s", runs=2, prepare=prepare)
    result = compare(measure, "here", "there")
    assert order == ["here", "there"] * 2
    assert (result.ours, result.theirs, result.unit, result.met) == ((2.2, 2.2), (2.0, 2.0), "times", False)
    assert compare(measure, "there", "there").met


PODMAN = "podman run --rm --init --name ocicaliban-1 -i --entrypoint python3 '$image' train.py"


@pytest.mark.parametrize(
    "dry_run",
    [
        PODMAN,
        f"image=$(ocicaliban build train.py) || exit\n{PODMAN}",
        "image=$(ocicaliban build train.py) || exit\npodman unshare unshare -mC sh -c "
        f"'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"' _ {PODMAN}",
    ],
)
def test_the_podman_run_is_found_with_hybrid_cgroups_too(dry_run: str) -> None:
    expected = ("podman", "run", "--rm", "--init", "--name", "ocicaliban-1", "-i", "--entrypoint", "python3")
    assert plain_podman(dry_run, "abc") == (*expected, "abc", "train.py")


@pytest.mark.parametrize("dry_run", ["", "podman unshare true", "podman run --rm abc", "podman run $image $image"])
def test_a_dry_run_without_a_podman_run_of_an_image_is_an_error(dry_run: str) -> None:
    with pytest.raises(BenchError, match="should end with a `podman run`"):
        plain_podman(dry_run, "abc")


def test_a_ratio_is_of_the_medians_and_held_against_the_limit() -> None:
    assert (RATIO.median, RATIO.their_median, RATIO.measured) == (0.4, 0.2, 2.0)
    assert RATIO.met
    assert not Result(name="r", what="", limit=1.9, unit="times", ours=RATIO.ours, theirs=RATIO.theirs).met


def test_what_is_compared_to_nothing_is_held_against_the_limit_itself() -> None:
    assert (SECONDS.measured, SECONDS.their_median, SECONDS.met) == (0.3, None, False)
    assert Result(name="s", what="", limit=0.3, unit="s", ours=SECONDS.ours).met


def test_markdown() -> None:
    assert markdown((RATIO, SECONDS, BYTES)).splitlines() == [
        "| what | limit | measured | median (s) | compared to (s) | runs |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a run | 2.5 times | 2.00 times | 0.40 | 0.20 | 3 |",
        "| a start | 0.25 s CPU | 0.30 s CPU | 0.30 |  | 4 |",
        "| a push | 1.2 times | 1.20 times | 1.2 kB | 1.0 kB | 1 |",
    ]


def test_the_table_marks_in_red_what_misses_its_limit() -> None:
    console = Console(width=120, force_terminal=True, color_system="standard", record=True)
    with console.capture() as captured:
        console.print(table((RATIO, SECONDS)))
    lines = captured.get().splitlines()
    run, start = (next(line for line in lines if what in line) for what in ("a run", "a start"))
    assert "\x1b[31m" in start
    assert "\x1b[31m" not in run


def test_json_keeps_every_run() -> None:
    ratio, seconds = json.loads(as_json((RATIO, SECONDS)))
    assert ratio["ours"] == [0.2, 9.0, 0.4]
    assert (ratio["measured"], ratio["met"]) == (2.0, True)
    assert (seconds["theirs"], seconds["met"]) == ([], False)


def test_a_measure_is_taken_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["version", "--runs", "2", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["name"], len(result["ours"])) == ("version", 2)
    assert code == (0 if result["met"] else 1)


def test_an_unknown_measure_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["speed"])
    assert "there is no measure 'speed'; there are unchanged, shell, edited, " in capsys.readouterr().err


def test_something_else_than_a_checkout_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["version", "--against", str(tmp_path)])
    assert "is not a checkout of ocicaliban" in capsys.readouterr().err


def test_missing_tools_are_named_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["version", "edited"]) == 2
    assert capsys.readouterr().err == "error: not installed: buildah, mmdebstrap, podman; see `ocicaliban doctor`\n"
