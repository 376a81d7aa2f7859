"""What the jobs of a submission ask Slurm for."""

from __future__ import annotations

import json
import subprocess

import pytest
from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.targets.slurm import options
from ocicaliban.targets.slurm.options import Options

FULL = Options(
    partition="gpu", account="lab", qos="long", time="1h30m", constraint="a100&nvme", nodes=2, gpus=2, cpus=4,
    memory="8g", jobs=10, slurm_args=("--exclusive", "--mail-user", "me@x"), grace=30, retries=1,
)  # fmt: skip
NUMBERS = ("nodes", "gpus", "cpus", "jobs", "grace", "deadline", "retries")


def test_every_option_has_its_line() -> None:
    assert options.sbatch_lines(options.checked(FULL)) == (
        "--partition=gpu", "--account=lab", "--qos=long", "--time=1:30:00", "--constraint=a100&nvme", "--nodes=2",
        "--gres=gpu:2", "--cpus-per-task=4", "--mem=8192M", "--signal=B:USR1@30", "--exclusive --mail-user me@x",
    )  # fmt: skip
    assert options.sbatch_lines(Options(grace=0)) == ()


@pytest.mark.parametrize(
    ("given", "slurms"),
    [("", ""), ("90", "90"), ("1:30:00", "1:30:00"), ("2-12", "2-12"), ("2-12:30", "2-12:30"), ("1d", "24:00:00"),
     ("45s", "0:00:45"), ("1h30m", "1:30:00"), ("12H", "12:00:00")],
)  # fmt: skip
def test_a_time_is_slurms_or_ours(given: str, slurms: str) -> None:
    assert options.slurm_time(given) == slurms


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Options(time="soon"), "not a length of time"),
        (Options(time="0h"), "not a length of time"),
        (Options(time="9" * 5000 + "h"), "not a length of time"),
        (Options(time="9" * 5000), "not a length of time"),
        (Options(time="9" * 10 + "h"), "longer than Slurm can count"),
        (Options(time="99999-12"), "longer than Slurm can count"),
        (Options(time="9999999:00:00"), "longer than Slurm can count"),
        *((options.from_record({name: 10**400}), f"{name}: a number larger") for name in NUMBERS),
        (Options(grace=65536), "grace: a number larger than 65535"),
        (Options(memory="9" * 5000 + "g"), "not an amount of memory"),
        (Options(nodes=0), "not a positive number"),
        (Options(gpus=1, gres="gpu:1"), "exclude each other"),
        (Options(runtime="docker"), "no such runtime"),
        (Options(image="tar"), "no such image"),
        (Options(shared="here"), "not an absolute path"),
        (Options(memory="much"), "not an amount of memory"),
        (Options(slurm_args=("--array=0-3",)), "--array cannot be given"),
        (Options(slurm_args=("-a0-3",)), "-a0-3 cannot be given"),
        (Options(slurm_args=("--comment", "mine")), "--comment cannot be given"),
        (Options(partition="a\nb"), "several lines"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(wrong: Options, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options.checked(wrong)


@pytest.mark.parametrize("word", ["a b", 'say "yes"', "back\\slash", "it's", "#1", ""])
def test_words_are_quoted_so_that_sbatch_reads_them(word: str) -> None:
    shell = subprocess.run(
        ["sh", "-c", f"printf %s {options.quoted(word)}"], capture_output=True, text=True, check=True
    )
    assert shell.stdout == word


def test_the_record_keeps_every_option() -> None:
    record = json.loads(json.dumps(options.to_record(FULL)))
    assert options.from_record(record) == FULL
    with pytest.raises(ValueError, match="unknown: newer"):
        options.from_record({**record, "newer": 1})
    assert options.from_record({}) == evolve(Options())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), ("--dependency=afterany:1,afterany:2",)),
        (("--exclusive", "--dependency=afterok:9"), ("--exclusive", "--dependency=afterany:1,afterany:2,afterok:9")),
        (("-d", "afterok:9", "-Q"), ("-Q", "--dependency=afterany:1,afterany:2,afterok:9")),
        (("-dsingleton",), ("--dependency=afterany:1,afterany:2,singleton",)),
        (("--dependency",), ("--dependency=afterany:1,afterany:2",)),
    ],
)
def test_an_array_waits_for_others_and_for_what_the_user_says(given: tuple[str, ...], words: tuple[str, ...]) -> None:
    asked = Options(slurm_args=given)
    assert options.after(asked, ("1", "2")).slurm_args == words
    assert options.after(asked, ()) == asked


def test_what_a_script_says_counts_before_our_environment() -> None:
    script = "#!/bin/sh\n#SBATCH --account=a\n#SBATCH --time=1:00:00\necho '#SBATCH --qos=x'\n"
    hidden = options.hidden_variables(script)
    assert {"SBATCH_ACCOUNT", "SBATCH_TIMELIMIT", "SBATCH_WAIT", "SBATCH_ARRAY_INX"} <= {*hidden}
    assert not {"SBATCH_QOS", "SBATCH_PARTITION", "SBATCH_EXPORT"} & {*hidden}
