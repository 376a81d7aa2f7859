"""push against Debian's docker-registry on loopback: with and without TLS and logins, and behind a proxy that fails."""

import base64
import hashlib
import json
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

import pytest

from ocicaliban.app import build
from ocicaliban.containers import image_store, oci_layout
from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import lookup, transport
from ocicaliban.registry import push as pushing
from ocicaliban.registry.client import RegistryClient
from ocicaliban.registry.reference import Destination, parse_repository
from ocicaliban.reporter import SILENT, Reporter
from tests.folders import write
from tests.integration.program import CONFIG, Done, call, command, environment, ok
from tests.integration.registries import Proxy, Registry, Tokens, Tunnel, authority, htpasswd

OPEN = "--tls-verify=false"
Project = Callable[..., Path]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Path]]:
    """A registry with TLS, by an authority of its own (in the folder), that wants me's password."""
    folder = tmp_path_factory.mktemp("tls")
    authority(folder)
    (folder / "users").write_text(htpasswd("me", "correct horse"))
    lines = f", tls: {{certificate: {folder / 'server.crt'}, key: {folder / 'server.key'}}}"
    registry = Registry(folder, tls=lines, more=f"auth: {{htpasswd: {{realm: test, path: {folder / 'users'}}}}}\n")
    yield registry, folder
    registry.stop()


@pytest.fixture
def proxy(plain: Registry) -> Iterator[Proxy]:
    made = Proxy(plain.host)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def images() -> Iterator[Callable[..., str]]:
    """Makes images of nothing but files: layers of so many bytes each, the same seed the same bytes."""
    made: list[str] = []
    numbers = count()

    def tool(*argv: str) -> str:
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout.strip()

    def make(folder: Path, *layers: tuple[str, int]) -> str:
        below = "scratch"
        for seed, size in layers:
            held = b"".join(hashlib.sha512(f"{seed}{n}".encode()).digest() for n in range(size // 64 + 1))
            (folder / "file").write_bytes(held[:size])
            container = tool("buildah", "from", "--quiet", below)
            tool("buildah", "add", "--quiet", container, str(folder / "file"), f"/{seed}")
            below = tool(
                "buildah",
                "commit",
                "--quiet",
                "--timestamp",
                "0",
                "--rm",
                container,
                f"localhost/oc-test-push-{next(numbers)}",
            )
            made.append(below)
        return below

    yield make
    subprocess.run(["buildah", "rmi", "--force", *reversed(made)], capture_output=True, check=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder; nothing of the user's own logins and caches is seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    (tmp_path / "auth.json").write_text("{}")
    home = tmp_path / "project"
    home.mkdir()
    return home


def log_in(folder: Path, host: str, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder.parent / "auth.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def forget_everything(folder: Path) -> None:
    """Be another user: neither our memory nor the tools' cache of blobs."""
    shutil.rmtree(folder.parent / "cache", ignore_errors=True)
    shutil.rmtree(Path.home() / ".local/share/containers/cache", ignore_errors=True)


def pushed(done: Done) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert isinstance(held, dict)
    return held


def push(folder: Path, image: str, to: str, *more: str) -> dict[str, object]:
    return pushed(call(folder, "push", "--image-id", image, "--to", to, "--json", *more))


def test_a_push_prints_the_image_by_digest_alone_and_it_can_be_pulled(
    folder: Path, plain: Registry, images: Callable[..., str]
) -> None:
    image = images(folder, ("plain", 100_000))
    done = ok(folder, "push", OPEN, "--image-id", image, "--to", f"{plain.host}/me/plain", "--tag", "v1")
    assert done.stdout.startswith(f"{plain.host}/me/plain@sha256:") and done.stdout.count("\n") == 1
    assert f"pushed {done.stdout.strip()}: sent " in done.stderr
    taken = subprocess.run(
        ["skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{done.stdout.strip()}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(json.loads(taken.stdout)["rootfs"]["diff_ids"]) == 1


def test_an_unchanged_layer_is_never_sent_again(folder: Path, proxy: Proxy, images: Callable[..., str]) -> None:
    heavy, light = ("heavy", 3_000_000), ("light", 2_000)
    to = f"{proxy.host}/me/unchanged"
    image = images(folder, heavy, light)
    first = push(folder, image, to, OPEN)
    assert 3_000_000 < int(str(first["sent"])) == proxy.sent and first["saved"] == 0

    proxy.forget()
    again = push(folder, image, to, OPEN)
    assert again["digest"] == first["digest"] and again["sent"] == 0 and proxy.sent == 0
    assert not any(method in ("PUT", "PATCH") for method, _ in proxy.asked)

    proxy.forget()
    edited = push(folder, images(folder, heavy, ("edited", 2_000)), to, OPEN)
    assert proxy.sent == edited["sent"] and proxy.sent < 8_000 and int(str(edited["saved"])) > 3_000_000

    forget_everything(folder)
    proxy.forget()
    other = push(folder, images(folder, heavy, ("another", 2_000)), to, OPEN)
    assert proxy.sent == other["sent"] and proxy.sent < 8_000 and int(str(other["saved"])) > 3_000_000


def test_another_user_with_another_tag_sends_nothing_that_is_there(
    folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    image = images(folder, ("shared", 1_000_000))
    first = push(folder, image, f"{proxy.host}/me/tags", OPEN, "--tag", "mine")
    forget_everything(folder)
    proxy.forget()
    second = push(folder, image, f"{proxy.host}/me/tags", OPEN, "--tag", "theirs")
    assert proxy.sent == 0 and second["sent"] == 0 and second["digest"] == first["digest"]
    assert any(method == "PUT" and path.endswith("/manifests/theirs") for method, path in proxy.asked)


def test_zstd_is_there_for_whoever_asks_for_it(folder: Path, plain: Registry, images: Callable[..., str]) -> None:
    image = images(folder, ("zstd", 50_000))
    done = push(folder, image, f"{plain.host}/me/zstd", OPEN, "--compression", "zstd")
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{done['reference']}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [layer["mediaType"] for layer in json.loads(raw.stdout)["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar+zstd"
    ]


def test_a_connection_that_drops_in_a_blob_is_made_again_and_finished_blobs_are_not_sent_again(
    folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    image = images(folder, *((f"part{n}", 500_000) for n in range(4)))
    patches = count()

    def order(method: str, path: str) -> object:
        # The last two of the blobs break off, and one of them once more.
        return "drop" if method == "PATCH" and next(patches) in (2, 3, 4) else None

    proxy.order = order
    done = push(folder, image, f"{proxy.host}/me/drops", OPEN)
    assert proxy.uploads() == 5  # four layers and the config, each once
    assert done["sent"] == proxy.sent


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_a_refusal_that_can_pass_is_waited_for(
    status: int, folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    image = images(folder, (f"status{status}", 10_000))
    puts = count()
    proxy.order = lambda method, path: status if method == "PUT" and next(puts) < 2 else None
    done = call(folder, "push", OPEN, "--image-id", image, "--to", f"{proxy.host}/me/s{status}")
    assert done.returncode == 0, done.stderr
    # skopeo waits by itself for a registry that is asked too often.
    assert ("retrying in" in done.stderr) == (status != 429)
    assert "_state=" not in done.stderr


def test_a_refusal_in_the_check_that_can_pass_is_waited_for(
    folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    image = images(folder, ("check", 1_000))
    numbers = count()
    proxy.order = lambda method, path: 503 if next(numbers) < 2 else None
    assert push(folder, image, f"{proxy.host}/me/check", OPEN)["sent"]


def test_a_slow_registry_is_waited_for(folder: Path, proxy: Proxy, images: Callable[..., str]) -> None:
    proxy.order = lambda method, path: 0.3
    assert push(folder, images(folder, ("slow", 1_000)), f"{proxy.host}/me/slow", OPEN)["sent"]


@pytest.mark.parametrize(("status", "words"), [(403, "no permission to push"), (404, "does not exist")])
def test_a_refusal_for_good_is_told_at_once_and_before_anything_is_built(
    status: int, words: str, folder: Path, proxy: Proxy
) -> None:
    write(folder, {"ocicaliban.toml": CONFIG + f'[push]\nrepository = "{proxy.host}/me/no"\n'})
    proxy.order = lambda method, path: status if method == "POST" else None
    done = call(folder, "push", OPEN)
    assert done.returncode == 1 and words in done.stderr and "to order" in done.stderr and " hint: " in done.stderr
    assert "building" not in done.stderr and [method for method, _ in proxy.asked] == ["GET", "POST"]


def test_a_push_that_is_killed_goes_on_where_it_was(folder: Path, proxy: Proxy, images: Callable[..., str]) -> None:
    image = images(folder, *((f"killed{n}", 800_000) for n in range(3)))
    to = f"{proxy.host}/me/killed"
    proxy.order = lambda method, path: 2.0 if method == "PATCH" and proxy.uploads() >= 1 else None
    child = subprocess.Popen(
        command("push", OPEN, "--image-id", image, "--to", to), cwd=folder, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 60
    while proxy.uploads() < 1 and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(2.5)  # what was on its way comes to its end
    finished = proxy.uploads()
    assert finished >= 1
    proxy.order = lambda method, path: None
    proxy.forget()
    again = push(folder, image, to, OPEN)
    assert proxy.uploads() <= 4 - finished and int(str(again["saved"])) >= 800_000


def test_with_tls_and_a_password(
    folder: Path, tls: tuple[Registry, Path], images: Callable[..., str], request: pytest.FixtureRequest
) -> None:
    registry, own = tls
    image = images(folder, ("tls", 5_000))
    args = ("push", "--image-id", image, "--to", f"{registry.host}/me/tls")

    unknown = call(folder, *args)
    assert unknown.returncode == 1 and "is not trusted" in unknown.stderr and "certs.d" in unknown.stderr

    trusted = Path.home() / ".config/containers/certs.d" / registry.host
    trusted.mkdir(parents=True)
    shutil.copy(own / "ca.crt", trusted / "ca.crt")
    request.addfinalizer(lambda: shutil.rmtree(trusted))
    nobody = call(folder, *args)
    assert nobody.returncode == 1 and "requires a login" in nobody.stderr and "podman login" in nobody.stderr

    log_in(folder, registry.host, "me", "wrong battery")
    wrong = call(folder, *args)
    assert wrong.returncode == 1 and "refuses the login of 'me'" in wrong.stderr and "battery" not in wrong.stderr

    log_in(folder, registry.host, "me", "correct horse")
    right = ok(folder, *args)
    assert right.stdout.startswith(f"{registry.host}/me/tls@sha256:") and "horse" not in right.stdout + right.stderr


def test_no_tls_must_be_said_also_on_loopback(
    folder: Path, plain: Registry, images: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images(folder, ("loopback", 1_000))
    args = ("push", "--image-id", image, "--to", f"{plain.host}/me/loopback")
    done = call(folder, *args)
    assert done.returncode == 1 and "does not speak TLS" in done.stderr and "--tls-verify=false" in done.stderr
    conf = folder / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{plain.host}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    ok(folder, *args)


def test_a_registry_that_is_down_is_told(folder: Path, images: Callable[..., str]) -> None:
    done = call(folder, "push", OPEN, "--image-id", images(folder, ("down", 100)), "--to", "127.0.0.1:9/me/down")
    assert done.returncode == 1 and "cannot be reached" in done.stderr and "retrying" not in done.stderr


def test_a_password_is_in_no_command_line(folder: Path, tls: tuple[Registry, Path], images: Callable[..., str]) -> None:
    registry, _ = tls
    log_in(folder, registry.host, "me", "correct horse")
    child = subprocess.Popen(
        command("push", OPEN, "--image-id", images(folder, ("ps", 3_000_000)), "--to", f"{registry.host}/me/ps"),
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    seen = b""
    while child.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen += path.read_bytes()
            except OSError:
                continue
    assert child.returncode == 0
    assert b"skopeo" in seen and b"horse" not in seen and base64.b64encode(b"me:correct horse") not in seen


def test_the_projects_image_is_built_and_an_edit_sends_only_the_source(
    base_lock: str, folder: Path, proxy: Proxy
) -> None:
    write(folder, {
        "ocicaliban.toml": CONFIG + f'[push]\nrepository = "{proxy.host}/me/"\n',
        "ocicaliban.lock": base_lock, "train.py": "print(1)\n",
    })  # fmt: skip
    first = ok(folder, "push", "train.py", "--nogpu", OPEN)
    assert first.stdout.startswith(f"{proxy.host}/me/project@sha256:")
    proxy.forget()
    (folder / "train.py").write_text("print(2)\n")
    second = ok(folder, "push", "train.py", "--nogpu", OPEN)
    assert second.stdout != first.stdout and proxy.sent < 20_000


def test_the_token_of_a_registry_is_asked_for_with_the_right_to_push(folder: Path, images: Callable[..., str]) -> None:
    """A registry of token auth, whose answers are made up: what is asked of it is what counts here."""
    server = Proxy("127.0.0.1:9")
    asked: list[tuple[str, str | None]] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        given = request.headers.get("Authorization")
        asked.append((f"{request.command} {request.path}", given))
        if request.path.startswith("/token"):
            right = given == "Basic " + base64.b64encode(b"me:correct horse").decode()
            server._reply(request, 200 if right else 401, {}, b'{"token": "abc"}' if right else b"{}")
        elif given != "Bearer abc":
            realm = f'Bearer realm="http://{server.host}/token",service="test"'
            server._reply(request, 401, {"WWW-Authenticate": realm}, b"{}")
        else:
            told = b'{"errors":[{"code":"DENIED","message":"only reading"}]}'
            server._reply(request, 403 if request.command == "POST" else 200, {}, told)

    server.handle = handle  # type: ignore[method-assign, assignment]
    log_in(folder, server.host, "me", "correct horse")
    args = ("push", OPEN, "--image-id", images(folder, ("token", 100)), "--to", f"{server.host}/me/token")
    done = call(folder, *args)
    assert done.returncode == 1 and "no permission to push" in done.stderr and "only reading" in done.stderr
    assert "abc" not in done.stderr and "horse" not in done.stderr
    token = next(path for path, _ in asked if "/token" in path)
    assert "scope=repository%3Ame%2Ftoken%3Apull%2Cpush" in token and "service=test" in token
    log_in(folder, server.host, "me", "wrong")
    assert "refuses the login" in call(folder, *args).stderr
    server.stop()


@pytest.fixture
def tokens(plain: Registry) -> Iterator[Tokens]:
    made = Tokens(plain.host, "me", "correct horse")
    yield made
    made.stop()


def connected(to: str) -> tuple[Destination, RegistryClient]:
    target = Destination(repository=parse_repository(to), tls_verify=False)
    return target, pushing.connect(target, SILENT)


def test_a_token_that_has_had_its_time_is_renewed(folder: Path, tokens: Tokens, images: Callable[..., str]) -> None:
    log_in(folder, tokens.host, "me", "correct horse")
    image = build.image_called(images(folder, ("renewed", 1_000)))
    target, at = connected(f"{tokens.host}/me/renewed")
    tokens.alive.clear()  # while the image was built
    assert pushing.push(image, target, at, reporter=Reporter(print)).sent
    tokens.alive.clear()
    assert pushing.push(image, target, at, reporter=Reporter(print)).sent == 0


@pytest.mark.parametrize("basic", [False, True])
def test_a_login_is_looked_up_again_when_it_is_refused(basic: bool, folder: Path, tokens: Tokens) -> None:
    tokens.basic = basic
    log_in(folder, tokens.host, "me", "correct horse")
    _, at = connected(f"{tokens.host}/me/anew")
    log_in(folder, tokens.host, "me", "battery")
    tokens.login, _ = "Basic " + base64.b64encode(b"me:battery").decode(), tokens.alive.clear()
    assert at.manifest_digest("nothing") == ""
    tokens.login, _ = "Basic " + base64.b64encode(b"me:staple").decode(), tokens.alive.clear()
    with pytest.raises(OcicalibanError, match="refuses the login of 'me'"):
        at.manifest_digest("nothing")


def test_who_asks_side_by_side_logs_in_once(folder: Path, tokens: Tokens) -> None:
    log_in(folder, tokens.host, "me", "correct horse")
    _, at = connected(f"{tokens.host}/me/once")
    tokens.alive.clear()
    tokens.tokens.clear()
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(at.has_blob, [f"sha256:{n:064}" for n in range(40)]))
    assert len(tokens.tokens) == 1


_CONFIG = '"config": {"digest": "sha256:%s", "size": 2}' % ("0" * 64)


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        (b'{"config": {"digest": "sha256:x", "size": "zz"}}', b"{}"),
        (b'{"config": {"digest": "../../x", "size": 2}}', b"{}"),
        (b'{"manifests": ["x", {"platform": "y"}]}', b"{}"),
        (f"{{{_CONFIG}}}".encode(), b'{"rootfs": "x"}'),
        (f'{{{_CONFIG}, "layers": ["x"]}}'.encode(), b'{"rootfs": {"diff_ids": [1]}}'),
        (b"[]", b"{}"),
    ],
)
def test_a_strange_image_in_a_registry_is_one_of_which_nothing_is_known(
    manifest: bytes, config: bytes, folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    to = f"{proxy.host}/me/strange"
    push(folder, images(folder, ("strange", 1_000)), to, OPEN)

    def order(method: str, path: str) -> bytes | None:
        if method != "GET":
            return None
        return manifest if "/manifests/" in path else config if "/blobs/" in path else None

    proxy.order = order
    try:
        found = lookup.find_image(Destination(repository=parse_repository(to), tls_verify=False), "latest", SILENT)
    except OcicalibanError as fault:
        assert "has no image for linux/amd64" in fault.message
    else:
        assert found and not found.entrypoint and not found.command


def test_what_others_say_of_a_layer_is_not_believed(folder: Path, proxy: Proxy, images: Callable[..., str]) -> None:
    theirs, ours = images(folder, ("theirs", 50_000)), images(folder, ("ours", 50_000))
    to = f"{proxy.host}/me/believed"
    layer = {
        "mediaType": f"{oci_layout.LAYER}+gzip",
        "digest": _layers(push(folder, theirs, to, OPEN))[0],
        "size": 50_000,
    }
    diff_ids = image_store.image_config(build.image_called(ours))["rootfs"]["diff_ids"]
    config = json.dumps({"rootfs": {"diff_ids": diff_ids}}).encode()
    described = {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}", "size": len(config)}
    manifest = json.dumps({"config": described, "layers": [layer]}).encode()
    proxy.order = lambda method, path: (
        None if method != "GET" else manifest if "/manifests/" in path else config if "/blobs/" in path else None
    )
    forget_everything(folder)
    done = push(folder, ours, to, OPEN)
    proxy.order = lambda method, path: None
    assert _layers(done) != [layer["digest"]] and int(str(done["sent"])) > 50_000


def _layers(done: dict[str, object]) -> list[str]:
    """The digests of the layers of an image that was pushed, as the registry has them."""
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{done['reference']}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [layer["digest"] for layer in json.loads(raw.stdout)["layers"]]


def test_what_is_in_another_repository_of_the_registry_is_not_sent_again(
    folder: Path, tokens: Tokens, images: Callable[..., str]
) -> None:
    log_in(folder, tokens.host, "me", "correct horse")
    image = images(folder, ("mounted", 300_000))
    push(folder, image, f"{tokens.host}/me/one", OPEN)
    tokens.forget()
    done = call(folder, "push", OPEN, "--image-id", image, "--to", f"{tokens.host}/me/two", "--json")
    assert pushed(done)["sent"] == tokens.sent < 5_000 and int(str(pushed(done)["saved"])) > 300_000
    assert any("scope=repository%3Ame%2Fone%3Apull" in asked for asked in tokens.tokens)
    # One that is not there, though we remember it, is sent.
    tokens.order = lambda method, path: 404 if "mount=" in path else None
    third = push(folder, image, f"{tokens.host}/me/three", OPEN)
    assert int(str(third["sent"])) > 300_000


def test_a_ctrl_c_ends_a_push_that_waits_for_the_registry(
    folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    image = images(folder, ("waits", 1_000))
    proxy.order = lambda method, path: (429, {"Retry-After": "100"}) if method == "HEAD" else None
    child = subprocess.Popen(
        command("push", OPEN, "--image-id", image, "--to", f"{proxy.host}/me/waits"), cwd=folder, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not any(method == "HEAD" for method, _ in proxy.asked) and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in said


def test_a_refusal_whose_words_tell_nothing_is_tried_again(
    folder: Path, proxy: Proxy, images: Callable[..., str]
) -> None:
    patches = count()
    proxy.order = lambda method, path: 429 if method == "PATCH" and next(patches) < 2 else None
    assert push(folder, images(folder, ("words", 10_000)), f"{proxy.host}/me/words", OPEN)["sent"]


def test_a_registry_that_says_nothing_is_told(
    folder: Path, plain: Registry, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_TIMEOUT", (5.0, 0.5))
    proxy.order = lambda method, path: 3.0
    with pytest.raises(OcicalibanError, match="does not answer"):
        connected(f"{proxy.host}/me/silent")


@pytest.mark.parametrize("status", [204, 403, 407, 418])
def test_what_answers_as_no_registry_does_is_refused_before_anything_is_built(
    status: int, folder: Path, proxy: Proxy
) -> None:
    write(folder, {"ocicaliban.toml": CONFIG + f'[push]\nrepository = "{proxy.host}/me/no"\n'})
    proxy.order = lambda method, path: status
    done = call(folder, "push", OPEN)
    assert done.returncode == 1 and f"answers {status}" in done.stderr and " hint: " in done.stderr
    assert "building" not in done.stderr and len(proxy.asked) == 1


def test_a_registry_that_says_when_to_come_again_is_asked_then(folder: Path, proxy: Proxy) -> None:
    numbers, said = count(), list[str]()
    proxy.order = lambda method, path: (429, {"Retry-After": "2"}) if next(numbers) < 1 else None
    target = Destination(repository=parse_repository(f"{proxy.host}/me/again"), tls_verify=False)
    pushing.connect(target, Reporter(said.append))
    assert [line.partition("; ")[2] for line in said] == ["retrying in 2 s"]


def test_a_registry_that_is_started_again_after_the_build_is_waited_for(
    folder: Path, tmp_path: Path, images: Callable[..., str]
) -> None:
    own = Registry(tmp_path)
    image = build.image_called(images(folder, ("restarted", 1_000)))
    target, at = connected(f"{own.host}/me/restarted")
    own.stop()
    again = threading.Timer(1.5, own.start)
    again.start()
    assert pushing.push(image, target, at, reporter=Reporter(print)).sent
    again.join()
    own.stop()


def _index(to: str, image: str, *machines: str) -> None:
    """Push an index with an image for each of these machines, which starts what tells them apart."""
    name = "localhost/oc-test-index"

    def buildah(*argv: str) -> str:
        done = subprocess.run(["buildah", *argv], capture_output=True, text=True, check=True, timeout=120)
        return done.stdout.strip()

    for machine in machines:
        container = buildah("from", "--quiet", image)
        buildah("config", "--arch", machine, "--entrypoint", f'["for-{machine}"]', container)
        buildah("commit", "--quiet", "--rm", "--manifest", name, container)
    buildah("manifest", "push", "--all", OPEN, name, f"docker://{to}")
    buildah("manifest", "rm", name)


def test_of_an_image_for_several_platforms_the_one_for_the_cloud_is_looked_at(
    folder: Path, plain: Registry, images: Callable[..., str]
) -> None:
    image, to = images(folder, ("several", 100)), f"{plain.host}/me/several"
    target = Destination(repository=parse_repository(to), tls_verify=False)
    _index(to, image, "arm64", "amd64")
    found = lookup.find_image(target, "latest", SILENT)
    assert found and found.has_config and found.entrypoint == ("for-amd64",)
    _index(to, image, "arm64")
    with pytest.raises(OcicalibanError, match="has no image for linux/amd64"):
        lookup.find_image(target, "latest", SILENT)


def test_a_proxy_with_tls_of_its_own_is_trusted_by_ssl_cert_file(
    folder: Path, plain: Registry, images: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    before = Proxy(plain.host, context)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))
    assert push(folder, images(folder, ("ssl", 1_000)), f"{before.host}/me/ssl")["sent"]
    before.stop()


def test_googles_registry_gets_a_token_made_of_a_key_file_which_is_written_nowhere(
    folder: Path, images: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's host leads to a registry here, and its token service to a stand-in."""
    place = folder.parent / "google"
    place.mkdir()
    authority(place, "europe-docker.pkg.dev")
    (place / "users").write_text(htpasswd("oauth2accesstoken", "ya29.stand-in"))
    lines = f", tls: {{certificate: {place / 'server.crt'}, key: {place / 'server.key'}}}, relativeurls: true"
    registry = Registry(place, tls=lines, more=f"auth: {{htpasswd: {{realm: test, path: {place / 'users'}}}}}\n")
    tokens = Proxy("127.0.0.1:9")
    tokens.handle = lambda request: tokens._reply(  # type: ignore[method-assign, assignment]
        request, 200, {"Content-Type": "application/json"}, b'{"access_token": "ya29.stand-in", "expires_in": 3600}'
    )
    tunnel = Tunnel(registry.host)
    key = place / "key.json"
    key.write_text(json.dumps({
        "type": "service_account", "client_email": "robot@p.iam.gserviceaccount.com", "private_key_id": "1",
        "private_key": (place / "server.key").read_text(), "token_uri": f"http://{tokens.host}/token",
    }))  # fmt: skip
    for name, value in (
        ("HTTPS_PROXY", tunnel.url),
        ("SSL_CERT_FILE", str(place / "ca.crt")),
        ("NO_PROXY", "127.0.0.1"),
    ):
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.lower(), raising=False)
    to = "europe-docker.pkg.dev/my-project/research"
    done = ok(folder, "push", "--image-id", images(folder, ("google", 1_000)), "--to", to, "--cloud-key", str(key))
    assert done.stdout.startswith(f"{to}/project@sha256:") and set(tunnel.hosts) == {"europe-docker.pkg.dev:443"}
    assert "ya29" not in done.stdout + done.stderr
    left = [path for path in folder.parent.rglob("*") if path.is_file() and path.parent != place]
    assert not any(b"ya29" in path.read_bytes() for path in left if not path.is_relative_to(place))
    for server in (tokens, tunnel, registry):
        server.stop()


def test_a_key_of_googles_is_no_login_for_another_registry(folder: Path) -> None:
    (folder / "robot.json").write_text('{"type": "service_account"}')
    done = call(folder, "push", "--to", "registry.example.org/me/digits", "--cloud-key", "robot.json")
    assert done.returncode == 2 and "registry.example.org is not one of them" in done.stderr
    assert "podman login registry.example.org" in done.stderr
