"""podman's command lines."""

from __future__ import annotations

import pytest

from ocicaliban.containers.command_line import ContainerOptions, confining_options, mount_option, run_argv
from ocicaliban.model.image import Image, Launch

IMAGE = Image(id="1d", digest="sha256:aa", key="k")
LAUNCH = Launch(
    command=("python3", "a.py"), env=(("A", "1"),), mounts=("/p:/usr/app",), ports=("80:80",), workdir="/usr/app"
)
CONFINED = "--cap-drop all --security-opt no-new-privileges"
HEAD = f"podman run --rm --init --pull=never --name n --network host {CONFINED} --tz local"
TAIL = "--env A=1 -v /p:/usr/app -p 80:80 --workdir /usr/app --memory 1g --entrypoint python3 1d a.py --lr 1"


@pytest.mark.parametrize(
    ("terminal", "flags"),
    [
        ((True, True), "-i -t --env TERM --env COLORTERM --env NO_COLOR "),
        ((True, False), "-i "),
        ((False, False), ""),
    ],
)
def test_the_command_line(terminal: tuple[bool, bool], flags: str) -> None:
    argv = run_argv(
        IMAGE, LAUNCH, ("--lr", "1"), ContainerOptions(name="n", terminal=terminal, extra=("--memory", "1g"))
    )
    assert " ".join(argv) == f"{HEAD} {flags}{TAIL}"


def test_without_a_command_and_with_another_entrypoint() -> None:
    both = (True, False)
    assert " ".join(run_argv(IMAGE, Launch(), ("x",), ContainerOptions(name="n", terminal=both))) == f"{HEAD} -i 1d x"
    argv = run_argv(
        IMAGE, Launch(command=("p",)), ("x",), ContainerOptions(name="n", terminal=both, entrypoint=("sh", "-c"))
    )
    assert " ".join(argv) == f"{HEAD} -i --entrypoint sh 1d -c x"


@pytest.mark.parametrize(
    ("mount", "option"),
    [
        ("/a b:/usr/app", "-v /a b:/usr/app"),
        ("/a:/b:ro,z", "-v /a:/b:ro,z"),
        ("/a:b:/usr/app", "--mount type=bind,source=/a:b,target=/usr/app"),
        ('/a:"b",c:/usr/app', '--mount type=bind,"source=/a:""b"",c",target=/usr/app'),
        ("/a:b/c:/usr/app:ro", "--mount type=bind,source=/a:b/c,target=/usr/app,readonly"),
    ],
)
def test_a_mount_whose_source_has_a_colon_in_it(mount: str, option: str) -> None:
    assert " ".join(mount_option(mount)) == option


@pytest.mark.parametrize(
    ("capabilities", "given", "options"),
    [
        ((), "", CONFINED),
        (("CHOWN", "SETUID"), "", "--cap-drop all --cap-add CHOWN --cap-add SETUID --security-opt no-new-privileges"),
        (("ALL",), "", "--cap-add ALL --security-opt no-new-privileges"),
        ((), "--cap-add=CHOWN --cpus 1", CONFINED),  # podman adds up
        ((), "--cap-add=chown,all", "--security-opt no-new-privileges"),  # podman refuses all added and all dropped
        ((), "--cap-add ALL", "--security-opt no-new-privileges"),
        ((), "--gpus all --env 1 --privileged=false", CONFINED),
        ((), "-v /a:/b --privileged", ""),
        (("CHOWN",), "--privileged=true", ""),
    ],
)
def test_a_container_has_the_capabilities_alone_that_are_asked_for(
    capabilities: tuple[str, ...], given: str, options: str
) -> None:
    assert " ".join(confining_options(capabilities, tuple(given.split()))) == options
