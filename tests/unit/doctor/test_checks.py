from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ocicaliban.cli import doctor as command
from ocicaliban.doctor import checks
from ocicaliban.doctor.checks import Finding
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.system import process

GIB = 2**30
UID = os.geteuid()


def info(driver: str, **options: object) -> str:
    return json.dumps({"store": {"graphDriverName": driver, "graphOptions": options, "graphRoot": "/g"}})


@pytest.mark.parametrize(
    ("name", "said", "level"),
    [
        ("buildah", "buildah version 1.28.2 (image-spec 1.0.2, runtime-spec 1.0.2)", "ok"),
        ("buildah", "buildah version 1.9.3", "error"),
        ("podman", "podman version 4.3.1", "ok"),
        ("podman", "podman version 4.2.0-rhel", "error"),
        ("podman", "podman version 10.0.0-dev", "ok"),
        ("uv", "uv 0.5.0", "ok"),
        ("uv", "uv 0.4.30", "error"),
        ("uv", "nonsense", "warning"),
        ("uv", OcicalibanError("uv is not installed", "install it"), "error"),
        ("uv", ToolError("`uv --version` fails"), "error"),
    ],
)
def test_release(name: str, said: str | OcicalibanError, level: str) -> None:
    finding = checks.release(name, said)
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")


def test_not_root() -> None:
    assert checks.not_root(1000).level == "ok"
    finding = checks.not_root(0)
    assert finding.level == "warning" and "running as root" in finding.message


@pytest.mark.parametrize(
    ("text", "uid", "level"),
    [
        ("other:1:65536\nann:100000:65536\n", 1000, "ok"),
        ("1000:100000:65536\n", 1000, "ok"),
        ("ann:100000:40000\nann:200000:40000", 1000, "ok"),
        ("ann:1:999\nann:1001:64535", 1000, "ok"),
        ("ann:100000:65533", 1000, "error"),
        ("anna:100000:65536\n# ann\nann:x\nann:1:many", 1000, "error"),
        ("", 1000, "error"),
        ("", 0, "ok"),
    ],
)
def test_subids(text: str, uid: int, level: str) -> None:
    finding = checks.subids("subuid", text, "ann", uid)
    assert finding.level == level
    assert ("--add-subuids" in finding.remedy) == (level == "error")


def test_idmap() -> None:
    assert checks.idmap("/a", "/b", 1000).level == "ok"
    assert checks.idmap(None, None, 0).level == "ok"
    finding = checks.idmap("/a", None, 1000)
    assert finding.level == "error" and finding.message.startswith("newgidmap not found")


def test_runtime_dir(tmp_path: Path) -> None:
    def check(value: object, uid: int = UID) -> Finding:
        return checks.runtime_dir({"XDG_RUNTIME_DIR": str(value)}, uid)

    file = tmp_path / "file"
    file.touch()
    assert check(tmp_path).level == "ok"
    assert checks.runtime_dir({}, 1000).level == "warning"
    assert checks.runtime_dir({}, 0).level == "ok"
    assert "No such file" in check(tmp_path / "gone").message
    assert "not a folder" in check(file).message
    assert "belongs to" in check(tmp_path, UID + 1).message
    for bad in (check(tmp_path / "gone"), check(file), check(tmp_path, UID + 1)):
        assert bad.level == "error" and "unset" in bad.remedy


def test_cgroups(tmp_path: Path) -> None:
    assert checks.cgroups(tmp_path / "gone").level == "warning"
    (tmp_path / "memory").mkdir()
    assert checks.cgroups(tmp_path).message.startswith("version 1")
    (tmp_path / "unified").mkdir()
    hybrid = checks.cgroups(tmp_path)
    assert hybrid.level == "ok" and "podman unshare" in hybrid.message
    (tmp_path / "cgroup.controllers").touch()
    assert checks.cgroups(tmp_path).message == "version 2"


@pytest.mark.parametrize(
    ("said", "level", "word"),
    [
        (info("overlay"), "ok", "native"),
        (info("overlay", **{"overlay.mount_program": {"Executable": "/usr/bin/fuse-overlayfs"}}), "warning", "fuse"),
        (info("vfs"), "warning", "vfs"),
        (info("btrfs"), "warning", "btrfs"),
        ("[]", "warning", "does not say"),
        ("no json", "warning", "does not say"),
        (OcicalibanError("podman is not installed", "install it"), "error", "podman is not installed"),
    ],
)
def test_storage(said: str | OcicalibanError, level: str, word: str) -> None:
    finding = checks.storage(said)
    assert finding.level == level and word in finding.message
    assert bool(finding.remedy) == (level != "ok")


def test_graph_root() -> None:
    gone = OcicalibanError("podman is not installed")
    assert checks.graph_root(info("vfs"), {}, 1000) == Path("/g")
    assert checks.graph_root(gone, {"HOME": "/h"}, 1000) == Path("/h/.local/share/containers/storage")
    assert checks.graph_root(gone, {"HOME": "/h", "XDG_DATA_HOME": "/d"}, 1000) == Path("/d/containers/storage")
    assert checks.graph_root("{}", {}, 0) == Path("/var/lib/containers/storage")


def test_file_system() -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /zz-home rw shared:1 - nfs4 server:/home rw\n"
        "3 2 0:6 / /zz-home/my\\040disk rw - xfs /dev/sdb rw\n"
        "4 1 0:7 / /zz-scratch rw - ext4 /dev/sdc rw\n"
        "5 4 0:8 / /zz-scratch rw - lustre x rw\n"
        "broken line\n"
    )

    def check(path: str) -> Finding:
        return checks.file_system(Path(path), mounts)

    assert check("/zz-local/storage").level == "ok"
    assert check("/zz-homely").message.startswith("ext4")
    assert check("/zz-home/my disk/storage").message.startswith("xfs")
    assert check("/zz-scratch/storage").level == "error"
    nfs = check("/zz-home/ann/storage")
    assert nfs.level == "error" and "nfs4" in nfs.message and "rootless_storage_path" in nfs.remedy
    assert checks.file_system(Path("/zz"), "").level == "warning"


@pytest.mark.parametrize(
    ("free", "level"),
    [(5 * GIB, "ok"), (5 * GIB - 1, "warning"), (GIB, "warning"), (GIB - 1, "error"), (0, "error"), (None, "warning")],
)
def test_room(free: int | None, level: str) -> None:
    finding = checks.room(Path("/g"), free)
    assert finding.level == level and bool(finding.remedy) == (level != "ok")


def test_cdi(tmp_path: Path) -> None:
    gone = tmp_path / "no-driver"
    specs = tmp_path / "cdi"
    specs.mkdir()
    library = tmp_path / "libcuda.so.550"
    spec = specs / "nvidia.json"
    mounts = [{"hostPath": str(library), "containerPath": "/lib/libcuda.so"}]
    devices = [{"name": "0", "containerEdits": {"mounts": mounts}}]
    assert checks.cdi([specs], gone) == (Finding(name="GPUs", level="ok", message="no GPU"),)
    assert [finding.level for finding in checks.cdi([specs], tmp_path)] == ["warning"]

    spec.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))
    (stale,) = checks.cdi([specs], gone)
    assert stale.level == "error" and str(library) in stale.message
    assert f"nvidia-ctk cdi generate --output={spec}" in stale.remedy

    library.touch()
    good = Finding(name="GPUs", level="ok", message="nvidia.com/gpu=0")
    assert checks.cdi([specs], gone) == (good,)

    other = specs / "other.json"
    other.write_text("{")
    corrupt, *rest = checks.cdi([specs], gone)
    assert corrupt.level == "error" and str(other) in corrupt.message and "nvidia-ctk" in corrupt.remedy
    assert rest == [good]
    library.unlink()
    assert [finding.level for finding in checks.cdi([specs], gone)] == ["error", "error"]


def test_the_users_configuration_tells_more_folders_of_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(process, "tool", _missing)
    file = tmp_path / "ocicaliban" / "config.toml"
    file.parent.mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "acme.json").write_text("{")
    file.write_text(f'cdi_spec_dirs = ["{tmp_path}/own"]\n')
    assert any(f"{tmp_path}/own/acme.json" in finding.message for finding in checks.examine())
    file.write_text("cdi_spec_dirs = 3\n")
    (fault,) = (finding for finding in checks.examine() if finding.name == "config")
    assert fault.level == "error" and f"{file}:1" in fault.message


def test_a_tool_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(checks, "PATIENCE", 0.1)
    findings = {finding.name: finding for finding in checks.examine()}
    for name in ("podman", "storage driver"):
        assert findings[name].level == "error" and "no answer within 0.1 seconds" in findings[name].message
        assert findings[name].remedy


def test_programs(tmp_path: Path) -> None:
    assert checks.bootstrap("/usr/bin/mmdebstrap").level == "ok"
    assert checks.bootstrap(None).level == "warning"
    program = tmp_path / "catatonit"
    assert checks.init([program]).level == "warning"
    program.touch(mode=0o755)
    assert checks.init([tmp_path / "gone", program]).message == str(program)


def test_what_pushing_and_the_history_take() -> None:
    assert checks.pushing("/usr/bin/skopeo").level == "ok"
    lacking = checks.pushing(None)
    assert lacking.level == "warning" and "cloud" in lacking.message and lacking.remedy
    assert checks.commits("/usr/bin/git").message == "/usr/bin/git"
    assert checks.commits(None).level == "ok", "nothing fails without it"


def test_who_works_here_alone_is_told_nothing_of_google(tmp_path: Path) -> None:
    [lacking] = checks.cloud(False, {"HOME": str(tmp_path)})
    assert lacking.level == "ok" and "pip install 'ocicaliban[vertex]'" in lacking.message


def test_credentials_are_looked_for_where_googles_library_does(tmp_path: Path) -> None:
    def credentials(**environ: str) -> Finding:
        there, found = checks.cloud(True, {"HOME": str(tmp_path), **environ})
        assert there.level == "ok"
        return found

    none = credentials()
    assert none.level == "warning" and "gcloud auth application-default login" in none.remedy
    key = tmp_path / "key.json"
    lost = credentials(GOOGLE_APPLICATION_CREDENTIALS=str(key))
    assert lost.level == "warning" and str(key) in lost.message and lost.remedy
    key.touch()
    assert credentials(GOOGLE_APPLICATION_CREDENTIALS=str(key)).level == "ok"
    own = tmp_path / "elsewhere" / "application_default_credentials.json"
    own.parent.mkdir()
    own.touch()
    assert credentials(CLOUDSDK_CONFIG=str(own.parent)).message == f"credentials: {own}"
    usual = tmp_path / ".config" / "gcloud" / own.name
    usual.parent.mkdir(parents=True)
    usual.touch()
    assert credentials().level == "ok"


def test_googles_library_is_found_without_being_imported() -> None:
    script = (
        "import sys; from ocicaliban.doctor import checks as d;"
        " print(d._installed(d.LIBRARY), d.LIBRARY in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
    assert not checks._installed("nowhere.to.be.found")


def _missing(name: str) -> str:
    raise OcicalibanError(f"{name} is not installed", f"install {name}")


def test_examine_without_any_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "tool", _missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.name: finding for finding in checks.examine()}
    for name in ("buildah", "podman", "uv", "storage driver"):
        assert findings[name].level == "error" and "is not installed" in findings[name].message
    assert findings["mmdebstrap"].level == "warning"
    assert all(finding.remedy for finding in findings.values() if finding.level != "ok")


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = Finding(name="uv", level="ok", message="0.9.1")
    poor = Finding(name="user", level="warning", message="root", remedy="do\nthis")
    bad = Finding(name="podman", level="error", message="gone", remedy="install it")
    monkeypatch.setattr(checks, "examine", lambda: (good, poor))
    command.doctor()
    assert capsys.readouterr().out == ("ok       uv: 0.9.1\nwarning  user: root\n         do\n         this\n")
    monkeypatch.setattr(checks, "examine", lambda: (good, bad))
    with pytest.raises(typer.Exit) as exit_:
        command.doctor(as_json=True)
    assert exit_.value.exit_code == 1
    assert [item["level"] for item in json.loads(capsys.readouterr().out)] == ["ok", "error"]
