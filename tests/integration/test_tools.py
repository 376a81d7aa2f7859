"""What the tests need: the tools are installed, the user is not root, and a container runs inside the container."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IMAGE = "localhost/ocicaliban-test-tools"


@pytest.mark.parametrize("tool", ["buildah", "podman", "uv", "mmdebstrap", "skopeo", "docker-registry"])
def test_tool_is_there(tool: str) -> None:
    assert shutil.which(tool)


def test_nobody_is_root() -> None:
    assert os.getuid() != 0


def _podman(*args: str) -> str:
    done = subprocess.run(["podman", *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _needs(program: str) -> list[str]:
    """The program and the shared libraries that it loads."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    return [program, *(word for word in lines if word.startswith("/"))]


@pytest.fixture(scope="module")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    archive: Path = tmp_path_factory.mktemp("tiny") / "root.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in sorted({*_needs("/bin/cat"), *_needs("/usr/bin/id")}):
            tar.add(path)
    _podman("import", "-q", str(archive), IMAGE)
    yield IMAGE
    _podman("rmi", "-f", IMAGE)


def test_storage_is_native_overlay() -> None:
    assert _podman("info", "-f", "{{.Store.GraphDriverName}}") == "overlay"
    assert _podman("info", "-f", '{{index .Store.GraphStatus "Native Overlay Diff"}}') == "true"


@pytest.mark.parametrize("network", ["host", "none"])
def test_a_container_runs_as_root_inside(tiny_image: str, network: str) -> None:
    assert _podman("run", "--rm", "--network", network, tiny_image, "/usr/bin/id", "-u") == "0"


def test_files_in_a_mount_belong_to_the_user(tiny_image: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    shown = _podman("run", "--rm", "--network=none", "-v", f"{tmp_path}:/mnt:ro", tiny_image, "/bin/cat", "/mnt/note")
    assert shown == "hello"


@pytest.mark.parametrize("isolation", ["chroot", "rootless"])
def test_buildah_runs_a_step(tiny_image: str, isolation: str) -> None:
    def buildah(*args: str) -> str:
        done = subprocess.run(["buildah", *args], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    container = buildah("from", "--pull-never", tiny_image)
    try:
        assert buildah("run", "--isolation", isolation, "--network=host", container, "/usr/bin/id", "-u") == "0"
    finally:
        buildah("rm", container)
