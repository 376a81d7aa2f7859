"""What other programs answer or leave, as the fuzzer feeds it, and small files of our own that may be cut or replaced.

Registries answer from files: nothing is sent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import requests

from ocicaliban.containers import conmon, image_file, image_store, layer_cache, own_store, user_ids, user_namespace
from ocicaliban.containers.image_file import FileForm
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.gpu import lease as gpu_lease
from ocicaliban.interactive import notebook_server
from ocicaliban.jobs import lease
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Submission
from ocicaliban.project import allowed, git, tree_memo
from ocicaliban.registry import client, lookup
from ocicaliban.registry.auth import Login
from ocicaliban.registry.reference import Destination, parse_repository
from ocicaliban.registry.transport import Transport
from ocicaliban.reporter import SILENT
from ocicaliban.system import filesystems
from ocicaliban.targets.slurm import shared
from tests.fuzz.readers import Files, Kind, kept

_DIGEST = f"sha256:{'a' * 64}"
_SUBMISSION = Submission(
    id=1, group="g", user="u", host="h", target="slurm", project="/p", mode="run", image="i", launch=Launch(),
    options={"slurm": {}},
    created=1.0,
)  # fmt: skip

# --- registries ---

_CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"Entrypoint": ["python3"], "Cmd": ["x.py"], "Env": ["A=1"]},
}
_MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"digest": _DIGEST, "size": 100, "mediaType": "application/vnd.oci.image.config.v1+json"},
    "layers": [{"digest": _DIGEST, "size": 5, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}],
    "annotations": {"a": "b"},
}
_REGISTRY = {
    "index": json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                {"digest": f"sha256:{'b' * 64}", "platform": {"os": "linux", "architecture": "arm64"}},
                {"digest": f"sha256:{'c' * 64}", "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        }
    ).encode(),
    "manifest": json.dumps(_MANIFEST).encode(),
    "image": json.dumps(_CONFIG).encode(),
    "token": b'{"token": "t", "expires_in": 300}',
    "errors": b'{"errors": [{"code": "DENIED", "message": "not you", "detail": [1]}]}',
    "headers": b'WWW-Authenticate: Bearer realm="https://h/token",service="s",scope="repository:a:pull"\n'
    b"Docker-Content-Digest: " + _DIGEST.encode() + b"\nLocation: /v2/a/b/blobs/uploads/1\nRetry-After: 1\n"
    b"Content-Type: application/json\n",
}


def _registry(root: Path) -> None:
    """Look an image up, check whether a push is allowed, and be refused."""
    lines = (root / "headers").read_bytes().decode("latin-1").splitlines()
    pairs = [line.partition(":")[::2] for line in lines if ":" in line]
    statuses: dict[str, int] = {}

    def send(self: Transport, method: str, url: str, headers: Any = None, **_: Any) -> requests.Response:
        which = "manifest" if "/manifests/sha256:c" in url else "index" if "/manifests/" in url else "image"
        which = "token" if "/token" in url else "errors" if url.endswith("/v2/") or "uploads" in url else which
        given = requests.Response()
        known = headers or {}
        default = 202 if "uploads" in url else 200 if "Authorization" in known or which == "token" else 401
        given.status_code = statuses.get(which, default)
        given._content = b"" if method == "HEAD" else (root / which).read_bytes()
        given.headers.update({name.strip(): value.strip() for name, value in pairs})
        given.request = requests.Request(method, url, headers=known).prepare()
        given.reason = "as told"
        return given

    said: list[OcicalibanError] = []
    repository = parse_repository("example.org/a/b")
    to = Destination(repository=repository, tag="latest")
    login = Login(user="u", secret="s", source="x")
    with (
        mock.patch.object(Transport, "send", send),
        mock.patch("ocicaliban.registry.tls.context", lambda *_, **__: None),
    ):
        for answered in ({}, {"manifest": 404}, {"index": 403, "errors": 200}, {"token": 403}):
            statuses.clear()
            statuses.update(answered)
            with kept(said):
                lookup.find_image(to, "latest", SILENT)
            with kept(said):
                there = client.RegistryClient(repository, lambda: login, reporter=SILENT)
                there.check_push()
                there.mount_blob(_DIGEST, "c/d")
                there.manifest_digest("x")
    for fault in said:
        raise fault


# --- git ---

_GIT: tuple[Files, ...] = (
    {
        ".git/HEAD": b"ref: refs/heads/main\n",
        ".git/packed-refs": b"# pack-refs with: peeled\n" + b"a" * 40 + b" refs/tags/v1.0\n^" + b"b" * 40 + b"\n",
        ".git/refs/tags/v2": b"c" * 40 + b"\n",
    },
    {".git": b"gitdir: real/worktrees/x\n", "real/worktrees/x/commondir": b"../..\n", "real/packed-refs": b""},
)


def _git(root: Path) -> None:
    git.is_in_repository(root)
    git.tags(root)


# --- what the tasks of Slurm leave ---

_PLACE = "state/ocicaliban/slurm/g.1-1000"
_SLURM = {
    f"{_PLACE}/arrays/k/tasks.json": b'{"version": 1, "jobs": [["a1", 1], ["i", 2]]}',
    f"{_PLACE}/arrays/k/accepted": b"17\n",
    f"{_PLACE}/absent": b'{"a1": 5.0}',
    f"{_PLACE}/marks/a1.1.began": b'{"task": "17_0", "array": "k", "at": 5.5, "node": "n1"}',
    f"{_PLACE}/marks/a1.1.ended": b'{"code": 1, "at": 6.5, "signal": "TERM", "again": false, "fault": ""}',
}


def _slurm(root: Path) -> None:
    shared.arrays(_SUBMISSION)
    shared.marks(_SUBMISSION, {"a1": 1})
    shared.numbers(_SUBMISSION)
    shared.absent_since(_SUBMISSION, {"a1": False, "i": True}, 9.0)


# --- notebooks ---

_NOTEBOOK = {
    "study.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["x = 1\n"], "outputs": []}
            ],
            "metadata": {
                "kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode(),
    "words": b"-p lr 0.1 --fast --n=3 name=x -r text 1",
}


def _notebook(root: Path) -> None:
    """Start a notebook as the script in the image does, up to where papermill takes over."""
    source = Path(__file__).parents[2] / "layers" / "papermill" / "notebook.py"
    spec = importlib.util.spec_from_file_location("notebook_in_the_image", source)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.OUT = root / "out"  # type: ignore[attr-defined]
    modules = {name: types.ModuleType(name) for name in ("papermill", "jupyter_client.kernelspec", "traitlets.config")}
    modules["papermill"].execute_notebook = lambda *_, **__: None  # type: ignore[attr-defined]
    modules["papermill"].PapermillExecutionError = ZeroDivisionError  # type: ignore[attr-defined]
    modules["jupyter_client.kernelspec"].NoSuchKernel = ZeroDivisionError  # type: ignore[attr-defined]
    modules["traitlets.config"].Config = dict  # type: ignore[attr-defined]
    words = (root / "words").read_bytes().decode("utf-8", "surrogateescape").split()
    said = io.StringIO()
    with mock.patch.dict(sys.modules, modules), contextlib.redirect_stderr(said):
        code = script.main([str(root / "study.ipynb"), *words])
    assert code == 0 or said.getvalue(), "an exit code without a word"


# --- podman's containers, its state, and memos of our own ---

_LABEL = {
    "project": "/p", "port": 8888, "interface": "lab", "environment": "e", "version": "", "variant": "cpu",
    "extras": ["x"], "groups": [],
}  # fmt: skip
_MEMOS = {
    "cache/ocicaliban/subids.json": b'{"version": 1, "user": "u", "subuid": "u:1:2", "subgid": "u:1:2"}',
    "cache/ocicaliban/store.json": b'{"version": 1, "stamp": [], "root": "/r", "driver": "overlay"}',
    "cache/ocicaliban/layers/images/ocicaliban-l-k.json": json.dumps(
        {"version": 1, "config": "{}", "layers": [[_DIGEST, 1]]}
    ).encode(),
    "run/libpod/tmp/exits/" + "d" * 64: b"137",
    "run/libpod/tmp/alive": b"",
    "run/libpod/tmp/pause.pid": b"1",
    "files/i.json": json.dumps(_CONFIG).encode(),
    "files/i.sif": b"",
    "tree": b"",
    "state/ocicaliban/allowed/1.json": b'{"version": 1, "project": "/p", "allowed": ["a", "b"]}',
    "subuid": b"u:100000:65536\n1:1:1\n# x\n",
    "mountinfo": b"22 1 0:20 / / rw - ext4 /dev/a rw\n23 22 0:21 / /tmp\\040x rw - tmpfs none rw\n",
    "label": json.dumps(_LABEL).encode(),
}


def _memos(root: Path) -> None:
    for question in (
        lambda: user_ids._from_service("u", fresh=False),
        image_store.location,
        lambda: user_ids.subid_count((root / "subuid").read_bytes().decode("utf-8", "replace"), "u", 1),
        lambda: filesystems.kind(root, (root / "mountinfo").read_bytes().decode("utf-8", "replace")),
        lambda: layer_cache.find("l", "k"),
        lambda: conmon.written_exit("d" * 64),
        lambda: user_namespace._pause_process_lives(root / "run" / "libpod" / "tmp"),
        lambda: [image_file.stored(root / "files", "i", FileForm(form=form)) for form in image_file.SUFFIXES],
        lambda: tree_memo.load(root / "tree"),
        lambda: [*allowed.everything()],
    ):
        # Without a memo a tool is asked, which is not started here.
        with contextlib.suppress(ToolError), mock.patch.object(own_store, "is_node_local", lambda: True):
            question()
    container = {
        "Name": "c",
        "Config": {"Env": ["A=1"], "Labels": {"ocicaliban.notebook": (root / "label").read_bytes().decode("latin-1")}},
        "State": {"Status": "running"},
    }
    with (
        mock.patch("ocicaliban.containers.podman.inspect_containers", lambda _: [container]),
        mock.patch("ocicaliban.containers.podman.with_label", lambda _: ["c"]),
    ):
        for server in notebook_server.find_servers():
            str(server.name), str(server.url)


# --- locks ---

_LOCKS: tuple[Files, ...] = tuple(
    {f"{place}{more}": b"17"}
    for place in ("state/ocicaliban/submissions/1-1000.lock", "gpus/dev-nvidia0.lock")
    for more in ("", "/a-folder")
)


def _locks(root: Path) -> None:
    """Take leases where something else lies in the place of their files."""
    said: list[OcicalibanError] = []
    with kept(said), gpu_lease.Leases(root / "gpus") as leases:
        (root / "gpus").mkdir(exist_ok=True)
        leases.take(["/dev/nvidia0", "/dev/nvidia1"])
        leases.beside()
    lease.was_abandoned(_SUBMISSION)
    with lease.held(_SUBMISSION):
        assert lease.is_held(_SUBMISSION)
    for fault in said:
        raise fault


def kinds() -> dict[str, Kind]:
    """Return these kinds."""
    return {
        "registry": Kind((_REGISTRY,), _registry),
        "git": Kind(_GIT, _git),
        "slurm": Kind((_SLURM,), _slurm),
        "notebook": Kind((_NOTEBOOK,), _notebook),
        "memos": Kind((_MEMOS,), _memos),
        "locks": Kind(_LOCKS, _locks),
    }
