from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.gpu.spec import ContainerEdits, MountEdit
from tests.cdi_specs import device, full, write


def test_podman_args(tmp_path: Path) -> None:
    injection = cdi.container_edits(full(tmp_path))
    expected = (
        *("-v", "/lib/a.so:/lib/a.so:ro,nosuid,nodev"),
        *("--device", "/dev/acme0:/dev/acme0:rw"),
        *("--device", "/dev/host-ctl:/dev/acmectl:rwm"),
        *("--device", "/dev/acme1:/dev/acme1:rw"),
        *("--env", "WHICH=1", "--env", "B=a=b"),
    )
    assert podman_options.edits_as_options(injection) == expected
    assert podman_options.edits_as_options(ContainerEdits()) == ()


def test_groups_and_folders_in_memory(tmp_path: Path) -> None:
    memory = {"hostPath": "tmpfs", "containerPath": "/run/acme", "type": "tmpfs", "options": ["nosuid", "mode=755"]}
    edits = {"additionalGids": [44, 0, 44], "mounts": [memory], "intelRdt": {"closID": "a"}}
    write(tmp_path, {"name": "0", "containerEdits": edits}, containerEdits={"additionalGids": [109]})
    found = cdi.discover([tmp_path])
    assert podman_options.edits_as_options(cdi.container_edits(found.devices)) == (
        *("--tmpfs", "/run/acme:nosuid"),
        *("--group-add", "109", "--group-add", "44"),
    )
    assert cdi.absent_host_paths(found.devices) == {}


def test_arguments_name_the_device_where_podman_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdi, "ETC", tmp_path)
    write(tmp_path, {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/null", "hostPath": "/dev/null"}]}})
    found = cdi.discover([tmp_path]).devices
    assert podman_options.run_options(found, (4, 3, 1)) == (("--device", "acme.example/gpu=0"), {})
    # podman without root passes over a hostPath that differs.
    write(tmp_path, {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null"}]}})
    assert podman_options.run_options(found, (4, 3, 1)) == (("--device", "/dev/null:/dev/a:rwm"), {})
    write(tmp_path, "0", cdiVersion="1.1.0", containerEdits={"hooks": [{"hookName": "poststop", "path": "/bin/true"}]})
    args, hooks = podman_options.run_options(cdi.discover([tmp_path]).devices, (5, 8, 0))
    assert (args, list(hooks)) == ((), ["000-poststop.json"])


def test_hooks_script_writes_the_files_and_clears_up() -> None:
    files = {"000-a.json": "it's $HOME\n", "001-b.json": "two"}
    lines = f'{podman_options.hooks_script(files)}echo "$hooks"; cat "$hooks"/*\n'
    said = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, check=True).stdout
    folder, _, text = said.partition("\n")
    assert text == "it's $HOME\ntwo"
    assert not Path(folder).exists()


def test_hooks_are_written_once(tmp_path: Path) -> None:
    files = {"000-a.json": "one", "001-b.json": "two"}
    place = podman_options.write_hooks(files, tmp_path / "hooks")
    assert {path.name: path.read_text() for path in place.iterdir()} == files
    assert podman_options.write_hooks(files, tmp_path / "hooks") == place
    assert podman_options.write_hooks({"000-a.json": "other"}, tmp_path / "hooks") != place
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
    mount = MountEdit(host_path="/a", container_path="/b", options=options)
    assert podman_options.edits_as_options(ContainerEdits(mounts=(mount,))) == ("-v", expected)


@given(st.lists(st.sampled_from(["ro", "rw", "nosuid", "suid", "shared", "rslave", "bind", "rbind", "weird"])))
def test_mount_options_never_clash(options: list[str]) -> None:
    mount = MountEdit(host_path="/a", container_path="/b", options=tuple(options))
    kept = podman_options.edits_as_options(ContainerEdits(mounts=(mount,)))[1].split(":")[2:]
    words = kept[0].split(",") if kept else []
    for group in ({"ro", "rw"}, {"nosuid", "suid"}, {"shared", "rslave"}):
        assert len(group & set(words)) == len([word for word in words if word in group]) == bool(group & set(options))
    assert not {"bind", "rbind", "weird"} & set(words)


@pytest.mark.parametrize("path", ["volume", "/a:b"])
def test_paths_that_podman_would_misread(path: str) -> None:
    with pytest.raises(OcicalibanError):
        podman_options.edits_as_options(ContainerEdits(mounts=(MountEdit(host_path=path, container_path="/b"),)))


def test_hook_files(tmp_path: Path) -> None:
    files = podman_options.hook_files(cdi.container_edits(full(tmp_path)))
    assert list(files) == ["000-createContainer.json", "001-createContainer.json"]
    assert json.loads(files["000-createContainer.json"]) == {
        "version": "1.0.0",
        "hook": {"path": "/bin/acme-ctk", "args": ["acme-ctk", "ldcache"], "env": ["X=1"], "timeout": 5},
        "when": {"always": True},
        "stages": ["createContainer"],
    }
    assert podman_options.hook_files(ContainerEdits()) == {}


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
    assert podman_options.reads_specs((device("0", version=version),), podman_version=podman) is expected


def test_native_place(tmp_path: Path) -> None:
    elsewhere = device("0", spec=str(tmp_path / "a.yaml"))
    assert not podman_options.reads_specs((device("1"), elsewhere), podman_version=(5, 8))
    assert podman_options.reads_specs((elsewhere,), podman_version=(5, 8), podman_dirs=(tmp_path,))
    assert not podman_options.reads_specs((device("0", spec="/etc/cdi/sub/a.yaml"),), podman_version=(5, 8))
    assert not podman_options.reads_specs((device("0", spec="/etc/cdi/a.yml"),), podman_version=(5, 8))
