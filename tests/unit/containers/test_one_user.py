"""A command in which changes of owners and users succeed, and do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.containers import one_user

ACT = """
import os, sys
os.chown(sys.argv[1], 12345, 12345)
os.lchown(sys.argv[1], 12345, 12345)
os.setgroups([12345])
os.setresuid(12345, 12345, 12345)
os.mknod(sys.argv[1] + ".device", 0o20600, 0)
print(os.stat(sys.argv[1]).st_uid == os.getuid(), os.path.exists(sys.argv[1] + ".device"))
"""


@pytest.mark.skipif(os.uname().machine not in one_user._CALLS, reason="the filter is for two kinds of processors")
def test_what_only_root_may_do_succeeds_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = (sys.executable, "-I", one_user.__file__, sys.executable, "-c", ACT, str(tmp_path / "file"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True False\n", "")


@pytest.mark.parametrize("machine", one_user._CALLS)
def test_each_jump_of_the_filter_leads_to_its_end(machine: str) -> None:
    code = one_user.program(machine)
    words = [code[at : at + 8] for at in range(0, len(code), 8)]
    calls = one_user._CALLS[machine][1]
    assert len(set(calls)) == len(calls)
    for number, word in enumerate(words[4:-2], 4):
        assert number + 1 + word[2] == len(words) - 1  # if it is the call, the last word: succeed


def test_the_profile_for_builds_names_the_same_calls() -> None:
    profile = json.loads(Path(one_user.__file__).with_suffix(".json").read_text())
    (rule,) = profile["syscalls"]
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 0)
    assert {"fchownat", "setgroups", "setresuid", "mknodat", "capset"} <= set(rule["names"])
