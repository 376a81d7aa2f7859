"""What buildah, podman and skopeo are asked for; the tools are played by the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.containers import buildah, cgroups, podman, skopeo, user_ids
from ocicaliban.system import process


class Tools:
    """Notes each command, and answers with `says`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.options: dict[str, Any] = {}
        self.says = ""

    def run(self, argv: tuple[str, ...], **options: Any) -> str:
        self.calls.append(" ".join(argv))
        self.options = options
        return self.says

    def ok(self, argv: tuple[str, ...]) -> bool:
        self.calls.append(" ".join(argv))
        return True


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    made = Tools()
    for name in ("run", "output"):
        monkeypatch.setattr(process, name, made.run)
    monkeypatch.setattr(process, "ok", made.ok)
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    monkeypatch.setattr(user_ids, "mode", lambda: "sub-ids")
    return made


def test_a_pull_gives_the_id_that_buildah_prints_last(tools: Tools) -> None:
    tools.says = "Trying to pull\n1d"
    assert buildah.pull("example.org/base:1") == "1d"
    assert tools.calls[0].startswith("buildah pull --quiet --policy always") and tools.calls[0].endswith("base:1")
    assert buildah.pull_layout(Path("/w"), "a/b", doing="it cannot be stored", whole=True) == "1d"
    assert tools.calls[1] == "buildah pull --quiet oci:a/b"
    assert tools.options == {"cwd": Path("/w"), "whole": True, "doing": "it cannot be stored"}


@pytest.mark.parametrize(("compression", "words"), [("", ""), ("zstd", "--compression-format zstd ")])
def test_an_image_is_exported_with_the_compression_that_is_named(tools: Tools, compression: str, words: str) -> None:
    buildah.export_layout("1d", Path("/w"), "image", compression=compression, doing="d")
    assert tools.calls == [f"buildah push --quiet --format oci {words}1d oci:image"]


def test_what_changes_the_store_is_not_broken_off(tools: Tools) -> None:
    changes: tuple[Callable[[], None], ...] = (
        lambda: buildah.make_container("1d", "n"),
        lambda: buildah.commit("n", "i"),
        lambda: buildah.remove_container("n"),
        lambda: podman.stop(("a", "b"), grace=3),
        lambda: podman.remove("a", "b", grace=3),
    )
    for change in changes:
        change()
        assert tools.options["whole"]
    assert tools.calls[-2:] == [
        "podman stop --ignore --time 3 a b",
        "podman rm --force --ignore --time 3 a b",
    ]


def test_containers_with_a_label_are_removed_if_there_are_any(tools: Tools) -> None:
    podman.remove_labelled("a=b", grace=0)
    assert len(tools.calls) == 1
    tools.says = "1\n2\n"
    podman.remove_labelled("a=b", grace=0)
    assert tools.calls[-1] == "podman rm --force --ignore --time 0 1 2"


def test_lists_of_containers_are_decoded(tools: Tools) -> None:
    assert podman.list_containers(()) == [] and podman.inspect_containers(["1"]) == []
    calls = len(tools.calls)
    assert podman.inspect_containers(()) == [] and len(tools.calls) == calls
    tools.says = '[{"Id": "1"}]'
    assert podman.list_containers(("a", "b=c")) == podman.inspect_containers(["1"]) == [{"Id": "1"}]
    assert "podman ps --all --format json --filter label=a --filter label=b=c" in tools.calls


def test_global_options_come_before_the_verb(tools: Tools) -> None:
    podman.create(("podman", "create", "1d"), ("--hooks-dir", "/h"))
    podman.start("n", ("--hooks-dir", "/h"))
    assert tools.calls == ["podman --hooks-dir /h create 1d", "podman --hooks-dir /h start n"]
    assert tools.options == {"env": {"LC_ALL": "C.UTF-8"}}


@pytest.mark.parametrize(("says", "controllers"), [("v2 cpu memory ", ("cpu", "memory")), ("v1 cpu", ()), ("v2 ", ())])
def test_only_cgroups_v2_limit_containers(tools: Tools, says: str, controllers: tuple[str, ...]) -> None:
    tools.says = says
    assert podman.cgroup_controllers() == controllers


def test_the_version_is_numbers(tools: Tools) -> None:
    podman.version.cache_clear()
    tools.says = "podman version 4.3.1-dev"
    assert podman.version() == (4, 3)
    podman.version.cache_clear()
    tools.says = "podman version 5.4.2"
    assert podman.version() == (5, 4, 2)
    podman.version.cache_clear()


def test_a_layout_is_copied_with_its_digests(tools: Tools) -> None:
    skopeo.copy_layout(Path("/w"), "image", "r/n:t", tls_verify=True)
    skopeo.copy_layout(Path("/w"), "image", "r/n:t", tls_verify=False, auth_file="/a")
    first, second = tools.calls
    assert "--preserve-digests" in first and first.endswith("oci:image docker://r/n:t")
    assert "tls-verify" not in first and "authfile" not in first
    assert "--dest-tls-verify=false --authfile /a" in second


def test_without_newuidmap_buildah_runs_in_podmans_namespace(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_ids, "mode", lambda: "one uid without newuidmap")
    buildah.tag("1d", "name")
    buildah.run_step(("buildah", "run", "c"), doing="d", hint="h")
    assert tools.calls == [
        "podman unshare env -u XDG_CONFIG_HOME buildah tag 1d name",
        "podman unshare env -u XDG_CONFIG_HOME buildah run c",
    ]
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)  # there is such a namespace then
    buildah.run_step(("buildah", "run", "c"), doing="d", hint="h")
    assert tools.calls[2].startswith("podman unshare unshare -mC") and tools.calls[2].count("podman") == 1


def test_with_one_uid_python_is_asked_in_a_container(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    buildah.run_in_chroot("c", ("python3",))
    monkeypatch.setattr(user_ids, "mode", lambda: "one uid")
    buildah.run_in_chroot("c", ("python3",))
    assert ["chroot" in call for call in tools.calls] == [True, False]


def test_a_step_that_loses_owners_has_the_profile_in_which_nothing_happens(tools: Tools) -> None:
    buildah.make_container("1d", "n", one_user=True)
    (profile,) = (word for word in tools.calls[0].split() if word.startswith("seccomp="))
    assert Path(profile.removeprefix("seccomp=")).is_file()
    buildah.make_container("1d", "n")
    assert "seccomp" not in tools.calls[1]
