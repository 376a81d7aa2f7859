"""GPUs by CDI with the real tools: a made-up vendor whose driver is a script."""

import json
import os
import subprocess
import sys
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from attrs import frozen

REPOSITORY = Path(__file__).parents[2]
UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"
Done = subprocess.CompletedProcess[str]

LOOK = """\
import json, os, shutil, subprocess

def read(path):
    return open(path).read() if os.path.exists(path) else ""

print(json.dumps({
    "nodes": sorted(name for name in os.listdir("/dev") if name.startswith("examplegpu")),
    "smi": subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout if shutil.which("nvidia-smi") else "",
    "env": sorted(name for name in os.environ if name.startswith("EXAMPLE_")),
    "mark": read("/etc/examplegpu"),
    "groups": 4242 in os.getgroups(),
}))
"""
HOOK = """\
#!{python}
import json, sys
from pathlib import Path
bundle = Path(json.load(sys.stdin)["bundle"])
root = json.loads((bundle / "config.json").read_text())["root"]["path"]
(bundle / root / "etc" / "examplegpu").write_text(sys.argv[1])
"""


@frozen(kw_only=True)
class Machine:
    """A user's home with a configuration of its own, a folder of CDI specs that it names, and a project."""

    home: Path
    specs: Path
    project: Path

    @property
    def environment(self) -> dict[str, str]:
        # The image store stays the user's, so that the base is not made a second time.
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        paths = {"HOME": str(self.home), "XDG_DATA_HOME": data, "PYTHONPATH": str(REPOSITORY)}
        path = f"{self.home}/bin:{os.environ['PATH']}"
        return {**os.environ, **paths, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def call(self, *args: str) -> Done:
        return self.shell(" ".join(("exec", "ocicaliban", *args)))

    def shell(self, script: str) -> Done:
        return subprocess.run(
            ["sh", "-c", script], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    def seen(self, *args: str) -> tuple[dict[str, Any], str]:
        """What look.py saw in the container, and what ocicaliban said."""
        done = self.call("run", *args, "look.py")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def _spec(folder: Path) -> Path:
    driver = _program(folder / "driver" / "nvidia-smi", "#!/bin/sh\necho 'Example GPU, driver 1.0'\n")
    hook = _program(folder / "driver" / "hook", HOOK.format(python=sys.executable))
    nodes = [{"path": f"/dev/examplegpu{n}", "hostPath": path} for n, path in enumerate(("/dev/null", "/dev/zero"))]
    edits = [{"deviceNodes": [node], "env": [f"EXAMPLE_{number}=1"]} for number, node in enumerate(nodes)]
    spec = {
        "cdiVersion": "1.1.0",
        "kind": "example.com/gpu",
        "devices": [
            {"name": "0", "containerEdits": edits[0]},
            {"name": "1", "containerEdits": edits[1]},
            {"name": UUID, "containerEdits": edits[1]},
            {"name": "all", "containerEdits": {"deviceNodes": nodes, "env": ["EXAMPLE_ALL=1"]}},
        ],
        "containerEdits": {
            "env": ["EXAMPLE_DRIVER=1.0"],
            "mounts": [{"hostPath": str(driver), "containerPath": "/usr/bin/nvidia-smi", "options": ["ro", "bind"]}],
            "hooks": [{"hookName": "createContainer", "path": str(hook), "args": ["hook", "it's here"]}],
            "additionalGids": [4242],
        },
    }
    path = folder / "example.json"
    path.write_text(json.dumps(spec))
    return path


def _machine(folder: Path, base_lock: str) -> Machine:
    machine = Machine(home=folder / "home", specs=folder / "cdi", project=folder / "project")
    for path in (machine.home / ".config" / "ocicaliban", machine.specs, machine.project):
        path.mkdir(parents=True)
    # storage.conf's place.
    (machine.home / ".config" / "containers").symlink_to(Path.home() / ".config" / "containers")
    (machine.home / ".config" / "ocicaliban" / "config.toml").write_text(f'cdi_spec_dirs = ["{machine.specs}"]\n')
    _program(machine.home / "bin" / "ocicaliban", f'#!/bin/sh\nexec {sys.executable} -m ocicaliban "$@"\n')
    (machine.project / "ocicaliban.toml").write_text('[layers.base]\nbootstrap = "debian:bookworm"\n')
    lock = tomllib.loads(base_lock)
    lock["base"]["gpu"] = lock["base"]["cpu"]
    (machine.project / "ocicaliban.lock").write_text(tomli_w.dumps(lock))
    (machine.project / "look.py").write_text(LOOK)
    (machine.project / "mark.txt").write_text(uuid.uuid4().hex)
    return machine


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory, base_lock: str) -> Machine:
    """A machine with two GPUs; the tests that share it change nothing."""
    machine = _machine(tmp_path_factory.mktemp("gpu"), base_lock)
    _spec(machine.specs)
    return machine


@pytest.fixture
def bare(tmp_path: Path, base_lock: str) -> Machine:
    """A machine without a GPU."""
    return _machine(tmp_path, base_lock)


def _images() -> set[str]:
    argv = ["buildah", "images", "-a", "-q", "--no-trunc"]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def _failed(done: Done) -> tuple[str, str]:
    """The message and the hint of a command that failed as it should."""
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    message, _, hint = done.stderr.partition("\n hint: ")
    assert message.startswith("error: ")
    assert hint
    return message, hint


@pytest.mark.parametrize(
    ("args", "names", "nodes", "env"),
    [
        ((), "example.com/gpu=all", [0, 1], ["ALL"]),
        (("--gpu",), "example.com/gpu=all", [0, 1], ["ALL"]),
        (("--gpus", "all"), "example.com/gpu=all", [0, 1], ["ALL"]),
        (("--gpus", "0"), "example.com/gpu=0", [0], ["0"]),
        (("--gpus", "1"), "example.com/gpu=1", [1], ["1"]),
        (("--gpus", "1,0"), "example.com/gpu=1, example.com/gpu=0", [0, 1], ["0", "1"]),
        (("--gpus", UUID), f"example.com/gpu={UUID}", [1], ["1"]),
    ],
)
def test_run_has_the_gpu_that_is_asked_for(
    equipped: Machine, args: tuple[str, ...], names: str, nodes: list[int], env: list[str]
) -> None:
    seen, said = equipped.seen(*args)
    assert seen == {
        "nodes": [f"examplegpu{number}" for number in nodes],
        "smi": "Example GPU, driver 1.0\n",
        "env": [f"EXAMPLE_{name}" for name in (*env, "DRIVER")],
        "mark": "it's here",
        "groups": True,
    }
    assert f"running on the GPU: {names}\n" in said


def test_nogpu_runs_on_the_cpu(equipped: Machine) -> None:
    seen, said = equipped.seen("--nogpu")
    assert seen == {"nodes": [], "smi": "", "env": [], "mark": "", "groups": False}
    assert "running on the CPU\n" in said


def test_a_shell_has_the_gpu_that_is_asked_for(equipped: Machine) -> None:
    done = equipped.call("shell", "--gpus", "1", "--", "python3", "look.py")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["nodes"], json.loads(done.stdout)["mark"]) == (["examplegpu1"], "it's here")
    assert "running on the GPU: example.com/gpu=1\n" in done.stderr


def test_the_dry_runs_script_does_the_same_and_leaves_nothing(equipped: Machine, tmp_path: Path) -> None:
    script = equipped.call("run", "--dry-run", "--gpus", "0", "look.py")
    assert script.returncode == 0, script.stderr
    done = equipped.shell(f"export TMPDIR={tmp_path}\n{script.stdout}")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["nodes"], seen["mark"]) == (["examplegpu0"], "it's here")
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_does_not_exist_is_told_with_those_that_do(equipped: Machine) -> None:
    message, hint = _failed(equipped.call("run", "--gpus", "0,7", "look.py"))
    assert "'7'" in message
    for name in ("0", "1", UUID, "all"):
        assert f"example.com/gpu={name}" in hint


@pytest.mark.parametrize("command", ["run", "build"])
@pytest.mark.parametrize("flags", [("--gpu",), ("--gpus", "0")])
def test_without_a_gpu_nothing_is_built_for_one(bare: Machine, command: str, flags: tuple[str, ...]) -> None:
    before = _images()
    message, hint = _failed(bare.call(command, *flags, "look.py"))
    assert "no GPU" in message
    assert "nvidia-ctk cdi generate" in hint
    assert "--nogpu" in hint
    assert _images() == before


def test_a_corrupt_spec_is_one_clear_error_but_for_a_run_on_the_cpu(bare: Machine) -> None:
    corrupt = bare.specs / "other.json"
    corrupt.write_text('{"cdiVersion": "0.5.0", ')
    for args in ((), ("--gpu",), ("--gpus", "0")):
        message, hint = _failed(bare.call("run", *args, "look.py"))
        assert f"{corrupt} is corrupt" in message
        assert "--nogpu" in hint
    assert bare.seen("--nogpu")[0]["nodes"] == []
    # With another spec that offers a GPU it is only noted.
    _spec(bare.specs)
    seen, said = bare.seen()
    assert seen["nodes"] == ["examplegpu0", "examplegpu1"]
    assert f"note: the CDI spec {corrupt} is corrupt" in said


def test_doctor_tells_the_corrupt_spec_and_the_good_devices(bare: Machine) -> None:
    corrupt = bare.specs / "other.json"
    corrupt.write_text("{")
    _spec(bare.specs)
    findings = json.loads(bare.call("doctor", "--json").stdout)
    bad, good = (finding for finding in findings if finding["name"] == "GPUs")
    assert (bad["level"], good["level"]) == ("error", "ok")
    assert str(corrupt) in bad["message"]
    assert "example.com/gpu=0, example.com/gpu=1" in good["message"]


def test_a_stale_spec_is_told_before_anything_is_built(bare: Machine) -> None:
    spec = _spec(bare.specs)
    (bare.specs / "driver" / "nvidia-smi").unlink()
    before = _images()
    message, hint = _failed(bare.call("run", "look.py"))
    assert str(spec) in message
    assert "driver/nvidia-smi" in message
    assert "upgrade" in hint
    assert _images() == before


def test_a_gpu_that_appears_is_used_by_a_run_that_could_be_replayed(bare: Machine) -> None:
    time.sleep(2.1)  # younger files are not trusted
    for _ in range(2):
        assert bare.seen()[0]["nodes"] == []
    assert list((bare.home / ".cache" / "ocicaliban" / "hot").iterdir()), "nothing to be replayed"
    spec = _spec(bare.specs)
    assert bare.seen()[0]["nodes"] == ["examplegpu0", "examplegpu1"]
    spec.unlink()
    assert bare.seen()[0]["nodes"] == []
    _spec(bare.home / "elsewhere")
    (bare.home / ".config" / "ocicaliban" / "config.toml").write_text('cdi_spec_dirs = ["~/elsewhere"]\n')
    assert bare.seen()[0]["nodes"] == ["examplegpu0", "examplegpu1"]


def _refused(done: Done) -> tuple[str, str]:
    """The message and the hint of a command that may have built something, but started nothing."""
    assert done.returncode == 2 and "running on" not in done.stderr, done.stderr
    message, _, hint = done.stderr.partition("error: ")[2].partition("\n hint: ")
    return message, hint


def _waiting(equipped: Machine, sweep: str, why: str) -> subprocess.Popen[str]:
    """Begin a sweep on the GPU 1, and return it when it has said that it waits, and why."""
    child = subprocess.Popen(
        ["ocicaliban", "run", "--gpus", "1", "--experiment-config", sweep, "look.py"],
        cwd=equipped.project, env=equipped.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr
    seen = ""
    while f"waiting: {why}" not in seen:
        line = child.stderr.readline()
        assert line, seen
        seen += line
    return child


def test_a_sweep_waits_for_a_gpu_and_a_run_says_who_uses_it(equipped: Machine) -> None:
    (equipped.project / "wait.py").write_text(
        "import os, sys, time\nprint('here', flush=True)\nwhile not os.path.exists('/go/now'): time.sleep(0.05)\n"
    )
    (equipped.home / "go").mkdir()
    (equipped.project / "two.json").write_text('{"n": [1, 2]}')
    holding = subprocess.Popen(
        ["sh", "-c", f"exec ocicaliban run --gpus 1 --podman-args '-v {equipped.home}/go:/go' wait.py"],
        cwd=equipped.project, env=equipped.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert holding.stdout and holding.stdout.readline() == "here\n"
        message, hint = _refused(equipped.call("run", "--gpus", UUID, "look.py"))
        assert "/dev/zero is in use by `ocicaliban run --gpus 1" in message and "--share-gpus" in hint
        message, hint = _refused(equipped.call("shell", "--gpus", "1", "--", "true"))
        assert "/dev/zero is in use by `ocicaliban run --gpus 1" in message and "--nogpu" in hint
        assert equipped.seen("--gpus", "1", "--share-gpus")[0]["nodes"] == ["examplegpu1"]
        assert equipped.seen("--gpus", "0")[0]["nodes"] == ["examplegpu0"]
        waiting = _waiting(equipped, "two.json", "/dev/zero is in use")
    finally:
        (equipped.home / "go" / "now").touch()
    assert holding.wait(60) == 0
    seen = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 0 and "2 succeeded" in seen, seen


def test_shells_share_a_gpu_and_jobs_wait_for_them(equipped: Machine) -> None:
    (equipped.project / "one.json").write_text('{"n": [1]}')
    holding = subprocess.Popen(
        ["ocicaliban", "shell", "--gpus", "1", "--", "sh", "-c", "echo here; read line"],
        cwd=equipped.project, env=equipped.environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert holding.stdin and holding.stdout and holding.stdout.readline() == "here\n"
    told = "/dev/zero is in use by `ocicaliban shell --gpus 1"
    message, _ = _refused(equipped.call("run", "--gpus", UUID, "look.py"))
    assert told in message
    second = equipped.call("shell", "--gpus", "1", "--", "python3", "look.py")
    assert json.loads(second.stdout)["nodes"] == ["examplegpu1"] and f"note: {told}" in second.stderr, second.stderr
    # Without its process, the container alone is known.
    holding.kill()
    holding.wait()
    assert equipped.seen("--gpus", "0")[0]["nodes"] == ["examplegpu0"]
    message, _ = _refused(equipped.call("run", "--gpus", UUID, "look.py"))
    assert "/dev/zero is in use by the container" in message
    waiting = _waiting(equipped, "one.json", "/dev/zero is in use by the container")
    left = subprocess.run(
        ["podman", "ps", "--filter", "label=ocicaliban.session=shell", "--format", "{{.Names}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    subprocess.run(["podman", "rm", "--force", "--time", "0", *left.stdout.split()], check=True, capture_output=True)
    seen = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 0 and "1 succeeded" in seen, seen


def test_the_variables_of_a_batch_system_restrict_the_choice(equipped: Machine) -> None:
    done = equipped.shell("SLURM_JOB_GPUS=1 exec ocicaliban run look.py")
    assert json.loads(done.stdout)["nodes"] == ["examplegpu1"], done.stderr
    assert "note: SLURM_JOB_GPUS=1: only" in done.stderr
    done = equipped.shell("SLURM_JOB_GPUS= exec ocicaliban run look.py")
    assert json.loads(done.stdout)["nodes"] == [] and "no GPU can be used" in done.stderr, done.stderr


def test_cudas_libraries_come_with_the_gpu_alone(bare: Machine) -> None:
    _spec(bare.specs)
    with (bare.project / "ocicaliban.toml").open("a") as file:
        file.write('[layers.cuda]\nversion = "12.8"\ncomponents = ["cudart"]\n')
    (bare.project / "look.py").write_text(
        "import ctypes, json\nversion = ctypes.c_int()\n"
        "try:\n    ctypes.CDLL('libcudart.so.12').cudaRuntimeGetVersion(ctypes.byref(version))\n"
        "except OSError:\n    pass\nprint(json.dumps({'cuda': version.value}))\n"
    )
    assert bare.seen()[0] == {"cuda": 12080}
    lock = (bare.project / "ocicaliban.lock").read_text()
    assert "nvidia-cuda-runtime-cu12==12.8." in lock
    assert bare.seen("--nogpu")[0] == {"cuda": 0}
    # What is locked is not resolved again, nor anything made.
    seen, said = bare.seen()
    assert seen == {"cuda": 12080}
    assert "building" not in said
    assert (bare.project / "ocicaliban.lock").read_text() == lock


def test_another_cuda_than_the_dependencies_bring_is_an_error(bare: Machine) -> None:
    _spec(bare.specs)
    with (bare.project / "ocicaliban.toml").open("a") as file:
        file.write('[layers.cuda]\nversion = "12.4"\n')
    (bare.project / "requirements.txt").write_text("nvidia-cuda-runtime-cu12==12.8.90\n")
    message, hint = _failed(bare.call("build", "look.py"))
    assert "asks for CUDA 12.4, but the dependencies bring nvidia-cuda-runtime-cu12 12.8.90" in message
    assert "torch" in hint


def test_the_base_and_the_packages_may_differ_for_cpu_and_gpu(equipped: Machine, tmp_path: Path) -> None:
    (equipped.project / "both").mkdir()
    (equipped.project / "both" / "ocicaliban.toml").write_text(
        '[layers.base]\nimage = { cpu = "localhost/slim:1", gpu = "localhost/big:1" }\n'
        '[layers.apt]\npackages = { all = ["git"], cpu = ["a"], gpu = ["b"] }\n'
    )

    def planned(*args: str) -> tuple[str, str]:
        done = equipped.shell(f"cd both && exec ocicaliban plan run --json {' '.join(args)}")
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        apt = next(layer for layer in plan["layers"] if layer["name"] == "apt")
        return plan["base"]["reference"], apt["inputs"]["env PACKAGES"]

    assert planned() == planned("--gpus", "1") == ("localhost/big:1", "b git")
    assert planned("--nogpu") == ("localhost/slim:1", "a git")
