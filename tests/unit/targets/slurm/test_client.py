"""What Slurm's commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.containers import own_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.targets.slurm import client
from ocicaliban.targets.slurm.states import Shown
from ocicaliban.targets.submit_once import CreateFault


def line(array: str, index: str, state: str, restarts: str, reason: str, comment: str) -> str:
    return f"{array:20}{index:12}{state:20}{restarts:10}{reason:60}{comment:80}"


def test_squeue_shows_tasks() -> None:
    text = "\n".join([
        line("17", "3", "RUNNING", "1", "None", "ocicaliban:abc"),
        line("17", "4", "PENDING", "0", "ReqNodeNotAvail, UnavailableNodes:n1", "ocicaliban:abc"),
        line("18", "N/A", "RUNNING", "0", "None", ""),
        line("19", "0", "CANCELLED by 1002", "0", "None", "mine"),
    ])  # fmt: skip
    first, second, other = client.parse_squeue(text)
    assert (first.array, first.index, first.key, first.shown) == (
        "17", 3, "abc", Shown(state="RUNNING", restarts=1, reason="None"),
    )  # fmt: skip
    assert second.shown.reason == "ReqNodeNotAvail, UnavailableNodes:n1"
    assert (other.key, other.shown.state) == ("", "CANCELLED")


def test_accounting_shows_tasks() -> None:
    text = "17_3|CANCELLED by 1002|0:15|ocicaliban:abc\n17_4|FAILED|2:0|a|b\n18|COMPLETED|0:0|\n17_[5-9]|PENDING|0:0|\n"
    first, second, whole, rest = client.parse_sacct(text)
    assert (first.index, first.shown, first.key) == (3, Shown(state="CANCELLED", code=143), "abc")
    assert (second.shown, second.key) == (Shown(state="FAILED", code=2), "")
    # Tasks that never ran have one line together, with the rest of their array's numbers or without.
    assert (whole.array, whole.index, whole.shown.state) == ("18", client.WHOLE, "COMPLETED")
    assert (rest.array, rest.index, rest.shown.state) == ("17", client.WHOLE, "PENDING")


def test_sacct_is_asked_with_options_that_it_has_since_22_05() -> None:
    assert "--array" not in client.sacct_argv(["1"])  # newer versions alone have it


@pytest.mark.parametrize(
    ("words", "verdict", "kind"),
    [
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates"
         " accounting/QOS policy (job submit limit, user's size and/or time limits)", "refused", client.Full),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed", "refused", client.Full),
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", "refused", CreateFault),
        ("sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates"
         " accounting/QOS policy (job submit limit, user's size and/or time limits)", "refused", CreateFault),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", "unclear",
         CreateFault),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", "unclear",
         CreateFault),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", "throttled",
         CreateFault),
    ],
)  # fmt: skip
def test_a_failure_of_sbatch(words: str, verdict: str, kind: type) -> None:
    fault = client.fault_of(words)
    assert (fault.verdict, type(fault)) == (verdict, kind)
    assert "sbatch: error" not in fault.words


@pytest.mark.parametrize(("temporary", "kept"), [("/scratch/ocicaliban-7/tmp", ""), ("/scratch/mine", "/scratch/mine")])
def test_a_job_does_not_inherit_the_store_of_the_login_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str, kept: str
) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        '#!/bin/sh\necho "$USERS,${TMPDIR-},${CONTAINERS_STORAGE_CONF-},${OCICALIBAN_STORAGE_CONF-}" >$SEEN\necho 17\n'
    )
    sbatch.chmod(0o755)
    conf = "/scratch/ocicaliban-7/ocicaliban-storage.conf"
    for name, value in (
        ("PATH", f"{tmp_path}:/usr/bin:/bin"), ("SEEN", str(tmp_path / "seen")), ("USERS", "own"),
        ("TMPDIR", temporary), ("CONTAINERS_STORAGE_CONF", conf), ("OCICALIBAN_STORAGE_CONF", conf),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "script").write_text("#!/bin/bash\n")
    assert client.SlurmClient().create(tmp_path / "script") == "17"
    assert (tmp_path / "seen").read_text() == f"own,{kept},,\n"


def test_the_users_own_store_settings_reach_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCICALIBAN_STORAGE_CONF", raising=False)
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", "/home/me/storage.conf")
    assert own_store.variables() == ()


def test_the_settings_of_a_cluster() -> None:
    text = "Configuration data as of now\nClusterName             = one\nMaxArraySize            = 1001\n"
    assert client.parse_config(text) == client.Cluster(name="one", largest_array=1001)
    more = f"{text}SchedulerParameters     = bf_continue,max_array_tasks=50\n"
    assert client.parse_config(more).largest_array == 50
    assert client.parse_config("slurm_load_ctl_conf error") == client.Cluster()


def test_a_machine_without_slurm_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert client.cluster() == client.Cluster()
    with pytest.raises(OcicalibanError, match="no sbatch"):
        client.test("#!/bin/sh\n")
