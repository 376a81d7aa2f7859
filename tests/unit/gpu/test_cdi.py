from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi

KIND = "acme.example/gpu"
UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"


def write(folder: Path, *names: str | dict[str, Any], file: str = "acme.json", **top: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    devices = [{"name": name, "containerEdits": {}} if isinstance(name, str) else name for name in names]
    path = folder / file
    path.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": KIND, "devices": devices, **top}))
    return path


def device(name: str, kind: str = KIND, spec: str = "/etc/cdi/acme.json", version: str = "0.5.0") -> cdi.Device:
    return cdi.Device(kind=kind, name=name, spec=Path(spec), version=version)


def fault(*folders: Path) -> OcicalibanError:
    found = cdi.discover(folders)
    assert len(found.faults) == 1
    return found.faults[0]


def names(devices: tuple[cdi.Device, ...]) -> list[str]:
    return [item.name for item in devices]


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
    assert cdi.resolve(found) == cdi.Injection(env=("A=1",))


def test_yaml_is_imported_late(tmp_path: Path) -> None:
    write(tmp_path, "0")
    code = (
        "import sys; from pathlib import Path; from ocicaliban.gpu import cdi\n"
        "assert cdi.discover([Path(sys.argv[1])]).devices; assert 'yaml' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(cdi.__file__).parents[1])},
    )


def test_without_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme.yaml").write_text("{}")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "PyYAML" in fault(tmp_path).message


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.json", ""),
        ("a.json", '{"cdiVersion": "0.5.0", '),
        ("a.json", "[" * 100_000),
        ("a.json", "[]"),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu"}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "gpu", "devices": []}'),
        ("a.json", '{"cdiVersion": "new", "kind": "acme.example/gpu", "devices": []}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu", "devices": [{}]}'),
        ("a.json", '{"cdiVersion": "0.5.0", "kind": "acme.example/gpu", "devices": [{"name": "0"}, {"name": "0"}]}'),
        ("a.yaml", ""),
        ("a.yaml", "a: [1"),
        ("a.yaml", "a: 2024-99-99"),
        ("a.yml", "cdiVersion: 0.5.0\nkind: acme.example/gpu\ndevices:\n"),
    ],
)
def test_corrupt_spec(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert str(tmp_path / file) in fault(tmp_path).message
    assert f"nvidia-ctk cdi generate --output={tmp_path / file}" in fault(tmp_path).hint


def test_a_corrupt_spec_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "0")
    (tmp_path / "other.json").write_text("{")
    write(tmp_path / "b", "1")
    found = cdi.discover([tmp_path, tmp_path / "b"])
    assert names(found.devices) == ["0", "1"]
    assert [str(tmp_path / "other.json") in item.message for item in found.faults] == [True]


def test_a_spec_without_devices_is_no_fault(tmp_path: Path) -> None:
    write(tmp_path)
    assert cdi.discover([tmp_path]) == cdi.Found()


@pytest.mark.parametrize(
    "edits",
    [
        [],
        {"env": "A=1"},
        {"env": ["A"]},
        {"env": ["=1"]},
        {"env": [True]},
        {"mounts": [{"hostPath": "/a"}]},
        {"mounts": ["/a"]},
        {"deviceNodes": [{"hostPath": "/dev/a"}]},
        {"hooks": [{"hookName": "../x", "path": "/a"}]},
        {"hooks": [{"hookName": "createContainer", "path": "/a", "timeout": "1"}]},
        {"additionalGids": ["video"]},
        {"additionalGids": [True]},
        {"additionalGids": [-1]},
    ],
)
def test_corrupt_edits(tmp_path: Path, edits: object) -> None:
    write(tmp_path, {"name": "0", "containerEdits": edits})
    assert "corrupt" in fault(tmp_path).message


def test_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("absent")
    assert "a.json" in fault(tmp_path).message


def test_same_name_twice(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "0")
    write(tmp_path / "b", "0", "1")
    found = cdi.discover([tmp_path / "a", tmp_path / "b"]).devices
    assert names(found) == ["0", "1"]
    assert found[0].spec == first
    write(tmp_path / "a", "0", file="copy.json")
    assert re.search(r"two CDI specs.*acme\.json.*copy\.json", fault(tmp_path / "a", tmp_path / "b").message)
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


@pytest.mark.parametrize("request_", [None, "", "all"])
def test_select_default(request_: str | None) -> None:
    plain = (device("0"), device("1"), device(UUID), device("0", "acme.example/nic"))
    assert cdi.select(plain, request_) == plain[:2]
    assert names(cdi.select((*plain, device("all")), request_)) == ["all"]
    assert names(cdi.select((device("gpu0"), device("gpu1")), request_)) == ["gpu0", "gpu1"]
    assert names(cdi.select((device(UUID),), request_)) == [UUID]
    with pytest.raises(UsageError):
        cdi.select((device("0", "acme.example/nic"),), request_)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("0", ["0"]),
        ("1, 0,1", ["gpu1", "0"]),
        ("gpu0", ["0"]),
        (UUID, [UUID]),
        (UUID.lower(), [UUID]),
        (UUID.removeprefix("GPU-"), [UUID]),
        ("acme.example/gpu=gpu1", ["gpu1"]),
        ("acme.example/nic=0", ["0"]),
        ("eth", ["eth"]),
    ],
)
def test_select(request_: str, expected: list[str]) -> None:
    offered = (
        device("0"),
        device("gpu1"),
        device(UUID),
        device("0", "acme.example/nic"),
        device("eth", "acme.example/nic"),
    )
    assert names(cdi.select(offered, request_)) == expected


@pytest.mark.parametrize("request_", ["2", "0,2", "none", ",", "acme.example/gpu=7", "acme.example/gpu=all"])
def test_select_nothing(request_: str) -> None:
    with pytest.raises(UsageError) as caught:
        cdi.select((device("0"), device("1")), request_)
    assert "acme.example/gpu=0, acme.example/gpu=1" in caught.value.hint


def test_select_without_devices() -> None:
    with pytest.raises(UsageError) as caught:
        cdi.select((), None)
    assert "nvidia-ctk cdi generate" in caught.value.hint


def test_select_ambiguous() -> None:
    with pytest.raises(UsageError) as caught:
        cdi.select((device("0"), device("0", "other.example/gpu")), "0")
    assert "acme.example/gpu=0 or other.example/gpu=0" in caught.value.hint


def full(folder: Path) -> tuple[cdi.Device, ...]:
    library = {"hostPath": "/lib/a.so", "containerPath": "/lib/a.so", "options": ["ro", "nosuid", "nodev", "bind"]}
    hook = {"hookName": "createContainer", "path": "/bin/acme-ctk", "args": ["acme-ctk", "ldcache"], "env": ["X=1"]}
    write(
        folder,
        *(
            {
                "name": str(number),
                "containerEdits": {
                    "deviceNodes": [
                        {"path": f"/dev/acme{number}", "permissions": "rw"},
                        {"path": "/dev/acmectl", "hostPath": "/dev/host-ctl", "major": 195},
                    ],
                    "mounts": [library],
                    "env": [f"WHICH={number}"],
                    "hooks": [hook],
                },
            }
            for number in range(2)
        ),
        containerEdits={"env": ["WHICH=void", "B=a=b"], "mounts": [library], "hooks": [{**hook, "timeout": 5}]},
    )
    return cdi.discover([folder]).devices


def test_resolve(tmp_path: Path) -> None:
    injection = cdi.resolve(full(tmp_path))
    assert injection.env == ("WHICH=1", "B=a=b")
    assert injection.mounts == (
        cdi.Mount(host_path="/lib/a.so", container_path="/lib/a.so", options=("ro", "nosuid", "nodev", "bind")),
    )
    assert injection.devices == (
        cdi.DeviceNode(path="/dev/acme0", permissions="rw"),
        cdi.DeviceNode(path="/dev/acmectl", host_path="/dev/host-ctl"),
        cdi.DeviceNode(path="/dev/acme1", permissions="rw"),
    )
    assert [hook.timeout for hook in injection.hooks] == [5, None]
    assert cdi.resolve(()) == cdi.Injection()


def test_resolve_sees_a_changed_spec(tmp_path: Path) -> None:
    found = full(tmp_path)
    write(tmp_path, "7")
    with pytest.raises(OcicalibanError, match=r"no acme\.example/gpu=0 any more"):
        cdi.resolve(found)


def test_podman_args(tmp_path: Path) -> None:
    injection = cdi.resolve(full(tmp_path))
    expected = (
        *("-v", "/lib/a.so:/lib/a.so:ro,nosuid,nodev"),
        *("--device", "/dev/acme0:/dev/acme0:rw"),
        *("--device", "/dev/host-ctl:/dev/acmectl:rwm"),
        *("--device", "/dev/acme1:/dev/acme1:rw"),
        *("--env", "WHICH=1", "--env", "B=a=b"),
    )
    assert cdi.podman_args(injection) == expected
    assert cdi.podman_args(cdi.Injection()) == ()


def test_groups_and_folders_in_memory(tmp_path: Path) -> None:
    memory = {"hostPath": "tmpfs", "containerPath": "/run/acme", "type": "tmpfs", "options": ["nosuid", "mode=755"]}
    edits = {"additionalGids": [44, 0, 44], "mounts": [memory], "intelRdt": {"closID": "a"}}
    write(tmp_path, {"name": "0", "containerEdits": edits}, containerEdits={"additionalGids": [109]})
    found = cdi.discover([tmp_path])
    assert cdi.podman_args(cdi.resolve(found.devices)) == (
        *("--tmpfs", "/run/acme:nosuid"),
        *("--group-add", "109", "--group-add", "44"),
    )
    assert cdi.missing_files(found.devices) == {}


def test_arguments_name_the_device_where_podman_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdi, "ETC", tmp_path)
    write(tmp_path, {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/null", "hostPath": "/dev/null"}]}})
    found = cdi.discover([tmp_path]).devices
    assert cdi.arguments(found, (4, 3, 1)) == (("--device", "acme.example/gpu=0"), {})
    # podman without root passes over a hostPath that differs.
    write(tmp_path, {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null"}]}})
    assert cdi.arguments(found, (4, 3, 1)) == (("--device", "/dev/null:/dev/a:rwm"), {})
    write(tmp_path, "0", cdiVersion="1.1.0", containerEdits={"hooks": [{"hookName": "poststop", "path": "/bin/true"}]})
    args, hooks = cdi.arguments(cdi.discover([tmp_path]).devices, (5, 8, 0))
    assert (args, list(hooks)) == ((), ["000-poststop.json"])


def test_hooks_script_writes_the_files_and_clears_up() -> None:
    files = {"000-a.json": "it's $HOME\n", "001-b.json": "two"}
    lines = f'{cdi.hooks_script(files)}echo "$hooks"; cat "$hooks"/*\n'
    said = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, check=True).stdout
    folder, _, text = said.partition("\n")
    assert text == "it's $HOME\ntwo"
    assert not Path(folder).exists()


def test_hooks_are_written_once(tmp_path: Path) -> None:
    files = {"000-a.json": "one", "001-b.json": "two"}
    place = cdi.write_hooks(files, tmp_path / "hooks")
    assert {path.name: path.read_text() for path in place.iterdir()} == files
    assert cdi.write_hooks(files, tmp_path / "hooks") == place
    assert cdi.write_hooks({"000-a.json": "other"}, tmp_path / "hooks") != place
    assert len(list((tmp_path / "hooks").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "/a:/b"),
        (("rbind",), "/a:/b"),
        (("rbind", "rprivate", "relatime", "ro"), "/a:/b:rprivate,ro"),
        (("ro", "rw", "ro", "ro"), "/a:/b:ro"),
    ],
)
def test_mount_options(options: tuple[str, ...], expected: str) -> None:
    mount = cdi.Mount(host_path="/a", container_path="/b", options=options)
    assert cdi.podman_args(cdi.Injection(mounts=(mount,))) == ("-v", expected)


@given(st.lists(st.sampled_from(["ro", "rw", "nosuid", "suid", "shared", "rslave", "bind", "rbind", "weird"])))
def test_mount_options_never_clash(options: list[str]) -> None:
    mount = cdi.Mount(host_path="/a", container_path="/b", options=tuple(options))
    kept = cdi.podman_args(cdi.Injection(mounts=(mount,)))[1].split(":")[2:]
    words = kept[0].split(",") if kept else []
    for group in ({"ro", "rw"}, {"nosuid", "suid"}, {"shared", "rslave"}):
        assert len(group & set(words)) == len([word for word in words if word in group]) == bool(group & set(options))
    assert not {"bind", "rbind", "weird"} & set(words)


@pytest.mark.parametrize("path", ["volume", "/a:b"])
def test_paths_that_podman_would_misread(path: str) -> None:
    with pytest.raises(OcicalibanError):
        cdi.podman_args(cdi.Injection(mounts=(cdi.Mount(host_path=path, container_path="/b"),)))


def test_hook_files(tmp_path: Path) -> None:
    files = cdi.hook_files(cdi.resolve(full(tmp_path)))
    assert list(files) == ["000-createContainer.json", "001-createContainer.json"]
    assert json.loads(files["000-createContainer.json"]) == {
        "version": "1.0.0",
        "hook": {"path": "/bin/acme-ctk", "args": ["acme-ctk", "ldcache"], "env": ["X=1"], "timeout": 5},
        "when": {"always": True},
        "stages": ["createContainer"],
    }
    assert cdi.hook_files(cdi.Injection()) == {}


@pytest.mark.parametrize(
    ("version", "podman", "expected"),
    [
        ("0.5.0", (4, 3, 1), True),
        ("0.6.0", (4, 9, 4), False),
        ("0.2.0", (4, 3, 1), False),
        ("0.8.0", (5, 4, 2), True),
        ("1.0.0", (5, 4, 2), False),
        ("1.0.0", (5, 5, 0), True),
        ("1.1.0", (5, 8), False),
    ],
)
def test_native_version(version: str, podman: tuple[int, ...], expected: bool) -> None:
    assert cdi.native((device("0", version=version),), podman_version=podman) is expected


def test_native_place(tmp_path: Path) -> None:
    elsewhere = device("0", spec=str(tmp_path / "a.yaml"))
    assert not cdi.native((device("1"), elsewhere), podman_version=(5, 8))
    assert cdi.native((elsewhere,), podman_version=(5, 8), podman_dirs=(tmp_path,))
    assert not cdi.native((device("0", spec="/etc/cdi/sub/a.yaml"),), podman_version=(5, 8))
    assert not cdi.native((device("0", spec="/etc/cdi/a.yml"),), podman_version=(5, 8))


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
    assert cdi.missing_files(found) == {spec: (str(tmp_path / "gone.so"), "/dev/absent-acme1", "/absent/ctk")}


def chosen(found: cdi.Found, want: bool | None = None, request: str | None = None) -> list[str]:
    return names(cdi.choose(found, want, request))


CORRUPT = OcicalibanError("the CDI spec /s/a.json is corrupt", "mend it")


def test_choose_uses_a_gpu_where_there_is_one(tmp_path: Path) -> None:
    write(tmp_path, "0", "1")
    found = cdi.discover([tmp_path])
    assert chosen(found) == chosen(found, True) == chosen(found, None, "all") == ["0", "1"]
    assert chosen(found, False) == []
    assert chosen(found, True, "1") == ["1"]
    assert chosen(cdi.Found()) == []


def test_other_devices_are_no_gpu_by_default(tmp_path: Path) -> None:
    write(tmp_path, "0", "all", kind="acme.example/nic")
    found = cdi.discover([tmp_path])
    assert chosen(found) == []
    assert chosen(found, None, "acme.example/nic=0") == ["0"]
    with pytest.raises(OcicalibanError, match="there is no GPU here") as caught:
        chosen(found, True)
    assert "acme.example/nic=0" in caught.value.hint


@pytest.mark.parametrize(("want", "request_"), [(True, None), (True, "0"), (None, "0"), (None, "all")])
def test_no_gpu_where_one_is_asked_for(want: bool | None, request_: str | None) -> None:
    with pytest.raises(OcicalibanError, match="there is no GPU here") as caught:
        chosen(cdi.Found(), want, request_)
    assert "nvidia-ctk cdi generate" in caught.value.hint
    assert "--nogpu" in caught.value.hint


@pytest.mark.parametrize("request_", ["", " "])
def test_an_empty_request_is_never_all(request_: str) -> None:
    with pytest.raises(UsageError, match="--gpus names no GPU"):
        chosen(cdi.Found(), None, request_)


def test_nogpu_and_gpus_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude"):
        chosen(cdi.Found(), False, "0")


def test_a_corrupt_spec_counts_where_nothing_else_fits(tmp_path: Path) -> None:
    write(tmp_path, "0")
    found = cdi.Found(devices=cdi.discover([tmp_path]).devices, faults=(CORRUPT,))
    assert chosen(found) == chosen(found, True) == chosen(found, None, "0") == ["0"]
    with pytest.raises(OcicalibanError, match=r"/s/a\.json is corrupt"):
        chosen(found, None, "1")
    alone = cdi.Found(faults=(CORRUPT,))
    assert chosen(alone, False) == []
    for want, request in ((None, None), (True, None), (None, "0")):
        with pytest.raises(OcicalibanError, match=r"/s/a\.json is corrupt") as caught:
            chosen(alone, want, request)
        assert caught.value.hint == "mend it; or use the CPU: --nogpu"


def test_a_stale_spec_is_told_before_podman_fails_on_it(tmp_path: Path) -> None:
    gone = {"mounts": [{"hostPath": "/absent/libcuda.so.1", "containerPath": "/lib/libcuda.so.1"}]}
    spec = write(tmp_path, {"name": "0", "containerEdits": gone}, "1")
    found = cdi.discover([tmp_path])
    with pytest.raises(OcicalibanError, match=r"/absent/libcuda\.so\.1") as caught:
        chosen(found)
    assert str(spec) in caught.value.message
    assert f"nvidia-ctk cdi generate --output={spec}" in caught.value.hint
    assert chosen(found, None, "1") == ["1"]
