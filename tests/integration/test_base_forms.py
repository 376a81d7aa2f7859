"""Every form of the base, with a real registry on the loopback and the real image store."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]
OTHER = "arm64" if os.uname().machine == "x86_64" else "amd64"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}


def _command(*args: str) -> list[str]:
    return [sys.executable, "-m", "ocicaliban", args[0], "--nogpu", *args[1:]]


def _call(folder: Path, *args: str) -> Done:
    return subprocess.run(
        _command(*args), cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip


def _ok(folder: Path, *args: str) -> Done:
    done = _call(folder, *args)
    assert done.returncode == 0, done.stderr
    return done


def _failed(folder: Path, *args: str) -> tuple[str, str]:
    """A failing command's message and hint."""
    done = _call(folder, *args)
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    message, _, hint = done.stderr[done.stderr.index("error: ") :].partition(" hint: ")
    return message, hint


def _tool(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _locked(folder: Path) -> dict[str, str]:
    lock = tomllib.loads((folder / "ocicaliban.lock").read_text())
    found = lock["base"]["cpu"]
    assert isinstance(found, dict)
    return found


Make = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Make:
    """Makes a project with a line for [layers.base]."""

    def make(line: str, name: str = "project") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "ocicaliban.toml").write_text(f"[layers.base]\n{line}\n")
        (folder / "hello.py").write_text("print('hello')\n")
        return folder

    return make


@pytest.fixture(scope="session")
def bottom(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the bootstrapped image, from which the others are made."""
    folder = tmp_path_factory.mktemp("bottom")
    (folder / "ocicaliban.toml").write_text('[layers.base]\nbootstrap = "debian:bookworm"\n')
    _ok(folder, "build")
    return _locked(folder)["digest"].removeprefix("sha256:")


Derive = Callable[..., str]


@pytest.fixture
def derive(bottom: str) -> Iterator[Derive]:
    """Makes an image upon the bootstrapped one that no other test has: its id."""
    names: list[str] = []

    def make(*config: str, script: str = "", name: str = "", parent: str = "", form: str = "oci") -> str:
        container = _tool("buildah", "from", "--quiet", "--pull-never", parent or bottom)
        try:
            if script:
                _tool("buildah", "run", "--isolation", "chroot", container, "--", "sh", "-ec", script)
            _tool("buildah", "config", "--label", f"mark={uuid.uuid4().hex}", *config, container)
            name = name or f"localhost/test-{uuid.uuid4().hex[:12]}"
            names.append(name)
            return _tool("buildah", "commit", "--quiet", "--format", form, container, name)
        finally:
            _tool("buildah", "rm", container)

    yield make
    for name in set(names):
        subprocess.run(["podman", "rmi", "-f", name], capture_output=True, check=False)


class Registry:
    """docker-registry on a port of its own, without TLS."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        self.config = folder / "registry.yml"
        self.config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "{self.host}"}}\n'
        )
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            ["docker-registry", "serve", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("docker-registry did not start")

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def push(self, image: str, name: str) -> str:
        """Push an image; returns the digest that it has there."""
        _tool("buildah", "push", "--quiet", "--tls-verify=false", image, f"docker://{self.host}/{name}")
        return self.digest(name)

    def digest(self, name: str) -> str:
        repository, _, tag = name.partition(":")
        request = urllib.request.Request(f"http://{self.host}/v2/{repository}/manifests/{tag}", method="HEAD")
        kinds = ("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json")
        request.add_header("Accept", ", ".join(kinds))
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])

    def delete(self, repository: str, digest: str) -> None:
        url = f"http://{self.host}/v2/{repository}/manifests/{digest}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()
    for name in _tool("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name.startswith(registry.host):
            subprocess.run(["podman", "rmi", "-f", name], capture_output=True, check=False)


@pytest.fixture
def registry(served: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, running, and trusted without TLS; what one test has pushed spares the next one that."""
    trusted = tmp_path / "registries.conf"
    trusted.write_text(f'[[registry]]\nlocation = "{served.host}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(trusted))
    if served.child is None:
        served.start()
    return served


# --- a registry ---


def test_a_tag_is_pinned_in_the_lock_and_the_pin_outlives_the_tags_move(
    registry: Registry, derive: Derive, project: Make
) -> None:
    name = "localhost/test-pinned"
    pinned = registry.push(derive("--env", "WHICH=first", name=name), "py:1")
    _tool("podman", "rmi", "-f", name)
    first = project(f'image = "{registry.host}/py:1"', "first")
    _ok(first, "build", "hello.py")
    assert _locked(first)["digest"] == pinned
    assert registry.push(derive("--env", "WHICH=second"), "py:1") != pinned
    # As on another machine: the project and its lock are there, and the image is not.
    _tool("podman", "rmi", "-f", *_tool("podman", "images", "-q", "--filter", f"reference={registry.host}/py").split())
    second = project(f'image = "{registry.host}/py:1"', "second")
    shutil.copy(first / "ocicaliban.lock", second)
    (second / "hello.py").write_text("import os; print(os.environ['WHICH'])\n")
    assert _ok(second, "run", "hello.py").stdout == "first\n"
    (second / "ocicaliban.lock").unlink()
    assert _ok(second, "run", "hello.py").stdout == "second\n"


def test_a_pin_that_is_gone_from_the_registry_and_the_store_is_told(
    registry: Registry, derive: Derive, project: Make
) -> None:
    name = "localhost/test-gone"
    pinned = registry.push(derive(name=name), "gone:1")
    _tool("podman", "rmi", "-f", name)
    folder = project(f'image = "{registry.host}/gone@{pinned}"')
    registry.delete("gone", pinned)
    message, hint = _failed(folder, "build", "hello.py")
    assert pinned in message
    assert f"{registry.host} does not have the base image" in message
    assert "ocicaliban lock --upgrade base" in hint


def test_with_the_registry_down_what_the_store_has_is_enough(registry: Registry, derive: Derive, project: Make) -> None:
    registry.push(derive(), "down:1")
    line = f'image = "{registry.host}/down:1"'
    _ok(project(line, "first"), "build", "hello.py")
    registry.stop()
    pinned = project(line, "second")
    shutil.copy(pinned.parent / "first" / "ocicaliban.lock", pinned)
    assert "pulling" not in _ok(pinned, "build", "hello.py").stderr
    unpinned = project(line, "third")
    assert "from the local store" in _ok(unpinned, "build", "hello.py").stderr
    assert _locked(unpinned) == _locked(pinned)
    (unpinned / "ocicaliban.lock").unlink()
    message, _ = _failed(unpinned, "build", "--no-cache", "hello.py")
    assert "cannot be reached" in message
    message, hint = _failed(project(f'image = "{registry.host}/other:1"', "fourth"), "build", "hello.py")
    assert "cannot be reached" in message
    assert 'bootstrap = "debian:bookworm"' in hint


def test_of_a_manifest_list_this_machines_image_is_pinned_and_the_list_can_be_given(
    registry: Registry, derive: Derive, project: Make
) -> None:
    mine = registry.push(derive(), "one:1")
    names = ["localhost/test-list", "localhost/test-other"]
    derive("--arch", OTHER, name=names[1], parent="scratch")
    _tool("buildah", "manifest", "create", names[0])
    try:
        _tool("buildah", "manifest", "add", "--tls-verify=false", names[0], f"{registry.host}/one:1")
        _tool("buildah", "manifest", "add", names[0], names[1])
        target = f"docker://{registry.host}/one:list"
        _tool("buildah", "manifest", "push", "--tls-verify=false", "--all", names[0], target)
    finally:
        _tool("buildah", "manifest", "rm", names[0])
    whole = registry.digest("one:list")
    tagged = project(f'image = "{registry.host}/one:list"', "tagged")
    assert _ok(tagged, "run", "hello.py").stdout == "hello\n"
    assert _locked(tagged)["digest"] == mine != whole
    given = project(f'image = "{registry.host}/one@{whole}"', "given")
    assert _ok(given, "run", "hello.py").stdout == "hello\n"
    assert _locked(given)["digest"] == whole


# --- a local image, an archive ---


def test_a_local_image_that_was_rebuilt_is_another_base(derive: Derive, project: Make) -> None:
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    folder = project(f'image = "{name}"')
    (folder / "hello.py").write_text("import os; print(os.environ['WHICH'])\n")
    for which in ("first", "second"):
        derive("--env", f"WHICH={which}", name=name)
        assert _ok(folder, "run", "hello.py").stdout == f"{which}\n"


def test_a_local_image_that_is_not_there_is_told(project: Make) -> None:
    message, hint = _failed(project('image = "localhost/test-nowhere:1"'), "build")
    assert "no local image 'localhost/test-nowhere:1'" in message
    assert "podman images" in hint


@pytest.mark.parametrize("form", ["oci:Base Images/My.Base", "oci-archive:Base Images/My.Base.tar"])
def test_an_archive_is_a_base_wherever_it_lies_and_follows_its_contents(
    form: str, derive: Derive, project: Make
) -> None:
    folder = project(f'image = "{form}"')
    transport, _, path = form.partition(":")
    (folder / "Base Images").mkdir()
    (folder / ".containerignore").write_text("Base Images\n")
    (folder / "hello.py").write_text("import os; print(os.environ['WHICH'])\n")
    before = _tool("podman", "images", "--format", "{{.Repository}}")
    for which in ("first", "second"):
        name = f"localhost/test-{which}-{uuid.uuid4().hex[:12]}"
        derive("--env", f"WHICH={which}", name=name)
        # The archive's own name for it must not take that name away from an image of the user's.
        suffix = "" if transport == "oci" else ":localhost/test-named:1"
        shutil.rmtree(folder / path, ignore_errors=True)
        _tool("buildah", "push", "--quiet", name, f"{transport}:{folder / path}{suffix}")
        _tool("podman", "rmi", "-f", name)
        assert _ok(folder, "run", "hello.py").stdout == f"{which}\n"
    after = _tool("podman", "images", "--format", "{{.Repository}}")
    new = set(after.split()) - set(before.split())
    assert all(name.startswith("localhost/ocicaliban/") for name in new), new


# --- Debian's packages ---


def test_a_bootstrapped_base_is_reused_by_other_projects(bottom: str, project: Make) -> None:
    folder = project('bootstrap = "debian:bookworm"')
    done = _ok(folder, "build", "hello.py")
    assert "bootstrapping" not in done.stderr
    assert _locked(folder)["digest"] == f"sha256:{bottom}"


def test_a_bootstrapped_base_has_nothing_of_apt_that_depends_on_the_machine(bottom: str) -> None:
    # The folders `partial` belong to _apt where that user can read the place of the bootstrap, and to root elsewhere.
    container = _tool("buildah", "from", "--quiet", "--pull-never", bottom)
    find = ("find", "/var/lib/apt/lists", "/var/cache/apt", "-mindepth", "1")
    try:
        assert _tool("buildah", "run", "--isolation", "chroot", container, "--", *find) == ""
    finally:
        _tool("buildah", "rm", container)


def test_two_that_want_a_base_at_once_make_it_once_and_a_lock_it_does_not_fit_is_told(project: Make) -> None:
    folders = [project('bootstrap = "debian:trixie"', name) for name in ("one", "two")]
    base = {"kind": "bootstrap", "reference": "debian:trixie", "digest": f"sha256:{'0' * 64}", "python": "3.13.5"}
    base["platform"] = "linux/" + {"arm64": "amd64", "amd64": "arm64"}[OTHER]
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in base.items())
    (folders[1] / "ocicaliban.lock").write_text(f"version = 1\n[base.cpu]\n{lines}\n[python]\n")
    children = [
        subprocess.Popen(
            _command("build", "hello.py"), cwd=folder, env=_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for folder in folders
    ]  # fmt: skip
    try:
        said = [child.communicate(timeout=240)[1] for child in children]
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert children[0].returncode == 0, said[0]
    assert "".join(said).count("base: bootstrapping") == 1
    assert children[1].returncode == 1
    assert "packages have changed" in said[1]
    assert "`ocicaliban lock --upgrade base`" in said[1]
    # The remedy works, and at once.
    (folders[1] / "ocicaliban.lock").unlink()
    done = _ok(folders[1], "build", "hello.py")
    assert "bootstrapping" not in done.stderr
    assert _locked(folders[0]) == _locked(folders[1])


def test_a_suite_that_does_not_exist_is_told(project: Make) -> None:
    message, hint = _failed(project('bootstrap = "debian:nosuch"'), "build")
    assert "Debian has no suite 'nosuch'" in message
    assert "debian:bookworm" in hint


# --- what is in it ---


def test_a_base_without_python_is_told(derive: Derive, project: Make) -> None:
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    derive(name=name, parent="scratch")
    message, hint = _failed(project(f'image = "{name}"'), "build")
    assert "no python3" in message
    assert "Python in it" in hint


def test_a_base_with_onbuild_is_told(derive: Derive, project: Make) -> None:
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    derive("--onbuild", "RUN false", name=name, form="docker")
    message, _ = _failed(project(f'image = "{name}"'), "build")
    assert "ONBUILD" in message


def test_a_base_without_venv_is_told(derive: Derive, project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")  # a Python of uv would do
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    derive(name=name, script="rm -r /usr/lib/python3*/venv")
    message, hint = _failed(project(f'image = "{name}"'), "build")
    assert "without its module venv" in message
    assert "python3-venv" in hint


def test_a_base_on_musl_is_told(derive: Derive, project: Make) -> None:
    # Without a registry there is no image of Alpine. This Python answers as Alpine's would.
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    mark = "/usr/lib/python3*/_sysconfigdata_*.py"
    derive(name=name, script=f"sed -i 's/linux-gnu/linux-musl/' {mark}; rm -rf /usr/lib/python3*/__pycache__")
    message, hint = _failed(project(f'image = "{name}"'), "build")
    assert "musl" in message
    assert "glibc" in hint


def test_a_base_for_another_machine_is_told(derive: Derive, project: Make) -> None:
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    derive("--arch", OTHER, name=name)
    message, _ = _failed(project(f'image = "{name}"'), "build")
    assert f"is for linux/{OTHER}" in message


def test_a_base_with_a_user_an_entry_point_and_a_volume_runs_the_project_all_the_same(
    derive: Derive, project: Make
) -> None:
    name = f"localhost/test-{uuid.uuid4().hex[:12]}"
    config = ("--user", "1000", "--entrypoint", '["/bin/false"]', "--volume", "/data", "--workingdir", "/home")
    derive(*config, "--healthcheck", "CMD false", name=name, form="docker", script="chmod 700 /root")
    folder = project(f'image = "{name}"\n[modes]\nrun = ["base", "mark", "source-mount", "entrypoint"]')
    layer = folder / "layers" / "mark"
    layer.mkdir(parents=True)
    (layer / "layer.toml").write_text('summary = "m"\nafter = ["base"]\n[[steps]]\ndo = "run"\nscript = "mark.sh"\n')
    (layer / "mark.sh").write_text("id -u > /opt/mark\n")
    (folder / "hello.py").write_text(
        "import os; open('made', 'w').close(); print(os.getuid(), os.getcwd(), open('/opt/mark').read())\n"
    )
    assert _ok(folder, "run", "hello.py").stdout == "0 /usr/app 0\n\n"
    assert (folder / "made").stat().st_uid == os.getuid()


def test_a_killed_bootstrap_leaves_nothing_that_the_next_command_does_not_clear(project: Make, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    env = {**_environment(), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    # mmdebstrap works as one of the user's sub-ids, which must be able to pass.
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid():
            above.chmod(0o711)
    folder = project('bootstrap = "debian:bookworm"')
    argv = _command("build", "--no-cache")
    child = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if list((tmp_path / "tmp").glob("ocicaliban-*/mmdebstrap.*/usr/bin/dpkg")):
                break
            time.sleep(0.1)
        else:
            raise AssertionError("mmdebstrap did not begin")
    finally:
        child.kill()
        child.wait()
    sweep = [sys.executable, "-c", "from ocicaliban.containers import workspace; workspace.remove_leftovers()"]
    subprocess.run(sweep, env=env, check=True, cwd=folder)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "cache" / "ocicaliban" / "work").glob("build-*")) == []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(tmp_path).encode() not in path.read_bytes()
