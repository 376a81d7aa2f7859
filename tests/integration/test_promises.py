"""The promises that the README makes, each held against the real tools."""

import base64
import hashlib
import json
import os
import pwd
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from attrs import frozen

from tests.folders import write
from tests.integration.program import CONFIG, REPOSITORY, call, command, environment, layers_in, ok


def _out(*argv: str, given: str = "") -> str:
    done = subprocess.run(argv, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _recipe(name: str, script: str, *lines: str) -> dict[str, str]:
    """The files of a recipe of the project's own, which runs a script upon the base."""
    head = f'summary = "{name}"\nafter = ["base"]\n[[steps]]\ndo = "run"\nscript = "install.sh"\n'
    return {f"layers/{name}/layer.toml": head + "\n".join(lines) + "\n", f"layers/{name}/install.sh": script}


# --- secrets ---


def _wheel(folder: Path, name: str) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@frozen
class Private:
    """A package index that asks for a password; `marker` is in the password and nowhere else."""

    marker: str
    package: str
    port: int

    def url(self, path: str = "simple", wrong: str = "") -> str:
        """The index's address, user and password (or a `wrong` one) in it."""
        return f"http://reader:{quote(f'pw@{wrong or self.marker}')}@127.0.0.1:{self.port}/{path}/"

    @property
    def header(self) -> str:
        """What a client sends to get in."""
        return base64.b64encode(f"reader:pw@{self.marker}".encode()).decode()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    """A private index on loopback that has one package."""
    package = f"octiny{uuid.uuid4().hex[:12]}"
    wheel = _wheel(tmp_path, package).read_bytes()
    digest = hashlib.sha256(wheel).hexdigest()
    page = f'<a href="/files/{package}-1.0-py3-none-any.whl#sha256={digest}">{package}-1.0-py3-none-any.whl</a>'
    answers = {f"/simple/{package}/": page.encode(), f"/files/{package}-1.0-py3-none-any.whl": wheel}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, status = answers.get(self.path, b""), 200 if self.path in answers else 404
            if self.headers.get("Authorization") != f"Basic {found.header}":
                body, status = b"", 401
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Private(uuid.uuid4().hex, package, server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def _forms(marker: str) -> tuple[bytes, ...]:
    """A marker, and what it looks like within something that was encoded by base64."""
    found = [marker.encode()]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + marker.encode())
        found.append(text[4 if before else 0 : -4])
    return tuple(found)


@frozen
class Guarded:
    """A project with all kinds of secrets, its environment, and the markers that nothing may hold."""

    folder: Path
    env: dict[str, str]
    markers: dict[str, str]
    places: tuple[Path, ...]
    package: str

    def leaks(self, data: bytes) -> set[str]:
        """The secrets in these bytes."""
        return {kind for kind, marker in self.markers.items() if any(form in data for form in _forms(marker))}

    def kept(self) -> dict[str, set[str]]:
        """The files of ours on the host that hold a secret in their contents or their names."""
        files = [path for place in self.places for path in (place.rglob("*") if place.is_dir() else [place])]
        assert len(files) > 3
        held = {str(path): self.leaks(bytes(path) + (path.read_bytes() if path.is_file() else b"")) for path in files}
        assert held.pop(str(self.folder / "token.txt")) == {"secret"}
        return {path: leaks for path, leaks in held.items() if leaks}


FETCH = """
set -eu
[ "$(sha256sum </dev/oc/secrets/token)" = "$WANTED" ]
[ -n "$http_proxy" ] && grep -q BEGIN "$SSL_CERT_FILE"
[ -z "$(set | grep "$(cat /dev/oc/secrets/token)")" ]
sleep 0.5
echo done >/opt/fetched
"""


@pytest.fixture
def guarded(tmp_path: Path, base_lock: str, private: Private) -> Guarded:
    """The project; its build uses the index, the build secret and the certificates."""
    markers = {kind: uuid.uuid4().hex for kind in ("secret", "bundle", "proxy")} | {"index": private.marker}
    real = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(f"# {markers['bundle']}\n{Path(real).read_text()}")
    wanted = hashlib.sha256(markers["secret"].encode()).hexdigest()
    config = f'[secrets]\ntoken = "token.txt"\n[modes]\nbuild = ["base", "fetch", "python", "source-copy"]\n{CONFIG}'
    folder = write(
        tmp_path / "project",
        {
            "ocicaliban.toml": config,
            "ocicaliban.lock": base_lock,
            "requirements.txt": f"{private.package}\n",
            "token.txt": markers["secret"],
            **_recipe("fetch", FETCH, 'secrets = ["token"]', f'env = {{ WANTED = "{wanted}  -" }}'),
        },
    )
    env = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SSL_CERT_FILE": str(bundle),
        "UV_DEFAULT_INDEX": private.url("empty"),
        "no_proxy": "127.0.0.1,localhost",
        **{name: f"http://u:{markers['proxy']}@127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY")},
    }
    places = (tmp_path / "state" / "ocicaliban", tmp_path / "cache" / "ocicaliban", folder)
    return Guarded(folder, env, markers, places, private.package)


class _Watch:
    """Collects the command lines of all processes, as any user of the machine can."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue


def _in_image(guarded: Guarded, image: str, archive: Path) -> dict[str, set[str]]:
    """The files in the image's layers, and the JSON about it, that hold a secret."""
    _out("podman", "save", "--quiet", "--format", "docker-archive", "-o", str(archive), image)
    # The base's own layer is older than the secrets.
    base = json.loads(_out("podman", "image", "inspect", image))[0]["RootFS"]["Layers"][0].removeprefix("sha256:")
    found: dict[str, set[str]] = {}
    with tarfile.open(archive) as outer:
        for blob in outer:
            if not blob.isfile() or base in blob.name:
                continue
            stream = outer.extractfile(blob)
            assert stream is not None
            if not blob.name.endswith(".tar"):
                found[blob.name] = guarded.leaks(stream.read())
                continue
            with tarfile.open(fileobj=stream) as layer:
                for member in layer:
                    held = json.dumps([member.name, member.linkname, member.pax_headers]).encode()
                    if member.isfile() and (file := layer.extractfile(member)):
                        held += file.read()
                    found[f"{blob.name} {member.name}"] = guarded.leaks(held)
    for known in ("opt/fetched", f"{guarded.package}.py", "usr/app/requirements.txt", "manifest.json"):
        assert any(name.endswith(known) for name in found), known
    return {name: leaks for name, leaks in found.items() if leaks}


@pytest.mark.parametrize("variable", ["UV_INDEX", "PIP_EXTRA_INDEX_URL"])
def test_no_secret_of_a_build_is_kept_or_shown(
    guarded: Guarded, private: Private, tmp_path: Path, variable: str
) -> None:
    env = {**guarded.env, variable: private.url()}
    with _Watch() as watch:
        done = ok(guarded.folder, "build", "--nogpu", "--debug", env=env)
    image = done.stdout.strip()
    assert any(line.startswith(b"buildah\0run\0") for line in watch.seen)
    assert {line for line in watch.seen if guarded.leaks(line)} == set()
    assert guarded.leaks((done.stdout + done.stderr).encode()) == set()
    assert private.package in (guarded.folder / "ocicaliban.lock").read_text()
    assert guarded.kept() == {}
    shown = _out("podman", "image", "inspect", image) + _out("podman", "history", "--no-trunc", image)
    assert guarded.leaks(shown.encode()) == set()
    script = f"import {private.package} as p; print(p.answer)"
    answer = _out("podman", "run", "--rm", "--network=none", image, "python3", "-c", script)
    assert answer == "42\n"
    assert _in_image(guarded, image, tmp_path / "image.tar") == {}


def test_no_secret_is_kept_or_shown_when_a_build_fails(guarded: Guarded, private: Private) -> None:
    broken = "/dev/oc/uv pip install --python /usr/bin/python3 --target /opt/x no-such-package-oc\n"
    config = (guarded.folder / "ocicaliban.toml").read_text().replace('"source-copy"', '"broken"')
    ways: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
        "an index that refuses": (
            {"UV_INDEX": private.url(wrong=guarded.markers["secret"])},
            {},
            "cannot be resolved",
        ),
        "an index that is not there": (
            {"UV_INDEX": private.url().replace(str(private.port), "9"), "UV_HTTP_RETRIES": "0"},
            {},
            "cannot be resolved",
        ),
        "a proxy that is not there": ({"UV_INDEX": private.url(), "no_proxy": "", "UV_HTTP_RETRIES": "0"}, {}, ""),
        "a package that is not there": (
            {"UV_INDEX": private.url()},
            {"requirements.txt": "no-such-package-oc\n"},
            "cannot be resolved",
        ),
        "a step that fails": (
            {"UV_INDEX": private.url()},
            {"ocicaliban.toml": config, **_recipe("broken", broken, 'tools = ["uv"]')},
            "'broken' cannot be built",
        ),
        "a step that tells": (
            {},
            _recipe("fetch", 'echo "$http_proxy failed" >&2; exit 1\n', 'secrets = ["token"]'),
            "http://****@127.0.0.1:9 failed",
        ),
        "a secret that is not there": (
            {"UV_INDEX": private.url()},
            {"ocicaliban.toml": (guarded.folder / "ocicaliban.toml").read_text().replace("token.txt", "nothing.txt")},
            "token",
        ),
    }
    for way, (env, files, said) in ways.items():
        write(guarded.folder, {"requirements.txt": f"{private.package}\n", **files})
        for flags in ((), ("--debug",)):
            done = call(guarded.folder, "build", "--nogpu", "--no-cache", *flags, env={**guarded.env, **env})
            assert done.returncode in (1, 2), way
            assert said in done.stderr, way
            assert ("Traceback" in done.stderr) == bool(flags), way + done.stderr
            assert guarded.leaks((done.stdout + done.stderr).encode()) == set(), way + done.stderr
            assert guarded.kept() == {}, way


# --- kill -9, and many at once ---


def _start(folder: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("build", "--nogpu", "--json"), cwd=folder, env=environment(env or {}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def _containers() -> set[str]:
    names = _out("buildah", "containers", "--format", "{{.ContainerName}}").split()
    return {name for name in names if name.startswith("ocicaliban-")}


def _unnamed() -> set[str]:
    return set(_out("podman", "images", "-a", "-q", "--no-trunc", "--filter", "dangling=true").split())


def _layers(folder: Path, env: Mapping[str, str]) -> dict[str, bool]:
    """The layers of the project's plan, and whether the store has them."""
    plan = json.loads(ok(folder, "plan", "--nogpu", "--json", "build", env=env).stdout)
    return {layer["name"]: layer["present"] for layer in plan["layers"]}


SEED, PARTS = 20261123, 6
KILLED = '[modes]\nbuild = ["base", "first", "second", "source-copy"]\n' + CONFIG


def _layered(folder: Path, base_lock: str) -> Path:
    """A project whose layers, two that run something and two of files, nobody has built yet."""
    mark = uuid.uuid4().hex
    return write(
        folder,
        {
            "ocicaliban.toml": KILLED,
            "ocicaliban.lock": base_lock,
            "say.py": f"print(open('/opt/first').read() + open('/opt/second').read() + '{mark}')\n",
            "blob": mark * 200_000,
            **_recipe("first", f"head -c 20000000 /dev/urandom >/opt/blob; echo {mark} >/opt/first\n"),
            **_recipe("second", f"sleep 0.2; echo {mark} >/opt/second\n"),
        },
    )


def test_after_kill_9_at_any_moment_the_next_build_cleans_up_and_reuses(tmp_path: Path, base_lock: str) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    work = tmp_path / "cache" / "ocicaliban" / "work"
    containers, unnamed = _containers(), _unnamed()
    began = time.monotonic()
    ok(_layered(tmp_path / "whole", base_lock), "build", "--nogpu", env=env)
    lasted = time.monotonic() - began
    moments = random.Random(SEED)
    killed = 0
    for number in range(PARTS):
        folder = _layered(tmp_path / f"killed{number}", base_lock)
        child = _start(folder, env)
        time.sleep(lasted * (number + moments.random()) / PARTS)
        child.kill()
        finished = layers_in(child.communicate()[1])[:-1]
        killed += child.returncode == -signal.SIGKILL
        done = call(folder, "build", "--nogpu", "--json", env=env)
        where = f"part {number} of {PARTS}: {done.stderr}"
        assert done.returncode == 0, where
        assert not set(finished) & set(layers_in(done.stderr)), where
        assert _containers() <= containers, where
        assert _unnamed() <= unnamed, where
        assert list(work.glob("build-*")) == [], where
        assert all(_layers(folder, env).values()), where
    assert killed


def _ended(children: Sequence[subprocess.Popen[str]]) -> tuple[list[str], list[str]]:
    """What each build printed on stdout, and all the layers that they made."""
    outputs, made = [], []
    for child in children:
        out, err = child.communicate(timeout=240)
        assert child.returncode == 0, err
        outputs.append(out)
        made += layers_in(err)
    return outputs, made


def test_two_builds_of_one_project_at_once_make_each_layer_once(
    tmp_path: Path, base_lock: str, private: Private
) -> None:
    folder = write(_layered(tmp_path / "project", base_lock), {"requirements.txt": f"{private.package}\n"})
    config = (folder / "ocicaliban.toml").read_text().replace('"second",', '"second", "python",')
    write(folder, {"ocicaliban.toml": config})
    env = {"UV_DEFAULT_INDEX": private.url()}
    outputs, made = _ended([_start(folder, env), _start(folder, env)])
    assert outputs[0] == outputs[1]
    assert sorted(made) == ["first", "python", "second", "source-copy"]
    assert layers_in(ok(folder, "build", "--nogpu", env=env).stderr) == []


def test_ten_builds_at_once_end_right_and_share_what_they_have_in_common(tmp_path: Path, base_lock: str) -> None:
    shared = _recipe("shared", f"sleep 0.2; echo {uuid.uuid4().hex} >/opt/shared\n")
    config = '[modes]\nbuild = ["base", "shared", "source-copy"]\n' + CONFIG
    marks = [uuid.uuid4().hex for _ in range(10)]
    folders = [
        write(
            tmp_path / mark,
            {"ocicaliban.toml": config, "ocicaliban.lock": base_lock, "say.py": f"print('{mark}')\n", **shared},
        )
        for mark in marks
    ]
    containers, unnamed = _containers(), _unnamed()
    outputs, made = _ended([_start(folder) for folder in folders])
    assert sorted(made) == ["shared"] + ["source-copy"] * 10
    read = tmp_path / "read"
    read.mkdir()
    for mark, output in zip(marks, outputs, strict=True):
        image = json.loads(output)["id"]
        # Through a file: on a busy machine podman 4.3 was seen to lose what a container prints that ends at once.
        copy = ("cp", "/usr/app/say.py", f"/out/{mark}")
        _out("podman", "run", "--rm", "--network=none", f"--volume={read}:/out", image, *copy)
        assert (read / mark).read_text() == f"print('{mark}')\n"
    assert _containers() <= containers
    assert _unnamed() <= unnamed


# --- byte for byte ---

OTHER = "other"
"""A second user of the machine, whom `su` makes anybody without a password; Containerfile.test has one."""


def _as_other(script: str, env: Mapping[str, str]) -> str:
    """Run a shell script as the second user, who has a home and an image store of their own."""
    uid = pwd.getpwnam(OTHER).pw_uid
    done = subprocess.run(
        ["su", OTHER, "-c", script], cwd="/", env={**environment(env), "XDG_RUNTIME_DIR": f"/run/user/{uid}"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users see into."""
    folder = Path(tempfile.mkdtemp(prefix="ocicaliban-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_two_users_in_two_folders_build_the_same_digest(base_lock: str, open_folder: Path) -> None:
    mark = uuid.uuid4().hex
    files = {
        "ocicaliban.toml": f'{CONFIG}[layers.apt]\npackages = ["tree"]\n',
        "requirements.txt": "six==1.16.0\n",
        "say.py": f"import six\nprint(six.__name__, '{mark}')\n",
        "a/b.txt": mark,
        "a/c/d.txt": "",
        "big.bin": mark * 10_000,
        "Ä ö.txt": "names, too",
        "tool.sh": "#!/bin/sh\ntrue\n",
    }
    mine = write(open_folder / "mine", {**files, "ocicaliban.lock": base_lock})
    (mine / "tool.sh").chmod(0o755)
    (mine / "link").symlink_to("a/b.txt")
    env = {"LC_ALL": "C.UTF-8", "TZ": "Asia/Kolkata"}
    first = json.loads(ok(mine, "build", "--nogpu", "--no-cache", "--json", "say.py", env=env).stdout)

    # The other user takes the lock that the first one made, has written the files at another time, in another order
    # and with another umask, and our program lies somewhere else.
    program = open_folder / "program"
    for name in ("ocicaliban", "layers"):
        shutil.copytree(REPOSITORY / name, program / name, ignore=shutil.ignore_patterns("__pycache__"))
    _out("chmod", "-R", "a+rX", str(open_folder))
    script = f"""
        set -eu; umask 077; theirs=$(mktemp -d); trap 'rm -rf "$theirs"' EXIT
        cd {mine}; find . -type f -o -type l | LC_ALL=C sort -r | while read -r name; do
            mkdir -p "$theirs/${{name%/*}}"; cp -P "$name" "$theirs/$name"
            touch -h -d '2001-02-03 04:05:06' "$theirs/$name"
        done
        cd "$theirs"; {shlex.join(command("build", "--nogpu", "--no-cache", "--json", "say.py"))}
    """
    elsewhere = {"LC_ALL": "POSIX", "TZ": "America/Lima", "PYTHONPATH": str(program)}
    second = json.loads(_as_other(script, elsewhere).splitlines()[-1])
    assert second == first


# --- the images work without ocicaliban ---

LISTING = """
import hashlib, json, os
out, own = {}, {"/proc", "/sys", "/dev", "/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"}
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in own]
    for name in [*folders, *files]:
        path = os.path.join(folder, name)
        if path in own:
            continue
        if os.path.islink(path):
            out[path] = ["link", os.readlink(path)]
        elif os.path.isdir(path):
            out[path] = ["folder"]
        elif os.path.isfile(path):
            with open(path, "rb") as file:
                out[path] = ["file", hashlib.sha256(file.read()).hexdigest(), os.access(path, os.X_OK)]
print(json.dumps(out))
"""


def _files(image: str) -> dict[str, list[object]]:
    """What a container of the image sees, by path."""
    argv = ["--entrypoint", "", "--env", "PYTHONDONTWRITEBYTECODE=1", image, "python3", "-c", LISTING]
    found: dict[str, list[object]] = json.loads(_out("podman", "run", "--rm", "--network=none", *argv))
    return found


def _config(image: str) -> dict[str, object]:
    config = json.loads(_out("podman", "image", "inspect", image))[0]["Config"]
    return {
        "Env": sorted(config["Env"]),
        **{key: config.get(key) for key in ("WorkingDir", "Entrypoint", "Cmd", "ExposedPorts", "User")},
    }


def test_the_containerfile_of_a_plan_builds_the_same_image(tmp_path: Path, base_lock: str, private: Private) -> None:
    mode = '[modes]\nbuild = ["base", "apt", "port", "python", "data", "source-copy", "entrypoint"]\n'
    configure = '[[steps]]\ndo = "configure"\nports = ["8888/tcp"]\nenv = { PRICE = "5 $HOME \\"x\\"" }\n'
    folder = write(
        tmp_path / "project",
        {
            "ocicaliban.toml": mode + CONFIG,
            "ocicaliban.lock": base_lock,
            "requirements.txt": f"{private.package}\n",
            ".containerignore": "secret*\nbig\nhalf/out\n",
            "Containerfile": "",
            "say.py": "print('hello')\n",
            "tool.sh": "#!/bin/sh\ntrue\n",
            "secret.txt": "not in the image",
            "big/data.bin": "0123",
            "big/sub/secret.txt": "data comes in whole",
            "half/in.txt": "in",
            "half/out": "out",
            "whole/deep/a.txt": "a",
            "heavy/data.txt": "x" * 1_200_000,
            "heavy/secret.txt": "not in the image",
            "heavy/deep/b.txt": "b",
            "whole/.hidden": "h",
            "with space/$HOME [1]*?.txt": "strange",
            "$x/it's.txt": "stranger",
            **_recipe("port", f"echo {private.marker[::-1]} >/opt/port\n", configure),
        },
    )
    (folder / "tool.sh").chmod(0o755)
    (folder / "nothing" / "inside").mkdir(parents=True)
    for link, target in (
        ("to-file", "say.py"),
        ("to-folder", "whole"),
        ("whole/up", "../say.py"),
        ("broken", "none"),
        ("heavy/to", "deep"),
    ):
        (folder / link).symlink_to(target)
    env = {"UV_DEFAULT_INDEX": private.url()}
    ok(folder, "build", "--nogpu", "-d", "big", "say.py", env=env)
    text = ok(folder, "plan", "--nogpu", "--containerfile", "-d", "big", "build", "say.py", env=env).stdout
    (folder / "Containerfile").write_text(text)
    ours = ok(folder, "build", "--nogpu", "-d", "big", "say.py", env=env).stdout.strip()

    settings = tmp_path / "uv.toml"
    settings.write_text(f'[[index]]\nurl = "{private.url()}"\ndefault = true\n')
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    theirs = _out(
        "podman", "build", "--quiet", "--layers=false", "--network", "host", "--ignorefile", "/dev/stdin",
        "-v", f"{os.path.realpath(str(uv))}:/dev/oc/uv:ro",
        "-v", f"{settings}:/dev/oc/uv.toml:ro", "--build-arg", "UV_CONFIG_FILE=/dev/oc/uv.toml",
        "-f", str(folder / "Containerfile"), str(folder), given="!*\n",
    ).strip()  # fmt: skip
    try:
        files = _files(ours)
        assert _files(theirs) == files
        assert _config(theirs) == _config(ours)
        history = _out("podman", "history", "--no-trunc", theirs)
        assert private.marker not in history
        assert {"/usr/app/big/sub/secret.txt", "/usr/app/whole/up", "/opt/port"} <= files.keys()
    finally:
        _out("podman", "image", "rm", theirs)


# --- clean ---


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[None]:
    """An image store of this test alone, beside the user's."""
    place = _out("podman", "info", "-f", "{{.Store.GraphRoot}}").strip()
    folder = Path(tempfile.mkdtemp(prefix="clean-", dir=Path(place).parent))
    config = tmp_path / "storage.conf"
    lines = ("[storage]", 'driver = "overlay"', f'runroot = "{tmp_path}/run"', f'rootless_storage_path = "{folder}"')
    config.write_text("\n".join(lines))
    before = dict(os.environ)
    os.environ |= {"CONTAINERS_STORAGE_CONF": str(config), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    os.environ["XDG_STATE_HOME"] = str(tmp_path / "state")
    try:
        assert _out("podman", "info", "-f", "{{.Store.GraphRoot}}").strip() == str(folder)
        yield
    finally:
        # The overlay driver leaves a bind mount of its folder in podman's name space.
        _out("podman", "unshare", "sh", "-c", 'umount -l "$0/overlay"; rm -rf "$0"', str(folder))
        shutil.rmtree(folder, ignore_errors=True)  # podman creates it again when it ends
        os.environ.clear()
        os.environ.update(before)


def _named() -> set[str]:
    return set(_out("podman", "images", "--format", "{{.Repository}}").split())


@pytest.mark.usefixtures("own_store")
def test_clean_removes_what_is_ours_and_nothing_needs(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(__file__, "etc/file")
    _out("podman", "import", "-q", str(tmp_path / "root.tar"), "localhost/tiny")
    tiny = _out("podman", "image", "inspect", "-f", "{{.Id}}", "localhost/tiny").strip()
    base = f'kind = "local"\nreference = "localhost/tiny:latest"\ndigest = "sha256:{tiny}"\nplatform = "linux/amd64"\n'
    config = '[layers.base]\nimage = "localhost/tiny"\n[modes]\nbuild = ["base", "source-copy", "entrypoint"]\n'

    def built(project: str, content: str) -> str:
        lock = f"version = 1\n[base.cpu]\n{base}[python]\n"
        folder = write(
            tmp_path / project,
            {"ocicaliban.toml": config, "ocicaliban.lock": lock, "say.py": "", "blob": content * 1_000_000},
        )
        return ok(folder, "build", "--nogpu", "say.py").stdout.strip()

    def there(image: str) -> bool:
        return subprocess.run(["podman", "image", "exists", image]).returncode == 0

    old, new = built("project", "12"), built("project", "345")
    dry = ok(tmp_path, "clean", "--unused", "--dry-run").stdout
    assert there(old)
    done = ok(tmp_path, "clean", "--unused").stdout
    assert done.splitlines()[-1] == "2.0 MB freed"
    assert dry.replace("would be ", "") == done
    assert not there(old)
    assert there(new)

    tagged, contained, below = built("tagged", "4"), built("contained", "5"), built("below", "6")
    _out("podman", "tag", tagged, "localhost/mine")
    container = _out("podman", "create", contained, "true").strip()
    (tmp_path / "Containerfile").write_text(f"FROM {below}\nCOPY root.tar /\n")
    users = _out("podman", "build", "-q", "-f", str(tmp_path / "Containerfile"), str(tmp_path)).strip()
    done = ok(tmp_path, "clean", "--all").stdout
    assert done.splitlines()[-1] == "3.0 MB freed"
    assert not there(new)
    assert all(there(image) for image in (tagged, contained, below, users))
    assert {"localhost/tiny", "localhost/mine"} <= _named()

    _out("podman", "rm", container)
    _out("podman", "rmi", users)
    assert ok(tmp_path, "clean", "--all").stdout.splitlines()[-1] == "2.0 MB freed"
    assert not there(contained)
    ours = _named() - {"localhost/tiny", "localhost/mine"}
    assert {name.split("/")[2] for name in ours} == {"source-copy", "entrypoint"}, "what was tagged, and is below it"
    assert len(ours) == 2
