"""`shell`, lived in: at a real terminal, in pipes, with each shell, and what it tells of the difference to a job."""

import html
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.folders import write
from tests.integration.program import CONFIG, REPOSITORY, call, command, environment, ok, until

PROMPT = "(ocicaliban digits) /usr/app # "
STRANGER = "#!/bin/sh\necho a stranger\n"
At = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, base_lock: str) -> Path:
    folder = tmp_path_factory.mktemp("shell") / "digits"
    write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "train.py": "print('trained')\n"})
    ok(folder, "build", "--mode", "shell")  # buildah 1.28 builds nothing with the XDG_CONFIG_HOME of `_living_in`
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with nothing in it but a stranger's python3, which no shell of ours may start."""
    folder = tmp_path / "home"
    write(folder, {"bin/python3": STRANGER})
    (folder / "bin/python3").chmod(0o755)
    return folder


def _living_in(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user with this home, whose images and settings are nevertheless ours."""
    real = Path.home()
    kept = {"XDG_DATA_HOME": ".local/share", "XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}
    ours = {name: os.environ.get(name, str(real / folder)) for name, folder in kept.items()}
    return {**ours, "HOME": str(home), "SHELL": "/bin/bash", "TERM": "xterm-256color", **more}


@pytest.fixture
def at_terminal(project: Path, home: Path) -> Iterator[At]:
    children: list[pexpect.spawn[str]] = []

    def start(*args: str, **env: str) -> "pexpect.spawn[str]":
        argv = command("shell", *args)
        child = pexpect.spawn(
            argv[0], argv[1:], cwd=str(project), env=environment(_living_in(home, **env)), dimensions=(33, 101),
            timeout=40, encoding="utf-8",
        )  # fmt: skip
        children.append(child)
        return child

    yield start
    for child in children:
        _hang_up(child)


def _hang_up(child: "pexpect.spawn[str]") -> None:
    """Close the terminal as its window would.

    pexpect kills who has not ended 0.3 s later. podman has then not always told the container, which stays.
    """
    if not child.closed:
        child.ptyproc.fileobj.close()
        until(lambda: not child.isalive())
        child.close()


def _exit(child: "pexpect.spawn[str]") -> int:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus)


# --- at a terminal ---


def test_the_prompt_says_where_one_is_and_the_exit_code_of_the_shell_is_ours(at_terminal: At) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    child.sendline("cd /tmp")
    child.expect_exact("(ocicaliban digits) /tmp # ")
    child.sendline("exit 3")
    assert _exit(child) == 3


def test_nothing_stands_between_the_terminal_and_podman(at_terminal: At) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    assert Path(os.readlink(f"/proc/{child.pid}/exe")).name == "podman"
    child.sendline("exit")
    assert _exit(child) == 0


def test_the_shell_follows_the_size_of_the_terminal(at_terminal: At) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    child.sendline("stty size; tput colors")
    child.expect_exact("33 101\r\n256\r\n")
    child.setwinsize(20, 60)
    child.sendline("until [ \"$(stty size)\" = '20 60' ]; do sleep 0.1; done; echo re''sized")
    child.expect_exact("resized")


def test_ctrl_c_ends_the_command_and_not_the_shell(at_terminal: At) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    child.sendline("sh -c 'echo be''gun; exec sleep 100'")
    child.expect_exact("begun")
    child.sendintr()
    child.expect_exact(PROMPT)
    child.sendline("echo code $?")
    child.expect_exact("code 130")


def test_ctrl_z_stops_the_command_and_fg_goes_on_with_it(at_terminal: At) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    assert "job control" not in child.before
    child.sendline("sh -c 'echo be''gun; read word; echo got $word'")
    child.expect_exact("begun")
    child.sendcontrol("z")
    child.expect_exact("Stopped")
    child.expect_exact(PROMPT)
    child.sendline("fg")
    child.expect_exact("read word")
    child.sendline("it")
    child.expect_exact("got it")


def test_keys_reach_the_shell_as_they_are(at_terminal: At) -> None:
    child = at_terminal(LANG="xx_XX.UTF-8")
    child.expect_exact(PROMPT)
    child.sendline("echo 'Größe → ✓' | wc -m; echo $LANG")
    child.expect_exact("\r10\r\nC.UTF-8\r\n")
    child.expect_exact(PROMPT)
    child.sendcontrol("p")  # by which podman would let go of the terminal, if another key followed
    child.expect_exact("echo 'Größe → ✓' | wc -m")


def test_a_terminal_that_the_image_does_not_know_is_taken_for_one_that_it_does(at_terminal: At) -> None:
    child = at_terminal(TERM="ocicaliban-term")
    child.expect_exact(PROMPT)
    child.sendline("echo $TERM")
    child.expect_exact("xterm-256color")


def test_the_container_is_gone_when_the_terminal_is_closed(at_terminal: At) -> None:
    child = at_terminal("--podman-args", "--label=closed=yes")
    child.expect_exact(PROMPT)
    child.sendline("sh -c 'echo be''gun; exec sleep 100'")
    child.expect_exact("begun")
    listing = ["podman", "ps", "--all", "--quiet", "--filter", "label=closed=yes"]
    container = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.strip()
    _hang_up(child)
    assert container
    # Not `podman wait`: it was seen to wait for ever for a container that is being removed.
    until(lambda: not subprocess.run(listing, capture_output=True, text=True, check=True).stdout.strip())
    assert subprocess.run(["podman", "container", "exists", container], check=False).returncode == 1


def test_an_edit_on_the_host_is_there_at_once(at_terminal: At, project: Path) -> None:
    child = at_terminal()
    child.expect_exact(PROMPT)
    (project / "train.py").write_text("print('edited', 'just now')\n")
    child.sendline("python3 train.py")
    child.expect_exact("edited just now")


# --- the user's own settings ---


def test_the_users_dotfiles_count_but_the_environment_is_that_of_a_job(at_terminal: At, home: Path) -> None:
    dotfile = "PATH=~/bin:$PATH\nPYTHONPATH=/nowhere\nPS1='mine> '\nalias hello='echo hello from home'\n"
    write(home, {".bashrc": dotfile})
    child = at_terminal()
    child.expect_exact("(ocicaliban digits) mine> ")
    child.sendline("hello; python3 -c 'import os; print(os.environ[\"PYTHONPATH\"])'; echo $PATH; pwd")
    # Two folders of the shell's own answer `pip install`.
    child.expect_exact("hello from home\r\n/usr/app:/run/ocicaliban/python\r\n/run/ocicaliban/bin:/usr/local/sbin:")
    child.expect_exact(f":{home}/bin:")
    child.expect_exact("mine> ")
    child.sendline("exit")
    assert _exit(child) == 0
    assert (home / ".bashrc").read_text() == dotfile
    history = home / ".bash_history"
    assert "hello;" in history.read_text()
    assert history.stat().st_uid == os.getuid()


def test_a_prompt_that_is_set_before_each_command_shows_the_mode_too(at_terminal: At, home: Path) -> None:
    write(home, {".bashrc": "PROMPT_COMMAND='PS1=\"[$?] \";'\n"})
    child = at_terminal()
    child.expect_exact("(ocicaliban digits) [0] ")
    child.sendline("(exit 4)")
    child.expect_exact("(ocicaliban digits) [4] ")


ZSHRC = "PATH=~/bin:$PATH\nprecmd() { PROMPT='mine> ' }\nalias hello='echo hello from home'\n"
FISHRC = """\
set -gx PATH ~/bin $PATH
function hello; echo hello from home; end
function fish_prompt; echo -n "$status> "; end
"""


def test_zsh_when_it_is_the_users_own(at_terminal: At, home: Path, project: Path) -> None:
    ok(project, "build", "--mode", "shell", env={"SHELL": "/opt/tools/zsh"})
    write(home, {"zsh/.zshenv": "ZDOTDIR=~/.config/zsh\n", ".config/zsh/.zshrc": ZSHRC})
    child = at_terminal(SHELL="/opt/tools/zsh", ZDOTDIR=f"{home}/zsh")
    child.expect_exact("(ocicaliban digits) mine> ")
    child.sendline("hello; python3 -c 'print(\"ours\")'; echo $ZDOTDIR $ZSH_VERSION ${SHELL:t}")
    child.expect(f"hello from home\r\nours\r\n{home}/.config/zsh 5[.0-9]+ zsh")
    child.sendline("sh -c 'echo be''gun; exec sleep 100'")
    child.expect_exact("\r\nbegun")
    child.sendcontrol("z")
    child.expect_exact("suspended")
    child.expect_exact("mine> ")
    child.sendline("fg")
    child.expect_exact("continued")
    child.sendintr()
    child.expect_exact("mine> ")
    child.sendline("exit 3")
    assert _exit(child) == 3


def test_fish_when_it_is_asked_for(at_terminal: At, home: Path, project: Path) -> None:
    ok(project, "shell", "--shell", "fish", "--", "true")
    write(home, {".config/fish/config.fish": FISHRC})
    child = at_terminal("--shell", "fish")
    child.expect_exact("(ocicaliban digits) 0> ")
    child.sendline("hello; python3 -c 'print(\"ours\")'; false")
    child.expect_exact("hello from home\r\n")
    child.expect_exact("ours\r\n")
    child.expect_exact("(ocicaliban digits) 1> ")
    child.sendline("exit 3")
    assert _exit(child) == 3


def test_bare_hides_the_home_folder(project: Path, home: Path) -> None:
    script = f"echo $HOME; test -e {home}/bin && echo there || echo hidden"
    assert ok(project, "shell", "--", "sh", "-c", script, env=_living_in(home)).stdout == f"{home}\nthere\n"
    assert ok(project, "shell", "--bare", "--", "sh", "-c", script, env=_living_in(home)).stdout == "/root\nhidden\n"


# --- a command, and pipes ---


def test_a_commands_exit_code_is_ours(project: Path) -> None:
    assert call(project, "shell", "--", "sh", "-c", "exit 7").returncode == 7
    assert call(project, "shell", "--", "no-such-command").returncode == 127


def test_bytes_go_through_a_pipe_as_they_are_both_ways(project: Path) -> None:
    data = bytes(range(256)) * 1000
    done = subprocess.run(
        command("shell", "--", "cat"), cwd=project, env=environment(), input=data, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == data


def test_commands_come_by_a_pipe_too(project: Path) -> None:
    done = subprocess.run(
        command("shell"), cwd=project, env=environment(), input="pwd\nexit 5\n", capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "/usr/app\n")


def test_files_made_inside_belong_to_us(project: Path, home: Path) -> None:
    ok(project, "shell", "--", "sh", "-c", "mkdir made && touch made/here ~/there", env=_living_in(home))
    for path in (project / "made", project / "made/here", home / "there"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_another_image_is_lived_in_with_the_project_mounted(project: Path) -> None:
    image = ok(project, "build", "train.py").stdout.strip()
    write(project, {"new.txt": "after the build\n"})
    done = ok(project, "shell", "--shell", "fish", "--image-id", image, "--", "cat", "new.txt")
    assert done.stdout == "after the build\n"
    child = pexpect.spawn(
        "sh", ["-c", 'exec "$@"', "_", *command("shell", "--bare", "--shell", "fish", "--image-id", image)],
        cwd=str(project), env=environment({"TERM": "xterm"}), timeout=60, encoding="utf-8",
    )  # fmt: skip
    child.expect_exact("note: this image has no fish; starting bash instead")
    child.expect_exact(PROMPT)
    _hang_up(child)


def test_what_the_shells_read_can_be_edited_in_a_recipe_that_was_ejected(project: Path, tmp_path: Path) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": (project / "ocicaliban.lock").read_text()})
    eject = [sys.executable, "-m", "ocicaliban", "layers", "eject", "shell"]
    subprocess.run(eject, cwd=tmp_path, env=environment(), capture_output=True, check=True)
    enter = tmp_path / "layers/shell/rc/enter"
    enter.write_text(f"export MINE=edited\n{enter.read_text()}")
    assert ok(tmp_path, "shell", "--", "sh", "-c", "echo $MINE").stdout == "edited\n"
    write(tmp_path, {"layers/shell/layer.toml": 'summary = "nothing"\n'})
    shutil.rmtree(tmp_path / "layers/shell/rc")
    assert ok(tmp_path, "shell", "--", "sh", "-c", "echo $MINE").stdout == "\n"


def test_folders_of_data_are_seen_and_not_stored(project: Path) -> None:
    write(project, {"data/one.csv": "1\n", ".gitignore": "data/\n"})
    done = ok(project, "shell", "-d", "data", "--", "cat", "data/one.csv")
    assert done.stdout == "1\n"
    assert "data" not in done.stderr  # neither a layer, nor missing in a job
    (project / ".gitignore").unlink()


def test_an_unknown_shell_is_refused(project: Path) -> None:
    done = call(project, "shell", "--shell", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bash, zsh or fish" in done.stderr


# --- what a job would not see ---


def test_what_a_job_would_not_see_is_told(project: Path) -> None:
    assert "note:" not in ok(project, "shell", "--", "true").stderr
    write(project, {".gitignore": "results/\n*.log\n", "results/deep/a.csv": "", "b.log": "", "__pycache__/c.pyc": ""})
    note = next(line for line in ok(project, "shell", "--", "true").stderr.splitlines() if line.startswith("note:"))
    assert "b.log, results/ (ocicaliban plan --diff shell run)" in note
    told = ok(project, "plan", "--diff", "shell", "run", "train.py").stdout
    assert "in shell only  source-mount" in told
    assert "left out of the image of run:\n  b.log\n  results/\n" in told
    assert "left out of every image: __pycache__\n" in told
    assert "left out" not in ok(project, "plan", "--diff", "shell", "notebook").stdout


# --- the picture in docs/shell.md ---


def _drawn(screen: pyte.Screen) -> str:
    """A terminal's screen as SVG, down to its last line."""
    console = Console(record=True, width=screen.columns, file=io.StringIO(), force_terminal=True)
    height = max(number for number, line in enumerate(screen.display) if line.strip()) + 1
    for number in range(height):
        line = Text()
        chars = (screen.buffer[number][column] for column in range(screen.columns))
        for (shown, bold), run in itertools.groupby(chars, lambda char: (char.fg, char.bold)):
            color = {"default": None, "brown": "yellow"}.get(shown, shown)
            line.append("".join(char.data for char in run), Style(color=color, bold=bold))
        line.rstrip()
        console.print(line)
    return console.export_svg(title="a terminal", unique_id="shell")


def _words(svg: str) -> str:
    return "".join(html.unescape("".join(re.findall(r"<text [^>]*>(.*?)</text>", svg, re.S))).split())


def test_the_picture_in_the_documentation_is_of_a_session(home: Path, tmp_path: Path, base_lock: str) -> None:
    folder = tmp_path / "digits"
    write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, ".gitignore": "results/\n"})
    write(folder, {"train.py": "print('accuracy: 0.97')\n", "results/old.txt": ""})
    argv = command("shell", "--bare")
    child = pexpect.spawn(
        argv[0], argv[1:], cwd=str(folder), env=environment({"TERM": "xterm-256color"}), dimensions=(24, 100),
        timeout=40, encoding="utf-8",
    )  # fmt: skip
    heard = child.logfile_read = io.StringIO()
    for typed in ("ls --color", "python3 train.py | tee results/new.txt", "exit 3"):
        child.expect_exact(PROMPT)
        child.sendline(typed)
    assert _exit(child) == 3
    screen = pyte.Screen(100, 24)
    pyte.Stream(screen).feed(f"$ ocicaliban shell\r\n{heard.getvalue()}$ echo $?\r\n{child.exitstatus}\r\n")
    svg, picture = _drawn(screen), REPOSITORY / "docs/pictures/shell.svg"
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(svg)
    assert "accuracy:" in _words(svg)
    assert _words(picture.read_text()) == _words(svg), "run the tests with OCICALIBAN_GOLDEN=1"
