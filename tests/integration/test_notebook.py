"""`notebook`: a real Jupyter in a real container, seen by a real browser; one image for all of it."""

import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pexpect
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.folders import write
from tests.integration.program import CONFIG, REPOSITORY, call, command, environment, ok

# An older version than Jupyter would take by itself.
FILES = {
    "requirements.txt": "matplotlib\npackaging==24.2\n",
    "numbers_of_mine/__init__.py": "def square(x):\n    return x * x\n",
    "versions.py": "import json\nfrom importlib.metadata import distributions\n"
    "print(json.dumps({d.name: d.version for d in distributions(path=['/opt/venv/lib/python3.11/site-packages'])}))\n",
}
# A home in which someone has tried to do without a token.
CARELESS = 'c.ServerApp.token = c.IdentityProvider.token = ""\nc.ServerApp.ip = "0.0.0.0"\nc.ServerApp.port = 8887\n'
CELL = """\
import matplotlib.pyplot as plt, os
from numbers_of_mine import square
plt.figure(figsize=(5, 3))
plt.plot([square(x) for x in range(-9, 10)])
plt.title(os.getcwd());"""
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


def _home(folder: Path) -> dict[str, str]:
    """An environment with another home, but with the image store and the caches of this one."""
    own = Path.home()
    places = {"DATA": ".local/share", "CONFIG": ".config", "CACHE": ".cache", "STATE": ".local/state"}
    given = {f"XDG_{name}_HOME": os.environ.get(f"XDG_{name}_HOME", str(own / path)) for name, path in places.items()}
    return {"HOME": str(folder), **given}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, base_lock: str) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / f"plots-{os.urandom(3).hex()}"
    write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, **FILES})
    ok(folder, "build", "--mode", "notebook")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    names = ("jupyter_server_config.py", "jupyter_lab_config.py")
    write(folder, {f".jupyter/{name}": CARELESS for name in names})
    return folder


def _containers(folder: Path) -> list[str]:
    argv = ["podman", "ps", "--all", "--filter", "label=ocicaliban.notebook", "--format", "json"]
    listed = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return [one["Names"][0] for one in listed if str(folder) in one["Labels"]["ocicaliban.notebook"]]


@contextlib.contextmanager
def _started(folder: Path, *args: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """A notebook in the foreground, by its URL; it is ended by SIGTERM, and leaves no container."""
    before = set(_containers(folder))
    child = subprocess.Popen(
        command("notebook", *args), cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stdout and child.stderr
    try:
        url = child.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), child.stderr.read()
        yield url
    finally:
        child.terminate()
        child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert set(_containers(folder)) <= before


@pytest.fixture(scope="module")
def running(project: Path, home: Path) -> Iterator[str]:
    with _started(project, env=_home(home)) as url:
        yield url


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


def _status(url: str) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as fault:
        return fault.code


# --- in the browser ---


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "chromium", executable_path="/usr/bin/chromium", args=CHROMIUM, headless=True,
            viewport={"width": 1000, "height": 640},
        )  # fmt: skip
        browser.set_default_timeout(60_000)
        yield browser.pages[0]
        browser.close()


def test_a_cell_plots_what_the_project_computes_and_the_notebook_is_saved_on_the_host(
    running: str, project: Path, home: Path, page: Page
) -> None:
    page.goto(running)
    page.get_by_role("button", name="No", exact=True).click()  # to Jupyter's news: a setting that has to last
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    # Before the kernel is there a cell that is run can get lost.
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.insert_text(CELL)
    page.keyboard.press("Shift+Enter")
    figure = page.locator(".jp-OutputArea-output img").first
    figure.wait_for()
    assert figure.evaluate("image => image.naturalWidth") > 300
    page.keyboard.press("Control+s")
    page.locator(".jp-Dialog input").first.fill("squares.ipynb")
    page.get_by_role("button", name="Rename and Save").click()
    expect(page.locator(".lm-TabBar-tab.jp-mod-current .lm-TabBar-tabLabel").first).to_have_text("squares.ipynb")
    page.locator(".jp-mod-dirty").wait_for(state="detached")

    saved = project / "squares.ipynb"
    assert saved.stat().st_uid == os.getuid()
    (cell, *_) = json.loads(saved.read_text())["cells"]
    assert "".join(cell["source"]) == CELL
    assert [list(output["data"]) for output in cell["outputs"]] == [["image/png", "text/plain"]]
    assert list((home / ".jupyter" / "lab" / "user-settings").rglob("notification.jupyterlab-settings"))
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        page.screenshot(path=REPOSITORY / "docs/pictures/notebook.png")


# --- where it listens, and who is let in ---


def test_only_the_token_opens_it_whatever_the_settings_in_the_home(running: str) -> None:
    api = running.replace("/lab?", "/api/status?")
    assert _status(api) == 200
    assert _status(running) == 200
    assert _status(api[:-1] + ("0" if api[-1] != "0" else "1")) == 403
    assert _status(api.partition("?")[0]) == 403


def test_the_token_is_in_no_process_arguments(running: str) -> None:
    token = running.rpartition("=")[2]
    listing = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "jupyter-lab" in listing
    assert token not in listing


def test_other_addresses_than_the_loopback_refuse(running: str) -> None:
    socket.create_connection(("127.0.0.1", _port(running)), timeout=10).close()
    others = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    for address in ("127.0.0.2", *others):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, _port(running)), timeout=10)


def test_a_second_one_takes_the_next_port_and_a_given_port_is_that_one(running: str, project: Path) -> None:
    with _started(project, "--bare") as url:
        assert _port(url) > _port(running)
        assert _status(url) == 200
    done = call(project, "notebook", "--bare", "-p", str(_port(running)))
    assert done.returncode == 2
    assert f"the port {_port(running)} is taken" in done.stderr


# --- its life ---


def test_ctrl_c_ends_it_at_once_and_leaves_no_container(project: Path) -> None:
    before = _containers(project)
    argv = command("notebook", "--bare")
    child = pexpect.spawn(argv[0], argv[1:], cwd=str(project), env=environment(), timeout=60, encoding="utf-8")
    child.expect(r"http://127\.0\.0\.1:(\d+)/lab\?token=\w+")
    port = int(child.match.group(1))
    child.expect("Ctrl-C ends it")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert _containers(project) == before


def test_a_detached_one_is_listed_marked_when_it_is_outdated_and_stopped(project: Path) -> None:
    ssh = {"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"}
    started = ok(project, "notebook", "--bare", "--detach", env=ssh)
    url = started.stdout.strip()
    port = _port(url)
    name = f"{project.name}-{port}"
    assert f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@192.0.2.1\n" in started.stderr
    before = (project / "ocicaliban.toml").read_text()
    try:
        assert _status(url) == 200
        assert f"{name}  {url}  {project}\n" in _listed(project)
        (project / "ocicaliban.toml").write_text(
            CONFIG + '[layers.apt]\npackages = ["no-such-package-oc"]\nlock = false\n'
        )
        assert f"{name}  {url}  {project}  (with the packages from before)\n" in _listed(project)
        again = call(project, "notebook", "--bare")
        assert again.returncode == 1  # there is no such package
        assert f"note: {name} still runs with the packages from before" in again.stderr
    finally:
        (project / "ocicaliban.toml").write_text(before)
        stopped = _without_flags("notebook", "--stop", name, folder=project)
    assert stopped.stderr == f"{name} has ended\n"
    assert name not in _listed(project)
    unknown = _without_flags("notebook", "--stop", name, folder=project)
    assert unknown.returncode == 2
    assert f"there is no notebook '{name}'" in unknown.stderr


def _without_flags(*args: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    argv = [word for word in command(*args) if word != "--nogpu"]
    return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)


def _listed(folder: Path) -> str:
    done = _without_flags("notebook", "--list", folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_server_said_is_told_when_it_dies(project: Path) -> None:
    before = _containers(project)
    done = call(project, "notebook", "--bare", "--podman-args", "--env PATH=/usr/bin")
    assert done.returncode == 1
    assert "error: the notebook server ended with exit code 1\n" in done.stderr
    assert "jupyter-lab" in done.stderr
    assert _containers(project) == before


# --- its packages ---


def _versions(folder: Path, *args: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(ok(folder, "run", *args, "versions.py").stdout)
    return found


def test_jupyter_changes_no_version_that_a_job_uses(project: Path) -> None:
    image = ok(project, "build", "--mode", "notebook").stdout.strip()
    job, notebook = _versions(project), _versions(project, "--mount", "--image-id", image)
    assert job.items() <= notebook.items()
    assert job["packaging"] == "24.2"
    assert "jupyterlab" in notebook.keys() - job.keys()


def test_packages_that_do_not_fit_jupyters_are_told_in_uvs_words(tmp_path: Path, base_lock: str) -> None:
    files = {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "requirements.txt": "jupyter-server==1.24.0\n"}
    write(tmp_path, files)
    done = call(tmp_path, "notebook")
    assert done.returncode == 1
    assert "error: Jupyter does not fit the dependencies\n" in done.stderr
    assert "jupyter-server==1.24.0" in done.stderr
    assert "\n hint: uv was asked for jupyterlab jupyter-server>=2, for Python 3.11" in done.stderr


def test_a_project_that_depends_on_jupyterlab_itself_keeps_its_own(tmp_path: Path, base_lock: str) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "requirements.txt": "jupyterlab<4.4\n"})
    done = ok(tmp_path, "plan", "notebook", "--json")
    assert [layer["name"] for layer in json.loads(done.stdout)["layers"] if layer["name"] == "jupyter"] == []


def test_a_container_of_somebody_else_with_that_name_stays(project: Path) -> None:
    name = f"mine-{uuid.uuid4().hex[:8]}"
    image = ok(project, "build", "--mode", "notebook").stdout.strip()
    subprocess.run(["podman", "create", "--name", name, image, "true"], check=True, capture_output=True)
    try:
        done = call(project, "notebook", "--detach", "--bare", "--podman-args", f"--name {name}")
        assert done.returncode == 1
        assert "already in use" in done.stderr
        assert subprocess.run(["podman", "container", "exists", name]).returncode == 0
    finally:
        subprocess.run(["podman", "rm", "--force", name], check=True, capture_output=True)
