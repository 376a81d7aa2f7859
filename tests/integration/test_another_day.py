"""The same bytes for another user, in another folder, a week later: each recipe of ours, from the same lock."""

import json
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conda_channel import make_channel, python_module, served, system_python
from tests.folders import notebook, write
from tests.integration.program import CONFIG, REPOSITORY, call, command, environment, ok
from tests.integration.registries import Registry

OTHER = "other"
"""A second user of the machine, whom `su` makes anybody without a password; Containerfile.test has one."""
PLACE = Path("/home/tester/.local/share/containers/other")
"""A folder on a volume, where every user of the test container may keep images."""
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
BUILDAH = """#!/bin/sh
# buildah, whose steps run a week later.
if [ "$1" = run ]; then
    shift
    set -- run --volume {library}:/dev/faketime.so:ro --env LD_PRELOAD=/dev/faketime.so --env FAKETIME=+7d "$@"
fi
exec /usr/bin/buildah "$@"
"""
LIMIT = 800
"""Seconds for each command: as for a whole test, since these make every layer there is."""
MODE = ("base", "apt", "conda", "python", "project", "cuda", "jupyter", "papermill", "data", "source-copy", "shell")
EACH = f"""{CONFIG}
[layers.apt]
packages = ["dbus", "fontconfig", "fonts-dejavu-core", "openssh-server"]
[layers.jupyter]
interface = "notebook"
[modes]
each = {json.dumps([*MODE, "postbuild", "entrypoint"])}
bare = ["base", "source-copy"]
"""
# docopt has no wheel, and nvtx is one of CUDA's.
ENVIRONMENT = """channels: [{channel}]
dependencies: [python, hello, {{pip: [six, docopt==0.6.2, nvidia-nvtx-cu12]}}]
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users see into."""
    folder = Path(tempfile.mkdtemp(prefix="ocicaliban-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _as_other(script: str, env: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start a shell script as the second user, who has a home and an image store of their own."""
    uid = pwd.getpwnam(OTHER).pw_uid
    given = {**environment(env), "XDG_RUNTIME_DIR": f"/run/user/{uid}", "SAVED_PATH": os.environ["PATH"]}
    return subprocess.Popen(
        ["su", OTHER, "-c", script], cwd="/", env=given, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.timeout(2400)
def test_two_users_in_two_folders_build_the_same_digest_a_week_apart(
    base_lock: str, open_folder: Path, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    program = open_folder / "program"
    for name in ("ocicaliban", "layers"):
        shutil.copytree(REPOSITORY / name, program / name, ignore=shutil.ignore_patterns("__pycache__"))
    write(open_folder / "bin", {"buildah": BUILDAH.format(library=FAKETIME)})
    (open_folder / "bin" / "buildah").chmod(0o755)
    channel = make_channel(open_folder / "channel", [system_python(), python_module("hello", "def main(): pass\n")])
    registry = Registry(tmp_path)
    with served(channel) as address:
        try:
            mine = write(
                open_folder / "mine",
                {
                    "ocicaliban.toml": f'{EACH}[push]\nrepository = "{registry.host}/each"\n',
                    "ocicaliban.lock": base_lock,
                    "environment.yml": ENVIRONMENT.format(channel=address),
                    "study.ipynb": notebook("print(1)"),
                    "pyproject.toml": '[project]\nname = "study"\nversion = "1"\n',
                    "postBuild": "#!/bin/sh\ndate >/dev/null; echo made > /opt/made\n",
                    "a/b.txt": mark, "a/c/d.txt": "", "data/big.bin": mark * 40_000, "Ä ö.txt": "names, too",
                    "tool.sh": "#!/bin/sh\ntrue\n",
                },
            )  # fmt: skip
            (mine / "tool.sh").chmod(0o755)
            (mine / "link").symlink_to("a/b.txt")
            _check(mine, open_folder, registry)
        finally:
            registry.stop()


def _check(mine: Path, folder: Path, registry: Registry) -> None:
    build = ("build", "--mode", "each", "--dir", "data", "--json", "study.ipynb")
    env = {"LC_ALL": "C.UTF-8", "TZ": "Asia/Kolkata", "SHELL": "/usr/bin/zsh"}
    assert "ocicaliban.lock is out of date" in call(mine, "lock", "--check", "--nogpu").stderr
    ok(mine, "lock", "--nogpu", "--script", "study.ipynb", env=env, limit=LIMIT)
    locked = (mine / "ocicaliban.lock").read_text()
    assert "\nfonts-dejavu-core=2.37-" in locked
    ok(mine, "push", "--nogpu", "--mode", "bare", "--tls-verify=false", limit=LIMIT)

    # The other user takes the lock, has written the files at another time, in another order and with another umask, and
    # our program lies somewhere else. The clock of all that runs in a container is a week ahead.
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    script = f"""
        set -eu; umask 077; theirs=$(mktemp -d); store=$(mktemp -d {PLACE}/another-day-XXXXXX)
        end() {{
            podman unshare sh -c 'umount -l "$0"/*/storage/overlay; rm -rf "$0"' "$store" 2>/dev/null
            rm -rf "$theirs" "$theirs".*
        }}
        trap end EXIT
        export OCICALIBAN_STORE="$store" XDG_CACHE_HOME="$theirs.cache" XDG_STATE_HOME="$theirs.state"
        cd {mine}; find . -type f -o -type l | LC_ALL=C sort -r | while read -r name; do
            mkdir -p "$theirs/${{name%/*}}"; cp -P "$name" "$theirs/$name"
            touch -h -d '2001-02-03 04:05:06' "$theirs/$name"
        done
        PATH={folder}/bin:$SAVED_PATH; cd "$theirs"; {shlex.join(command(*build))}
    """
    elsewhere = {**env, "LC_ALL": "POSIX", "TZ": "America/Lima", "PYTHONPATH": str(folder / "program")}
    other = _as_other(script, elsewhere)
    first = json.loads(ok(mine, *build, "--no-cache", env=env, limit=LIMIT).stdout)
    out, err = other.communicate(timeout=LIMIT)
    assert other.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == first
    # The base was pushed with an image, so nobody has to make it again.
    assert f"base: fetching debian:bookworm from {registry.host}/each" in err
    assert (mine / "ocicaliban.lock").read_text() == locked
