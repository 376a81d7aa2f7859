"""Users as clusters have them: without sub-ids, and without newuidmap. All they do gives what other users get."""

import json
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import tomllib
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.folders import write
from tests.integration.program import command, environment, layers_in, ok
from tests.integration.registries import Registry

PLACE = Path("/home/tester/.local/share/containers/other")
"""A folder on a volume, where every user of the test container may keep images."""
NEWUIDMAP_HIDDEN = "/opt/venv/bin:/opt/without-newuidmap"
OWNERS = "all files belong to root, because containers have one uid; the layer has its own key"


class User:
    """A user of the test container without sub-ids, whom `su` asks for no password. All files are below `place`."""

    def __init__(self, name: str, place: Path, path: str) -> None:
        self.name, self.place = name, place
        own = pwd.getpwnam(name)
        store = place / "store"
        for folder in (place, store):
            folder.mkdir(mode=0o777, exist_ok=True)
            folder.chmod(0o777)
        self.store = store / f"ocicaliban-{own.pw_uid}"
        self.env = {
            "XDG_RUNTIME_DIR": f"/run/user/{own.pw_uid}", "OCICALIBAN_STORE": str(store), "PATH": path,
            **{f"XDG_{kind}_HOME": str(place / kind.lower()) for kind in ("CACHE", "STATE")},
        }  # fmt: skip

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script."""
        env = {**environment(self.env), "SAVED_PATH": self.env["PATH"]}
        return subprocess.run(
            ["su", self.name, "-c", f"PATH=$SAVED_PATH; umask 022; {script}"], cwd="/", env=env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400,
        )  # fmt: skip

    def ok(self, folder: Path, *args: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run the program, which reads `given` as its input."""
        done = self.sh(f"cd {folder} && printf '%s' {shlex.quote(given)} | {shlex.join(command(*args))}")
        assert done.returncode == 0, done.stderr
        return done

    def project(self, name: str, files: Mapping[str, str]) -> Path:
        """A project that belongs to the user."""
        write(self.place / f"{name}.by-test", files)
        done = self.sh(f"cp -r {self.place}/{name}.by-test {self.place}/{name}")
        assert done.returncode == 0, done.stderr
        return self.place / name

    def lose_store(self) -> None:
        """Remove all images, as at the end of a Slurm job."""
        conf = self.store / "ocicaliban-storage.conf"
        done = self.sh(
            f'CONTAINERS_STORAGE_CONF={conf} podman unshare sh -c \'umount -l "$0"/storage/overlay; rm -rf "$0"\' '
            f"{self.store}; rm -rf {self.store}; ls {self.store.parent}"
        )
        assert done.stdout == "", done.stderr


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="one-uid-", dir=PLACE))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def users(place: Path) -> Iterator[tuple[User, User]]:
    """One without sub-ids, and one without newuidmap too."""
    both = (User("single", place / "single", os.environ["PATH"]), User("bare", place / "bare", NEWUIDMAP_HIDDEN))
    yield both

    def clean(user: User) -> None:
        user.lose_store()
        user.sh(f"rm -rf {user.place}/*")

    with ThreadPoolExecutor() as pool:
        list(pool.map(clean, both))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path)
    yield made
    made.stop()


FILES = {
    "requirements.txt": "six==1.16.0\n",
    ".containerignore": "out\n",
    "say.py": "import os, pathlib, sys, six\n"
    "pathlib.Path('/out/said').write_text(' '.join(sys.argv[1:])) if os.path.isdir('/out') else None\n"
    "print(six.__name__, os.getuid(), 'MARK')\n",
}
WITH_APT = '[layers.apt]\npackages = ["openssh-client"]\n'
RUN = ("run", "say.py")


@pytest.fixture(scope="module")
def config(place: Path, base_lock: str) -> str:
    """The configuration of a project whose base is a layout that all users read."""
    digest = tomllib.loads(base_lock)["base"]["cpu"]["digest"].removeprefix("sha256:")
    argv = (
        "podman",
        "save",
        "--quiet",
        "--format",
        "oci-dir",
        "--uncompressed",
        "--output",
        str(place / "base"),
        digest,
    )
    subprocess.run(argv, check=True, capture_output=True)
    return f'[layers.base]\nimage = "oci:{place}/base"\n'


def wheel(folder: Path, name: str, *, version: str, module: str = "", scripts: str = "") -> None:
    """Write a wheel of one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", module)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", scripts)
        archive.writestr(f"{info}/RECORD", "")


def _layers(plan: str) -> dict[str, str]:
    """The keys of a plan's layers, by name."""
    return {layer["name"]: layer["key"] for layer in json.loads(plan)["layers"]}


def test_three_users_get_the_same_layers_and_those_without_owners_have_other_keys(
    place: Path, config: str, users: tuple[User, User]
) -> None:
    mark = uuid.uuid4().hex
    files = {**FILES, "ocicaliban.toml": config, "say.py": FILES["say.py"].replace("MARK", mark)}
    mine = write(place / "mine", files)
    # An earlier version may have built the same keys in this store.
    built = json.loads(ok(mine, "build", "--no-cache", "--json", "say.py").stdout)
    lock = (mine / "ocicaliban.lock").read_text()
    (mine / "ocicaliban.toml").write_text(config + WITH_APT)
    keys = _layers(ok(mine, "plan", "--json", *RUN).stdout)

    def check(user: User) -> None:
        folder = user.project("same", {**files, "ocicaliban.lock": lock})
        done = user.ok(folder, "build", "--json", "say.py")
        assert f"containers have one uid (no {'sub-ids' if user.name == 'single' else 'newuidmap'};" in done.stderr
        assert OWNERS not in done.stderr
        assert json.loads(done.stdout) == built
        assert user.ok(folder, *RUN).stdout == f"six 0 {mark}\n"

        if user.name == "bare":
            # What another node, or the next job, finds: nothing. It takes all layers from the files on the shared disk.
            user.lose_store()
            again = user.ok(folder, *RUN)
            assert again.stdout == f"six 0 {mark}\n" and layers_in(again.stderr) == []

        # Debian's packages have files of other owners: ssh-agent's group here.
        user.sh(f"printf '%s' {shlex.quote(WITH_APT)} >>{folder}/ocicaliban.toml")
        planned = user.ok(folder, "plan", "--json", *RUN)
        theirs = _layers(planned.stdout)
        assert theirs.keys() == keys.keys() and theirs["apt"] != keys["apt"]

    with ThreadPoolExecutor() as pool:
        list(pool.map(check, users))


SERVER = """\
import http.server, re, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
def main():
    port = int(re.search(r"port=(\\d+)", " ".join(sys.argv))[1])
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
SCRIPT = "[console_scripts]\njupyter-lab = jupyterlab:main\n"


@pytest.fixture
def jupyter(place: Path) -> str:
    """A folder with a JupyterLab that is newer than all, and does no more than answer."""
    folder = place / "wheels"
    folder.mkdir()
    wheel(folder, "jupyterlab", version="99.0", module=SERVER, scripts=SCRIPT)
    wheel(folder, "jupyter_server", version="99.0")
    return str(folder)


def test_a_user_without_newuidmap_works_as_others_do(
    config: str, users: tuple[User, User], registry: Registry, jupyter: str
) -> None:
    user = users[1]
    files = {**FILES, "ocicaliban.toml": config + WITH_APT, "sweep.json": '{"rate": [1, 2, 3]}'}
    folder = user.project("all", files)

    # A sweep, and a shell, with packages that want users of their own.
    swept = user.ok(folder, "run", "--experiment-config", "sweep.json", "--group", "g", "--jobs", "2",
                    "--out", "out", "say.py")  # fmt: skip
    assert "g: 3 succeeded" in swept.stderr and OWNERS in swept.stderr
    said = {path.read_text() for path in (folder / "out").rglob("said")}
    assert said == {f"--rate {number}" for number in (1, 2, 3)}
    assert (folder / "out").stat().st_uid == pwd.getpwnam(user.name).pw_uid
    job = json.loads(user.ok(folder, "status", "--group", "g", "--json").stdout)[0]
    assert user.ok(folder, "logs", str(job["id"])).stdout == "six 0 MARK\n"
    shell = user.ok(folder, "shell", "--bare", given="touch made; chown 0:0 made; ssh -V 2>&1; id -u\n")
    version, number = shell.stdout.splitlines()
    assert version.startswith("OpenSSH") and number == "0"

    user.env["UV_FIND_LINKS"] = jupyter
    started = user.ok(folder, "notebook", "--nogpu", "--detach", "--port", "0")
    assert started.stdout.startswith("http://127.0.0.1:")
    assert user.ok(folder, "notebook", "--list").stdout.split()[1] == started.stdout.strip()
    assert "has ended" in user.ok(folder, "notebook", "--stop", "all").stderr

    # A push of a small image, which the user's own podman makes in this store.
    done = user.sh(
        f"cd {folder}; export CONTAINERS_STORAGE_CONF={user.store}/ocicaliban-storage.conf; "
        f"tar -cf {user.place}/tiny.tar say.py; podman import -q {user.place}/tiny.tar localhost/tiny"
    )
    assert done.returncode == 0, done.stderr
    image = done.stdout.strip().removeprefix("sha256:")
    pushed = user.ok(folder, "push", "--image-id", image, "--to", f"{registry.host}/bare/tiny", "--tls-verify=false")
    assert pushed.stdout.startswith(f"{registry.host}/bare/tiny@sha256:")

    # What is told of all this.
    report = user.ok(folder, "doctor").stdout
    assert "ids: one uid without newuidmap" in report
    assert f"image store: {user.store}/storage, as you have chosen" in report
