"""`ocicaliban expand` as it is used: the documentation's examples, pipes, and its memory."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ocicaliban.jobs.sweep_file import parse
from tests.integration.program import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "experiments.md").read_text()
SWEEP_FILES = DOCUMENT[DOCUMENT.index("## Sweep files") :]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
DIGITS = [*range(10)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder, with the program as `./bin/ocicaliban`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ocicaliban"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ocicaliban "$@"\n')
    program.chmod(0o755)
    return tmp_path


def _bash(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_examples_of_the_documentation(folder: Path) -> None:
    blocks = BLOCK.findall(SWEEP_FILES.split("\n## ", 1)[0])
    sweeps = {}
    ran = 0
    for (before, text), (kind, session) in pairwise(blocks):
        if kind != "console":
            continue
        command, printed = session.removeprefix("$ ").split("\n", 1)
        if match := re.search(r"\w+\.json", command):
            if before == "json":
                sweeps[match[0]] = text
            (folder / match[0]).write_text(sweeps[match[0]])
        done = _bash(command, folder)
        assert done.stdout + done.stderr == printed
        ran += 1
    assert ran == 7
    others = {kind: text for kind, text in blocks if kind in ("toml", "yaml")}
    assert parse(others["toml"], "toml", "x") == parse(sweeps["models.json"], "json", "x")
    assert parse(others["yaml"], "yaml", "x") == parse(sweeps["together.json"], "json", "x")


@pytest.mark.parametrize("option", ["", "--pprint", "--print-flags"])
def test_who_reads_only_the_beginning_waits_for_no_more(option: str, folder: Path) -> None:
    (folder / "sweep.json").write_text(json.dumps({f"k{number}": DIGITS for number in range(30)}))
    pipe = f"ocicaliban expand sweep.json {option} | head -c 500; code=${{PIPESTATUS[0]}}; echo; echo $code"
    done = _bash(pipe, folder)
    assert done.stdout.splitlines()[-1] == "141"
    assert "k29" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["", "--pprint", "--print-flags"])
def test_memory_does_not_grow_with_the_combinations(option: str, folder: Path) -> None:
    peak = {}
    for keys in (2, 6):
        (folder / "sweep.json").write_text(json.dumps({f"k{number}": DIGITS for number in range(keys)}))
        code = (
            "import resource, sys\nfrom ocicaliban.__main__ import main\n"
            f"main({['expand', 'sweep.json', *option.split()]!r})\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = _bash(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >out", folder)
        peak[keys] = int(done.stderr)
    # 10,000 times as many; a million of the smallest objects would take tens of megabytes.
    assert peak[6] - peak[2] < 4000
