"""Locked requirements, divided by how an image gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.installable import divided
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

ROOT = Path("/home/me/work/my project")
BASE = Base(kind="registry", reference="r", python="3.11.2", platform="linux/amd64")
SIX = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "own",
    ["-e .", ".", "./", "demo @ file:///home/me/work/my%20project", "-e file:///home/me/work/my%20project", "./lib/..",
     ".[plot]", "-e ./[plot]"],
)  # fmt: skip
def test_the_project_itself_is_not_among_the_folders(own: str) -> None:
    found = divided(f"{own}\n{SIX}", ROOT, BASE)
    assert (found.requirements, found.folders) == (SIX, ())


@pytest.mark.parametrize(
    "line",
    ["libs/nets", "-e libs/nets", "./libs/nets", "-e ./libs/nets[plot]", "libs/nets/", "nets @ file:libs/nets",
     "nets @ file:///home/me/work/my%20project/libs/nets", "nets[plot] @ ./libs/nets", "--editable=libs/nets",
     "-e file:///home/me/work/my%20project/libs/nets", "/home/me/work/my project/libs/nets",
     "./libs/nets ; python_version >= '3.9' and sys_platform == 'linux'"],
)  # fmt: skip
def test_a_package_in_a_folder_is_named_by_its_path(line: str) -> None:
    found = divided(f"{line}\n{SIX}", ROOT, BASE)
    assert (found.requirements, found.folders) == (SIX, ("libs/nets",))


@pytest.mark.parametrize("marker", ["sys_platform == 'win32'", "python_version < '3.10'", "os_name == 'nt'"])
def test_a_folder_for_other_platforms_is_left_out(marker: str) -> None:
    assert divided(f"-e ./libs/nets ; {marker}\n", ROOT, BASE).folders == ()


def test_a_folder_outside_of_the_project_is_named_from_it() -> None:
    for line in ("-e ../nets", f"nets @ file://{ROOT.parent}/nets", f"{ROOT.parent}/nets"):
        assert divided(f"{line}\n", ROOT, BASE).folders == ("../nets",)


@pytest.mark.parametrize(
    "line, expected",
    [
        (f"nets @ git+https://example.org/n@{COMMIT}", f"nets @ git+https://example.org/n@{COMMIT}"),
        (f"nets[plot] @ git+https://me:secret@example.org/n@{COMMIT}", f"nets @ git+https://example.org/n@{COMMIT}"),
        (f"nets @ git+ssh://git@example.org/n@{COMMIT}", f"nets @ git+ssh://git@example.org/n@{COMMIT}"),
        (f"nets @ git+file:///srv/n@{COMMIT}#subdirectory=py&egg=nets",
         f"nets @ git+file:///srv/n@{COMMIT}#subdirectory=py"),
    ],
)  # fmt: skip
def test_a_commit_in_git_is_as_good_as_a_hash_and_holds_no_password(line: str, expected: str) -> None:
    found = divided(f"{line}\n{SIX}", ROOT, BASE)
    assert (found.requirements, found.checkouts) == (SIX, (expected,))


@pytest.mark.parametrize("line", ["x @ hg+https://me:secret@example.org/x@1d", "x @ git+https://example.org/x@main"])
def test_other_version_control_has_no_hash(line: str) -> None:
    with pytest.raises(UsageError, match="comes from version control") as caught:
        divided(f"{line}\n", ROOT, BASE)
    assert "secret" not in caught.value.message


def test_an_archive_with_its_hash_is_installed() -> None:
    remote = "y @ https://example.org/y-1.zip \\\n    --hash=sha256:bb\n"
    assert divided(remote, ROOT, BASE).requirements == remote


@pytest.mark.parametrize(
    ("head", "links"),
    [
        ("./wheels/x-1-py3-none-any.whl", "wheels"),
        ("x @ file:///home/me/work/my%20project/x-1.tar.gz", "."),
        ("x @ file:///elsewhere/x-1.zip", "/elsewhere"),
    ],
)
def test_an_archive_of_this_machine_is_refused_with_the_way_to_name_it(head: str, links: str) -> None:
    with pytest.raises(UsageError, match="is a file on this machine") as caught:
        divided(f"{head} \\\n    --hash=sha256:aa\n", ROOT, BASE)
    assert f"'--find-links {links}'" in caught.value.hint
