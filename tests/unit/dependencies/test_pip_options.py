"""pip's options in lists of requirements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocicaliban.dependencies import archive_formats, editable_git
from ocicaliban.dependencies.declaration import option_flags
from ocicaliban.dependencies.pip_options import PipOptions, decoded, included, joined, logical_lines, read_options
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.errors import UsageError
from tests.folders import write

HASH = "sha256:" + "a" * 64


def read(text: str, environ: dict[str, str] | None = None) -> PipOptions:
    return read_options({"requirements.txt": text}, Path("/project"), environ or {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("six\n-e .[dev]\n-r more.txt\n-c 'a b.txt'\n", {}),
        ("six==1 \\\n    --hash=sha256:aa \\\n    --hash sha256:bb\n", {}),
        ("pkg @ https://e.org/a-b.zip#egg=x-y ; sys_platform == 'linux'  # --pre\n", {}),
        ("--pre\n", {"prereleases": True}),
        ("--prefer-binary\n", {"prefer_binary": True}),
        ("--require-hashes\n", {"require_hashes": True}),
        ("--no-index --find-links=/w\n", {"no_index": True, "find_links": ("/w",)}),
        ("--find \\\n  'http://e.org/a b'\n", {"find_links": ("http://e.org/a b",)}),
        ("-ihttps://a\n--extra-index-url https://b --trusted-host b:8080 # c\n",
         {"indexes": ("https://a", "https://b"), "insecure_hosts": ("b:8080",)}),
        ("--no-binary Some_Pkg,six\n", {"no_binary": frozenset({"some-pkg", "six"})}),
        ("--no-binary :all:\n--only-binary=six\n",
         {"no_binary": frozenset({":all:"}), "only_binary": frozenset({"six"})}),
        ("--no-binary six\n--only-binary :all:\n", {"only_binary": frozenset({":all:"})}),
        ("--only-binary :all:\n--only-binary :none:\n", {}),
        ("--use-feature=fast-deps\n", {"harmless": ("--use-feature fast-deps",)}),
        ("--extra-index-url https://${USER_1}:${ABSENT}@e/${lower}\n", {"indexes": ("https://me:${ABSENT}@e/${lower}",)}),
    ],
)  # fmt: skip
def test_what_the_options_ask_for(text: str, expected: dict[str, Any]) -> None:
    assert read(text, {"USER_1": "me", "lower": "no"}) == PipOptions(**expected)


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        ("six --config-settings=a=b", "--config-settings of a requirement is not supported", "--find-links wheels"),
        ("six==1 --global-option x", "--global-option of a requirement is not supported", "--find-links wheels"),
        ("six==1 --no-binary six", "--no-binary cannot follow a requirement", "a line of its own"),
        ("-e . --config-settings a=b", "--config-settings is not supported", "--find-links wheels"),
        ("--process-dependency-links", "pip has dropped the option --process-dependency-links", "remove the line"),
        ("--no-deps", "no such option: --no-deps", "remove the line"),
        ("-U", "no such option: -U", "remove the line"),
        ("--index-url", "--index-url option requires 1 argument", "remove the line"),
        ("six  # old \\", "a comment ends with", "remove the backslash"),
    ],
)
def test_an_option_that_cannot_be_honoured(line: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(f"six\n\n{line}\n")
    assert raised.value.message.startswith("requirements.txt:3: ")
    assert says in raised.value.message
    assert hint in raised.value.hint


def test_lines_are_joined_as_pip_joins_them() -> None:
    text = "a \\\n  ==1 # c\n# only \\\nb \\\n# in between\nc\\"
    assert [line for _, line in logical_lines(text) if line] == ["a   ==1", "b", "c"]


HASHES = "\\\n  --hash=sha256:0 \\\n  --hash=sha256:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tabulate \\\n==0.9.0\nsix\n", "tabulate ==0.9.0\nsix\n"),
        ("tabul\\\nate==0.9.0\n", "tabulate==0.9.0\n"),
        ("a== \\\r\n  1 ; \\\r\n os_name == 'posix'\r\n", "a==   1 ;  os_name == 'posix'\n"),
        ("a \\\n ==1 \\\n --hash=sha256:0\n", "a  ==1  --hash=sha256:0\n"),
        ("a==1 \\\n\nb\n", "a==1\nb\n"),
        ("a\\\\\n==1\n", "a==1\n"),
        ("b\na==1 \\", "b\na==1\n"),
        ("\\\na\n\\", "a\n"),
        ("--index-url \\\nhttps://e.org/s\n", "--index-url https://e.org/s\n"),
        *(
            (text, text)
            for text in ("", "a\n  # b \\\n c", "# \\\na", "a==1 \\\n  --hash=sha256:0 \\\n  --hash=sha256:1\n")
        ),
    ],
)
def test_lines_that_uv_does_not_join_are_joined(tmp_path: Path, text: str, expected: str) -> None:
    assert joined(decoded(text.encode())) == expected
    for name in ("requirements.txt", "Requirements.pip"):
        (tmp_path / name).write_bytes(text.encode())
        with editable_git.rewritten([tmp_path / name], tmp_path) as (found,):
            assert found.read_text() == expected
            assert (found == tmp_path / name) == (expected == text)


def test_the_lists_that_a_list_includes() -> None:
    text = "-r a.txt\n -c 'b c.txt'\n--requirement=d.txt # e\n-rf.txt\n--constraint \\\n  g.txt\nsix -r h\n#-r i\n"
    assert included(text) == ["a.txt", "b c.txt", "d.txt", "f.txt", "g.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_list_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    text = "--pre\r\n-r more.txt\r\nsix\r\n"
    (tmp_path / "requirements.txt").write_bytes(text.encode(encoding))
    write(tmp_path, {"more.txt": "--use-feature a\n"})
    declaration = RequirementsList.find(tmp_path)
    assert declaration and declaration.texts()["requirements.txt"] == text.replace("\r", "")
    assert declaration.pip_options() == PipOptions(prereleases=True, harmless=("--use-feature a",))
    assert declaration.unread_parts() == ("'--use-feature a' of requirements.txt",)
    assert decoded(b"\xe9") == "\udce9"


def test_what_uv_is_asked_for() -> None:
    assert option_flags(PipOptions()) == []
    assert option_flags(PipOptions(prereleases=True)) == ["--prerelease", "allow"]
    assert option_flags(PipOptions(prefer_binary=True)) == ["--only-binary", ":all:"]


LOCKED = """\
both==1 \\
    --hash=sha256:s \\
    --hash=sha256:w
bare @ git+https://e.org/x@0
sources==2 ; sys_platform == "linux" \\
    --hash=sha256:t
"""
PACKAGES: list[dict[str, Any]] = [
    {"name": "both", "sdist": {"hashes": {"sha256": "s"}}, "wheels": [{"hashes": {"sha256": "w"}}]},
    {"name": "sources", "sdist": {"hashes": {"sha256": "t"}}},
]


@pytest.mark.parametrize(
    ("text", "gone", "says"),
    [
        ("--no-binary both", "w", ""),
        ("--only-binary both", "s", ""),
        ("--no-binary :all:\n--only-binary both", "s", ""),
        ("--no-binary :all:", "w", ""),
        ("--only-binary :all:", "", "no wheel of sources==2"),
        ("--prefer-binary", "", "no wheel of sources==2"),
        ("--prefer-binary\n--no-binary sources", "s", ""),
    ],
)
def test_only_the_archives_that_are_allowed_stay(text: str, gone: str, says: str) -> None:
    options = read(text)
    if says:
        with pytest.raises(UsageError, match=says):
            archive_formats.restricted(LOCKED, options, PACKAGES)
        return
    hashes = {"s": "--hash=sha256:s \\\n    --hash=sha256:w", "w": "--hash=sha256:s \\\n    --hash=sha256:w"}[gone]
    left = "--hash=sha256:w" if gone == "s" else "--hash=sha256:s"
    assert archive_formats.restricted(LOCKED, options, PACKAGES) == LOCKED.replace(hashes, left)
