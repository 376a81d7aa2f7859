"""Packs what a machine without a network needs: Debian's podman, buildah and crun, a small base, and our wheels."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MOST = 64 << 20
"""Bytes that the kit and the checkout may have together on their way to the machine."""

TOOLS = ("podman", "buildah", "crun", "conmon", "catatonit")
LIBRARIES = (
    "libsubid4", "libdevmapper1.02.1", "libgpgme11 libgpgme11t64", "libassuan0 libassuan9", "libyajl2", "libseccomp2",
    "libglib2.0-0 libglib2.0-0t64", "libgpg-error0",
)  # fmt: skip
"""What the tools need and not every Debian or Ubuntu has; a package may have another name in a later release."""
BASE = (
    "libc6", "libgcc-s1", "python3-minimal", "python3.N-minimal", "libpython3.N-minimal", "libpython3.N-stdlib",
    "libffi8", "zlib1g", "libexpat1", "libssl3 libssl3t64", "libbz2-1.0", "liblzma5", "busybox-static",
)  # fmt: skip
"""A base that has a shell and a Python, and nothing else."""
SHELL_TOOLS = ("sh", "ls", "cat", "env", "id", "mkdir", "rm", "find", "chmod", "ln", "cp", "mv", "touch", "head")
NOT_NEEDED = ("/share/", "__pycache__", "/lib2to3/", "/idlelib/", "/ensurepip/", "/test/", "/distutils/", "/config-3")


def pack(kit: Path) -> None:
    """Make the kit, a folder. It is written only where it changes size: the sum is printed."""
    shutil.rmtree(kit, ignore_errors=True)
    (kit / "debs").mkdir(parents=True)
    for package in (*TOOLS, *LIBRARIES):
        _download(package, kit / "debs")
    with tempfile.TemporaryDirectory() as folder:
        _base(Path(folder), kit / "base.tar")
    _wheels(kit / "wheels")
    size = sum(path.stat().st_size for path in kit.rglob("*") if path.is_file())
    sent = size + sum((REPOSITORY / name).stat().st_size for name in _tracked() if (REPOSITORY / name).is_file())
    print(f"{kit}: {size / 2**20:.1f} MiB; with the checkout {sent / 2**20:.1f} MiB of {MOST >> 20}")
    if sent > MOST:
        sys.exit("that is too much")


def _tracked() -> list[str]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


def _download(names: str, folder: Path) -> None:
    """Download the first of these packages that Debian has here."""
    for name in names.split():
        if subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, capture_output=True).returncode == 0:
            return
    sys.exit(f"apt-get cannot download {names}")


def _wheels(folder: Path) -> None:
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as build:
        # pip builds in the folder itself, which may be another user's.
        for name in ("pyproject.toml", "README.md", "LICENSE", "ocicaliban", "layers"):
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, Path(build, name))
        subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), build], check=True)
    with open(REPOSITORY / "pyproject.toml", "rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    wanted = [each for each in wanted if not each.startswith("uv")]  # large, and the project has no dependencies
    options = ["--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--implementation", "cp"]
    for version in ("3.11", "3.12", "3.13"):
        argv = [*pip, "download", *options, "--python-version", version, "-d", str(folder), *wanted]
        subprocess.run(argv, check=True)


# --- the base ---


def _base(folder: Path, archive: Path) -> None:
    """Write an OCI archive of a root made of a few packages."""
    said = subprocess.run(["apt-cache", "depends", "python3-minimal"], capture_output=True, text=True, check=True)
    version = said.stdout.partition("Depends: python3.")[2].partition("-minimal")[0]
    for package in BASE:
        _download(package.replace("3.N", f"3.{version}"), folder)
    root = folder / "root"
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for deb in sorted(folder.glob("*.deb")):
        data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
        # Through the links, as dpkg does.
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--no-same-owner"], cwd=root, stdin=data.stdout, check=True
        )
        if data.wait():
            sys.exit(f"{deb} is damaged")
    for name in SHELL_TOOLS:
        (root / "usr" / "bin" / name).symlink_to("busybox")
    for name in ("python3", "python"):
        (root / "usr" / "bin" / name).unlink(missing_ok=True)
        (root / "usr" / "bin" / name).symlink_to(f"python3.{version}")
    for name in ("etc", "tmp", "proc", "sys", "dev", "root", "opt", "var/tmp", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (root / "etc" / "os-release").write_text('ID=debian\nPRETTY_NAME="a small Debian"\n')
    _write(root, archive)


def _write(root: Path, archive: Path) -> None:
    """Write the OCI archive of one layer."""

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = f"/{member.name}{'/' if member.isdir() else ''}"
        if any(part in path for part in NOT_NEEDED):
            return None
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, path.name, filter=owned)
    layer = gzip.compress(plain.getvalue(), mtime=0)
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"]},
        "history": [{"created": "1980-01-02T00:00:00Z"}],
    }  # fmt: skip
    kind = "application/vnd.oci.image"
    blobs: dict[str, bytes] = {}

    def descriptor(data: bytes, media: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{name}"] = data
        return {"mediaType": media, "digest": f"sha256:{name}", "size": len(data)}

    manifest = {
        "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
        "config": descriptor(json.dumps(config).encode(), f"{kind}.config.v1+json"),
        "layers": [descriptor(layer, f"{kind}.layer.v1.tar+gzip")],
    }  # fmt: skip
    index = {"schemaVersion": 2, "manifests": [descriptor(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")]}
    held = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}
    with tarfile.open(archive, "w") as tar:
        for name, data in held.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def python_of(kit: Path, site: Path) -> None:
    """Unpack the wheels of a kit that fit this Python."""
    import zipfile

    version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    for wheel in sorted((kit / "wheels").glob("*.whl")):
        tags = wheel.stem.split("-")
        if tags[-1] == "any" or version in tags[-3].split(".") or "abi3" in tags[-2]:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
