"""Prepares a bare machine: the tools of the kit below a folder, an ordinary user, and a CDI spec of its GPUs."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from tests.device import kit

HERE = Path(__file__).parent
USER = "ocgpu"
LIBRARIES = re.compile(r"lib(cuda|nvidia-(ml|ptxjitcompiler|nvvm|gpucomp))\.so\.[\d.]+")
NODES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
TARGET = "/usr/lib/x86_64-linux-gnu"


class Machine:
    """What was prepared below `top`: `home`, `project`, and `env`, the environment of the user's commands."""

    def __init__(self, top: Path, packed: Path) -> None:
        self.top, self.home, self.project = top, top / "home", top / "home" / "project"
        self.site, self.tools = top / "site", top / "tools"
        self.user = ""
        for folder in (self.project, self.site, self.tools, self.home / ".config" / "containers"):
            folder.mkdir(parents=True)
        top.chmod(0o755)
        for package in sorted((packed / "debs").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(self.tools)], check=True)
        kit.python_of(packed, self.site)
        self.env = self._environment()
        self._settings()

    def _environment(self) -> dict[str, str]:
        """The tools, in wrappers that show them the libraries that this machine lacks."""
        libraries = self.top / "libraries"
        libraries.mkdir()
        there = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
        for path in self.tools.glob("**/*.so.*"):
            if f"{path.name} " not in there:
                shutil.copy2(path, libraries / path.name)
        wrappers = self.top / "bin"
        wrappers.mkdir()
        for folder in ("usr/bin", "usr/sbin", "usr/libexec/podman"):
            for tool in (self.tools / folder).glob("*"):
                wrapper = wrappers / tool.name
                wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {tool} "$@"\n')
                wrapper.chmod(0o755)
        return {
            "HOME": str(self.home), "LANG": "C.UTF-8", "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{wrappers}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TMPDIR": str(self.top / "tmp"),
            "OCICALIBAN_STORE": str(self.top / "images"),
        }  # fmt: skip

    def _settings(self) -> None:
        for name in ("tmp", "images"):
            (self.top / name).mkdir(mode=0o1777)
            (self.top / name).chmod(0o1777)
        settings = self.home / ".config" / "containers"
        bins = self.top / "bin"
        (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (settings / "containers.conf").write_text(
            f'[containers]\ninit_path = "{self.tools}/usr/libexec/podman/catatonit"\n'
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n'
            f'conmon_path = ["{bins}/conmon"]\nhelper_binaries_dir = ["{bins}"]\n'
            f'[engine.runtimes]\ncrun = ["{bins}/crun"]\n'
        )

    def become_ordinary(self) -> None:
        """Give everything to an ordinary user, if we are root; it has no sub-ids unless the machine gives some."""
        if os.geteuid():
            self.user = pwd.getpwuid(os.geteuid()).pw_name
        else:
            self.user = USER
            if subprocess.run(["id", USER], capture_output=True).returncode:
                subprocess.run(["useradd", "--no-create-home", "--home-dir", str(self.home), USER], check=True)
            # Images on a memory disk: whatever the disk is, and fast.
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", self.env["OCICALIBAN_STORE"]], check=False
            )
        runtime = self.top / "runtime"
        runtime.mkdir(mode=0o700)
        self.env["XDG_RUNTIME_DIR"] = str(runtime)
        if not os.geteuid():
            subprocess.run(["chown", "-R", USER, str(self.home), str(runtime)], check=True)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs a command as the ordinary user."""
        words = ["env", "-i", *(f"{name}={value}" for name, value in self.env.items()), *argv]
        return words if os.geteuid() else ["runuser", "-u", self.user, "--", *words]

    def give_back(self) -> None:
        """Unmount the memory disk, end what podman left, and remove the folder."""
        subprocess.run(self.command("podman", "system", "migrate"), capture_output=True)
        subprocess.run(["umount", "-l", self.env["OCICALIBAN_STORE"]], capture_output=True)
        subprocess.run(["rm", "-rf", str(self.top)], capture_output=True)
        if self.user == USER:
            subprocess.run(["userdel", USER], capture_output=True)


def folders() -> list[Path]:
    """The folders that may have the driver's libraries."""
    named = [Path(word) for word in os.environ.get("LD_LIBRARY_PATH", "").split(":") if word]
    usual = (TARGET, "/usr/lib64", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib")
    return [folder for folder in (*named, *map(Path, usual)) if folder.is_dir()]


def spec(libraries: list[Path], program: Path, nodes: list[Path]) -> dict[str, object]:
    """The CDI spec of the machine's GPUs, in version 0.3.0, which every podman reads."""

    def mount(path: Path, target: str) -> dict[str, object]:
        options = ["ro", "nosuid", "nodev", "bind"]
        return {"hostPath": str(path.resolve()), "containerPath": target, "options": options}

    common = [node for node in nodes if not re.fullmatch(r"nvidia\d+", node.name)]
    own = [node for node in nodes if node not in common]
    mounts = [mount(path, f"{TARGET}/{path.name}") for path in libraries]
    return {
        "cdiVersion": "0.3.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": node.name.removeprefix("nvidia"), "containerEdits": {"deviceNodes": [{"path": str(node)}]}}
            for node in own
        ],
        "containerEdits": {
            "deviceNodes": [{"path": str(node)} for node in common],
            "mounts": [*mounts, mount(program, "/usr/bin/nvidia-smi")],
        },
    }


def of_driver() -> dict[str, object]:
    """The spec of NVIDIA's driver on this machine."""
    found = {
        path.name: path for folder in reversed(folders()) for path in folder.iterdir() if LIBRARIES.fullmatch(path.name)
    }
    places = [*os.environ.get("PATH", "").split(":"), "/usr/bin", "/usr/local/nvidia/bin"]
    program = next(
        (Path(place, "nvidia-smi") for place in places if os.access(Path(place, "nvidia-smi"), os.X_OK)), None
    )
    nodes = [path for pattern in NODES for path in sorted(Path("/dev").glob(pattern)) if not path.is_dir()]
    if not found or program is None or not nodes:
        raise SystemExit(f"no NVIDIA driver: libraries {sorted(found)}, nvidia-smi {program}, devices {nodes}")
    return spec(list(found.values()), program, nodes)


def of_fake(folder: Path) -> dict[str, object]:
    """The spec of a GPU that is none: a library of ours, and a script; its device node is /dev/null."""
    library, program = folder / "libcuda.so.1", folder / "nvidia-smi"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-w", "-o", str(library), str(HERE / "fake_cuda.c")], check=True)
    program.write_text("#!/bin/sh\necho 'GPU 0: no GPU, a stand-in (UUID: GPU-00000000-0000-0000-0000-000000000000)'\n")
    program.chmod(0o755)
    described = spec([library], program, [Path("/dev/nvidia0")])
    # podman ignores another path of a node on the host, without root: so it is a mount.
    described["devices"] = [
        {"name": "0", "containerEdits": {"mounts": [
            {"hostPath": "/dev/null", "containerPath": "/dev/nvidia0", "options": ["bind"]}]}}
    ]  # fmt: skip
    return described


def write_spec(machine: Machine, described: dict[str, object]) -> Path:
    """Write the spec where the user's specs are."""
    path = machine.home / ".config" / "cdi" / "nvidia.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(described, indent=1))
    return path
