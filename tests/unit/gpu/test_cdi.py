from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi
from ocicaliban.gpu.spec import ContainerEdits, DeviceNode, MountEdit
from tests.cdi_specs import KIND, UUID, full, names, write


def fault(*folders: Path) -> OcicalibanError:
    found = cdi.discover(folders)
    assert len(found.faults) == 1
    return found.faults[0]


def test_spec_dirs() -> None:
    system = (Path("/etc/cdi"), Path("/var/run/cdi"))
    assert cdi.spec_dirs({"HOME": "/h"}) == (Path("/h/.config/cdi"), *system)
    environ = {"HOME": "/h", "XDG_CONFIG_HOME": "/x"}
    assert cdi.spec_dirs(environ, ("/a", "~/b", "/etc/cdi")) == (
        Path("/a"),
        Path("/h/b"),
        Path("/etc/cdi"),
        Path("/x/cdi"),
        Path("/var/run/cdi"),
    )
    assert cdi.spec_dirs({"HOME": "/h", "XDG_CONFIG_HOME": "relative"})[0] == Path("/h/.config/cdi")


def test_discover_sorts_naturally_and_skips_what_is_no_spec(tmp_path: Path) -> None:
    spec = write(tmp_path, "10", "all", "2", "gpu10", "gpu9", UUID)
    (tmp_path / "notes.txt").write_text("{")
    (tmp_path / "folder.json").mkdir()
    found = cdi.discover([tmp_path / "absent", spec, tmp_path, tmp_path]).devices
    assert names(found) == ["2", "10", UUID, "all", "gpu9", "gpu10"]
    assert found[0] == cdi.Device(kind=KIND, name="2", spec=spec, version="0.5.0")
    assert found[0].qualified == "acme.example/gpu=2"


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_discover_yaml_with_unquoted_number_and_unknown_fields(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"acme.{suffix}").write_text(
        "cdiVersion: 9.9.9\nkind: acme.example/gpu\nnovelty: [1]\ndevices:\n- name: 0\n  containerEdits:\n"
        "    netDevices: [{hostInterfaceName: eth0}]\n    env: [A=1]\n    mounts:\n"
    )
    found = cdi.discover([tmp_path]).devices
    assert names(found) == ["0"]
    assert cdi.container_edits(found) == ContainerEdits(env=("A=1",))


def test_a_corrupt_spec_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "0")
    (tmp_path / "other.json").write_text("{")
    write(tmp_path / "b", "1")
    found = cdi.discover([tmp_path, tmp_path / "b"])
    assert names(found.devices) == ["0", "1"]
    assert [str(tmp_path / "other.json") in item.message for item in found.faults] == [True]


def test_a_spec_without_devices_is_no_fault(tmp_path: Path) -> None:
    write(tmp_path)
    assert cdi.discover([tmp_path]) == cdi.Discovery()


def test_same_name_twice(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "0")
    write(tmp_path / "b", "0", "1")
    found = cdi.discover([tmp_path / "a", tmp_path / "b"]).devices
    assert names(found) == ["0", "1"]
    assert found[0].spec == first
    write(tmp_path / "a", "0", file="copy.json")
    assert re.search(r"two CDI specs offer.*acme\.json.*copy\.json", fault(tmp_path / "a", tmp_path / "b").message)
    assert names(cdi.discover([tmp_path / "a", tmp_path / "b"]).devices) == ["1"]
    # A folder before it settles which.
    assert names(cdi.discover([tmp_path / "b", tmp_path / "a"]).devices) == ["0", "1"]
    assert cdi.discover([tmp_path / "b", tmp_path / "a"]).faults == ()


def test_var_run_goes_before_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdi, "ETC", tmp_path / "etc")
    monkeypatch.setattr(cdi, "VAR_RUN", tmp_path / "run")
    write(tmp_path / "etc", "0")
    winner = write(tmp_path / "run", "0")
    assert cdi.discover([tmp_path / "etc", tmp_path / "run"]).devices[0].spec == winner
    own = write(tmp_path / "own", "0")
    assert cdi.discover([tmp_path / "own", tmp_path / "etc", tmp_path / "run"]).devices[0].spec == own


def test_resolve(tmp_path: Path) -> None:
    injection = cdi.container_edits(full(tmp_path))
    assert injection.env == ("WHICH=1", "B=a=b")
    assert injection.mounts == (
        MountEdit(host_path="/lib/a.so", container_path="/lib/a.so", options=("ro", "nosuid", "nodev", "bind")),
    )
    assert injection.devices == (
        DeviceNode(path="/dev/acme0", permissions="rw"),
        DeviceNode(path="/dev/acmectl", host_path="/dev/host-ctl"),
        DeviceNode(path="/dev/acme1", permissions="rw"),
    )
    assert [hook.timeout for hook in injection.hooks] == [5, None]
    assert cdi.container_edits(()) == ContainerEdits()


def test_resolve_sees_a_changed_spec(tmp_path: Path) -> None:
    found = full(tmp_path)
    write(tmp_path, "7")
    with pytest.raises(OcicalibanError, match=r"no longer has the device acme\.example/gpu=0"):
        cdi.container_edits(found)


def test_missing_files(tmp_path: Path) -> None:
    there = tmp_path / "there.so"
    there.touch()
    edits = {
        "mounts": [
            {"hostPath": str(there), "containerPath": "/lib/there.so"},
            {"hostPath": str(tmp_path / "gone.so"), "containerPath": str(there)},
        ],
        "deviceNodes": [{"path": "/dev/absent-acme", "hostPath": "/dev/null"}, {"path": "/dev/absent-acme1"}],
        "hooks": [
            {"hookName": "createContainer", "path": "/absent/ctk"},
            {"hookName": "startContainer", "path": "/absent/inside"},
        ],
    }
    spec = write(tmp_path / "stale", {"name": "0", "containerEdits": edits}, {"name": "1", "containerEdits": edits})
    write(tmp_path / "good", "2")
    found = cdi.discover([tmp_path / "stale", tmp_path / "good"]).devices
    assert cdi.absent_host_paths(found) == {spec: (str(tmp_path / "gone.so"), "/dev/absent-acme1", "/absent/ctk")}
