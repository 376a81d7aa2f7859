"""What the product reads, as the fuzzer feeds it: seeds of each kind, and what is called with a changed one.

No tool is started, and no host is asked: both would be another program's fault. Readers come in two kinds: for a folder
of files (a project, the user's settings, the state), of which one changes; and for a text.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from attrs import frozen

from ocicaliban import google_auth, hints, replay
from ocicaliban.app import failure, slurm_options
from ocicaliban.app.requests import JobsRequest, SlurmRequest
from ocicaliban.build import last_build, planner
from ocicaliban.build.base import archive
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import image_store
from ocicaliban.dependencies import host_settings, registry
from ocicaliban.dependencies.conda import channels
from ocicaliban.dependencies.conda.declaration import CondaDeclaration
from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.emulator import faults
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.execution import reconcile
from ocicaliban.formats import toml
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.history import access, url
from ocicaliban.jobs import expansion, log_file, run_journal, sweep_file, sweep_forms
from ocicaliban.model.image import Base
from ocicaliban.project import config, ignore_rules, lockfile, user_config
from ocicaliban.project.lockfile import Lock
from ocicaliban.recipes import catalog
from ocicaliban.registry import auth, packed_layers, reference, tls
from ocicaliban.reports import metrics
from ocicaliban.system import process

_TESTS = Path(__file__).parents[1]
_BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64", libc="2.36",
)  # fmt: skip
_CONFIG = b'[layers.base]\nimage = "example.org/base:1"\n'
_TARGET = ResolutionTarget(base=_BASE, variant="cpu")

Files = Mapping[str, bytes]


@frozen
class Kind:
    """Something that is read: the files of each seed, and what reads them in a folder that holds them.

    `fixed` are names of files that do not change.
    """

    seeds: tuple[Files, ...]
    read: Callable[[Path], object]
    fixed: tuple[str, ...] = ()


def _no_tool(argv: Any, *_: object, **__: object) -> NoReturn:
    raise ToolError("no tool is started here", "none", stderr="error: none")


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Start no tool, ask no host, and see nothing of this machine's settings."""
    environ = {"HOME": str(home), "PATH": "/nowhere", "XDG_RUNTIME_DIR": str(home / "run")}
    environ |= {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "STATE", "CONFIG", "DATA")}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict("os.environ", environ, clear=True))
        for name in ("run", "ask", "output", "run_logged", "run_in_foreground"):
            stack.enter_context(mock.patch.object(process, name, _no_tool))
        stack.enter_context(mock.patch.object(process, "ok", lambda *_: False))
        stack.enter_context(mock.patch("socket.socket.connect", side_effect=ConnectionRefusedError(111, "refused")))
        yield


# --- projects ---


def _folder(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and file.stat().st_size < 200_000
    }


def _projects() -> tuple[Files, ...]:
    folders = [each for each in sorted((_TESTS / "cases").iterdir()) if each.is_dir()]
    folders += sorted((_TESTS / "data" / "locks").iterdir())
    found = [{"train.py": b"print(1)\n", **_folder(each)} for each in folders]
    found.append({"train.py": b"import numpy\n", **_MORE})
    return tuple({"ocicaliban.toml": _CONFIG, **files} for files in found)


_MORE = {
    "ocicaliban.toml": _CONFIG + b'[modes]\nown = ["base", "apt", "mine"]\n[secrets]\nx = "secret"\n'
    b'[push]\nrepository = "example.org/a/b"\n',
    "layers/mine/layer.toml": b'summary = "Mine"\nafter = ["base"]\n[params.packages]\ntype = "list"\nhelp = "x"\n'
    b'[params.level]\ntype = "int"\ndefault = 3\n[[steps]]\ndo = "run"\nscript = "install.sh"\n'
    b'cache = ["/var/cache/x"]\n[[steps]]\ndo = "configure"\nenv = { A = "${level}" }\n[launch]\nports = ["8888"]\n',
    "layers/mine/install.sh": b"echo $PACKAGES\n",
    ".calibanconfig.json": b'{"apt_packages": {"cpu": ["zip"], "gpu": []}, # x\n "project_id": "p",}\n',
    ".dockerignore": b"*.pyc\n!keep\n**/x\n[a-z]?\n",
    ".gitignore": b"/build\n!a/b\n*.log\n\\#x\n[!a]b\n",
    "requirements.txt": b"numpy==1.26.4\n-r more.txt\ntorch ; python_version < '3.12'\n--index-url https://i/simple\n",
    "more.txt": b"six @ https://h/six-1.0-py3-none-any.whl\n-e .\n",
    "apt.txt": b"git\nffmpeg # for videos\n",
    "runtime.txt": b"python-3.11\n",
    ".python-version": b"3.11\n",
    "cog.yaml": b'build:\n  python_version: "3.11"\n  python_packages: [six]\n  system_packages: [libgl1]\n',
    "uv.toml": b'index-url = "https://i/simple"\n[[index]]\nname = "x"\nurl = "https://x"\nexplicit = true\n',
    "secret": b"s",
    "start": b'#!/bin/sh\nexport A=1\nexec "$@"\n',
    "postBuild": b"#!/bin/sh\ntrue\n",
    "setup.py": b"from setuptools import setup\nsetup(name='a', install_requires=['six'], python_requires='>=3.8')\n",
    "setup.cfg": b"[metadata]\nname = a\n[options]\ninstall_requires =\n    six\n",
    "study.ipynb": b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}], "metadata": {}, "nbformat": 4}',
}


def _plan(root: Path) -> None:
    said: list[OcicalibanError] = []
    for mode in ("run", "notebook", "build"):
        with kept(said):
            planner.plan_project(PlanRequest(root=root, mode=mode, module="train.py" if mode == "run" else ""))
    if (root / "study.ipynb").exists():
        with kept(said):
            planner.plan_project(PlanRequest(root=root, mode="run", module="study.ipynb"))
    with kept(said):
        for each in registry.found_in(root):
            _ask(each, said)
    for output in (
        "ModuleNotFoundError: No module named 'six'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'x'",
    ):
        with kept(said):
            failure.hint_for(failure.FailedRun(root=root), output, 1)
    for fault in said:
        raise fault


@contextlib.contextmanager
def kept(faults_met: list[OcicalibanError]) -> Iterator[None]:
    """Keep an error of ours, and go on: the next question may meet another kind."""
    try:
        yield
    except OcicalibanError as fault:
        faults_met.append(fault)


def _ask(declaration: Any, said: list[OcicalibanError]) -> None:
    for question in (
        *(declaration.lists_dependencies, declaration.not_locked, declaration.is_out_of_date, declaration.texts),
        *(declaration.debian_packages, declaration.unread_parts, declaration.covers, declaration.python_requirements),
        *(declaration.requirement_lists, declaration.indexes, declaration.tool, declaration.compiled_files),
        lambda: declaration.resolved_extras(("x",), "cpu"),
        lambda: declaration.resolved_groups(("dev",)),
        lambda: declaration.resolve(_TARGET, ""),
    ):
        with kept(said):
            question()
    if isinstance(declaration, CondaDeclaration):
        with kept(said):
            declaration.environment("linux-64", ())
        with kept(said):
            declaration.variables()


def _locked(root: Path) -> None:
    lockfile.read_lock(root)


def _lock_seed(folder: Path) -> Files:
    lockfile.write_lock(folder, Lock().with_base("cpu", _BASE))
    return _folder(folder)


def _recipe(root: Path) -> None:
    project = config.load_project(root)
    for name in catalog.modes(project):
        catalog.recipes_for(project, name)


def _ignored(root: Path) -> None:
    rules = ignore_rules.project_rules(str(root))
    for path in (
        "a",
        "a/b/c.log",
        "build/x",
        "x" * 60,
        "a/" * 30 + "b",
        ".env",
        "äö",
        "a\nb",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    ):
        rules.ignored(path, False) if hasattr(rules, "ignored") else None
        ignore_rules.is_source(root, path)


# --- the user's settings ---


_SETTINGS = {
    "config/ocicaliban/config.toml": b'cdi_spec_dirs = ["/etc/cdi"]\n'
    b'db_url = "sqlite:///x"\n[push]\nrepository = "h/a"\n[targets.slurm]\npartition = "x"\ntime = "1h"\n',
    "config/uv/uv.toml": b'index-url = "https://i/simple"\n[[index]]\nname = "x"\n'
    b'url = "https://u:p@x"\n[pip]\nfind-links = ["/a"]\n',
    "config/pip/pip.conf": b"[global]\nindex-url = https://i/simple\nextra-index-url =\n    https://a\n    https://b\n",
    ".condarc": b"channels: [conda-forge]\nchannel_alias: https://c\n"
    b"custom_channels: {a: https://x}\ndefault_channels: [x]\n",
    "config/containers/auth.json": b'{"auths": {"example.org": {"auth": "YTpi"}}, "credHelpers": {"x": "gcloud"}}',
    "config/containers/registries.conf": b'credential-helpers = ["x"]\n[[registry]]\n'
    b'location = "example.org"\ninsecure = true\n',
    "config/containers/storage.conf": b'[storage]\ndriver = "overlay"\n',
    "key.json": b'{"type": "service_account", "project_id": "p", "private_key": "x", "client_email": "a@b"}',
}


def _settings(root: Path) -> None:
    said: list[OcicalibanError] = []
    repository = reference.parse_repository("example.org/a/b")
    for question in (
        *(
            user_config.load_user_config,
            host_settings.read_host_settings,
            channels.read_settings,
            host_settings.apt_proxies,
        ),
        lambda: auth.find_login(repository),
        lambda: slurm_options.options(root, JobsRequest(), SlurmRequest()),
        lambda: tls.is_insecure(repository),
        *(tls.credential_helpers, image_store.location),
        lambda: _check_key(root / "key.json"),
    ):
        with kept(said):
            question()
    for fault in said:
        raise fault


def _check_key(path: Path) -> None:
    try:
        google_auth.check_form(str(path))
    except ValueError as fault:  # its callers name the file
        raise OcicalibanError(str(fault), "as told") from fault


# --- sweeps, GPUs, metrics ---

_SWEEPS = {
    "a.json": b'[{"lr": [0.1, 0.01], "[a,b]": [[1, 2], [3, 4]], "fast": true, "name": "x"}, {"n": 1}]',
    "a.toml": b'lr = [0.1, 0.01]\nepochs = 5\n"[a,b]" = [[1, 2], [3, 4]]\n',
    "b.toml": b"[[sweep]]\nlr = [0.1]\n[[sweep]]\nlr = 1e-3\n",
    "a.yaml": b"- lr: [0.1, 1e-3]\n  name: &n [a, b]\n  other: *n\n- {fast: true, '[a,b]': [[1, 2]]}\n",
}


def _sweep(root: Path) -> None:
    for path in root.iterdir():
        text = toml.read_text(path)
        for form in {sweep_forms.form_of(path.name, text), sweep_forms.form_of("stdin", text)}:
            sweep = sweep_file.parse(text, form, path.name)
            expansion.count(sweep)
            for spec in itertools.islice(expansion.specs(sweep, ("x",)), 20):
                json.dumps(dict(spec.parameters))


_CDI = {
    "cdiVersion": "0.5.0",
    "kind": "acme.example/gpu",
    "containerEdits": {"env": ["A=1"],
     "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]},
    "devices": [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/acme{name}", "major": 1, "minor": 3}],
         "mounts": [{"hostPath": "/dev/null", "containerPath": "/dev/x", "options": ["ro"]}]}}
        for name in ("0", "1", "all")
    ],
}  # fmt: skip


def _gpus(root: Path) -> None:
    found = cdi.discover([root])
    devices = tuple(found.devices)
    for fault in found.faults:
        if not (fault.message and fault.hint):
            raise fault
    cdi.container_edits(devices)
    cdi.absent_host_paths(devices)
    podman_options.container_options(devices[:2], (4, 3))


def _metrics(root: Path) -> None:
    for points in (0, 5):
        json.dumps(dict(metrics.read_folder(str(root), points).results))


# --- what we have written ourselves ---


def _state(root: Path) -> None:
    from ocicaliban.reporter import SILENT

    for record, goes_on in run_journal.taken():
        reconcile.from_journal(record, goes_on)
    last_build.newest()
    for compression in ("gzip", "zstd"):
        packed_layers.load(compression)
    for log in root.rglob("*.conmon"):
        name = str(log).removesuffix(".conmon")
        log_file.last_line(name)
        log_file.last_text(name)
        [*log_file.follow(name, lambda: True)]
        log_file.plain(name)
    del SILENT


def _replayed(root: Path) -> None:
    (record,) = (root / "cache" / "ocicaliban" / "hot").iterdir()
    with (
        mock.patch.object(replay, "_place", lambda _: str(record)),
        mock.patch("os.geteuid", lambda: 1000),
        mock.patch("sys.stderr", io.StringIO()),
        mock.patch("ocicaliban.containers.podman.run", lambda *_: 0),
    ):
        replay.attempt(["run", "train.py"])


def _history(root: Path) -> None:
    with access.open(f"sqlite:///{root}/history.db") as known:
        for job in known.jobs():
            str(job)
        known.submissions()
        known.groups()
        known.counts()


def _history_texts(root: Path) -> None:
    """Read a history whose columns with JSON hold something else, or parts of it."""
    raw = (root / "texts.json").read_bytes().decode("utf-8", "replace")
    try:
        texts = json.loads(raw)
    except (ValueError, RecursionError):
        texts = None
    with contextlib.closing(sqlite3.connect(root / "history.db")) as tables:
        for table, column in _COLUMNS:
            value = json.dumps(texts.get(column, "")) if isinstance(texts, dict) else raw
            tables.execute(f"UPDATE {table} SET {column} = ?", (value,))
        tables.commit()
    _history(root)


_COLUMNS = (("submission", "launch"), ("submission", "options"), ("job", "parameters"), ("job", "args"))


def _store(root: Path) -> None:
    with mock.patch.object(image_store, "location", lambda: (root, "overlay")):
        image_store.images()
        image_store.by_digest("sha256:" + "a" * 64)
        image_store.last_manifest("a" * 64)
        image_store.layer_sizes()
        image_store.layer_chains()
        image_store.image_sizes()
        image_store.images_in_containers()


_STORE = {
    "overlay-images/images.json": json.dumps(
        [
            {
                "id": "a" * 64,
                "digest": "sha256:" + "b" * 64,
                "names": ["x"],
                "layer": "l",
                "big-data-digests": {"manifest": "d"},
            }
        ]
    ).encode(),
    "overlay-layers/layers.json": json.dumps(
        [{"id": "l", "parent": "k", "diff-digest": "sha256:1", "diff-size": 5}, {"id": "k", "diff-size": 3}]
    ).encode(),
    "overlay-containers/containers.json": b'[{"id": "c", "image": "i"}]',
}


def _archive(root: Path) -> None:
    said: list[OcicalibanError] = []
    for form in (f"oci-archive:{root}/x.tar", f"oci-archive:{root}/x.tar.gz:one", f"oci:{root}/layout"):
        with kept(said):
            archive.locate(form)
    for fault in said:
        raise fault


def _archives() -> Files:
    index = b'{"manifests": [{"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "one"}}]}'
    found = {"layout/index.json": index}
    for name, mode in (("x.tar", "w"), ("x.tar.gz", "w:gz")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
            for member, data in (("oci-layout", b"{}"), ("index.json", index)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        found[name] = out.getvalue()
    return found


# --- texts ---


def _texts(root: Path) -> None:
    said: list[OcicalibanError] = []
    output = (root / "output").read_bytes().decode("utf-8", "replace")
    for stage in ("resolve", "build", "run"):
        hints.find(output, stage, 1)
    word = (root / "word").read_bytes().decode("utf-8", "surrogateescape")
    for question in (
        lambda: url.parse(word),
        lambda: reference.parse_repository(word),
        lambda: faults.parse((root / "faults").read_bytes().decode("utf-8", "replace"), "faults.toml"),
    ):
        with kept(said):
            question()
    for fault in said:
        raise fault


_OUTPUTS: tuple[Files, ...] = tuple(
    {"output": output, "word": word, "faults": b'latency = 0.1\nno_quota = ["CPU"]\nlost_as = "deadline"\n'}
    for output, word in (
        (
            b"Traceback (most recent call last):\nModuleNotFoundError: No module named 'cv2'\n",
            b"postgresql://u:p@h:5432/d",
        ),
        (b"ImportError: libGL.so.1: cannot open shared object file: No such file or directory\n", b"sqlite:////a/b.db"),
        (
            b"error: command 'gcc' failed: No such file or directory\nfatal error: Python.h: No such file\n",
            b"h:5000/a/b:tag",
        ),
    )
)


def kinds(folder: Path) -> dict[str, Kind]:
    """Return all kinds; `folder` is empty, and for the making of seeds."""
    (folder / "lock").mkdir()
    texts = {
        "launch": {"version": 1, "command": ["a"]},
        "options": {"version": 1},
        "parameters": {"lr": 1},
        "args": ["x"],
    }
    history = (_TESTS / "data" / "history-2.sqlite").read_bytes()
    kept = {
        f"{name}/{path}": data for name in ("state", "cache") for path, data in _folder(_TESTS / "data" / name).items()
    }
    logs = [name for name in kept if name.endswith(".conmon")]
    kept |= {f"{name.removesuffix('.conmon')}.moved": b"[1, 10, 5]" for name in logs}
    project = _projects()
    from tests.fuzz import answers, experiments  # they import this module

    return {
        **answers.kinds(),
        **experiments.kinds(),
        "project": Kind(project, _plan),
        "recipe": Kind((_MORE,), _recipe),
        "ignore": Kind(tuple({name: _MORE[name]} for name in (".dockerignore", ".gitignore")), _ignored),
        "lock": Kind((_lock_seed(folder / "lock"), _folder(_TESTS / "data" / "lock-split")), _locked),
        "settings": Kind((_SETTINGS,), _settings),
        "sweep": Kind(tuple({name: data} for name, data in _SWEEPS.items()), _sweep),
        "gpus": Kind(
            ({"nvidia.json": json.dumps(_CDI).encode()}, {"nvidia.yaml": json.dumps(_CDI, indent=1).encode()}), _gpus
        ),
        "metrics": Kind(
            (
                {
                    "metrics.json": b'{"loss": 0.5, "a": {"b": [1], "c": "x"}}',
                    "metrics.jsonl": b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN, "x": {"y": 1}}\n' * 10,
                },
            ),
            _metrics,
        ),
        "state": Kind((kept,), _state),
        "replay": Kind(({name: data for name, data in kept.items() if "/hot/" in name},), _replayed),
        "history": Kind(({"history.db": history},), _history),
        "history-texts": Kind(
            ({"history.db": history, "texts.json": json.dumps(texts).encode()},), _history_texts, ("history.db",)
        ),
        "store": Kind((_STORE,), _store),
        "archive": Kind((_archives(),), _archive),
        "text": Kind(_OUTPUTS, _texts),
    }


def written(files: Files, folder: Path) -> None:
    """Write the files into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
