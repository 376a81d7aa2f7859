"""Set up an image store for a user whose own one cannot hold images: one uid, or a home on a network file system."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ocicaliban.containers import runtime_folder, user_choices, user_ids, usual_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import files, filesystems

CONF = "CONTAINERS_STORAGE_CONF"
_FOLDER = "OCICALIBAN_STORE"
"""The variable with the user's choice of the folder for the store; the store itself is in a folder of ours in it."""
_HINT = (
    f'export {_FOLDER}=FOLDER, or write image_store = "FOLDER" into {{}}, with a folder on a local disk of this node'
)
_PATH = re.compile(r"""^\s*(?:rootless_storage_path|graphroot)\s*=\s*["'](.+?)["']\s*(?:#.*)?$""", re.M)
_ROOTLESS_PATH = re.compile(r"""^\s*rootless_storage_path\s*=\s*["'](.+?)["']\s*(?:#.*)?$""", re.M)
_VFS = re.compile(r"""^\s*driver\s*=\s*["']vfs["']""", re.M)
_IGNORES_OWNERS = re.compile(r"""^\s*ignore_chown_errors\s*=\s*["']?true\b""", re.M)


class Facts(NamedTuple):
    """What decides: whether containers have one uid, the user's settings for the store, and the file systems.

    `settings` are the texts of the storage.conf files that podman reads, the user's first. `named` is whether the
    user names such a file in the environment. `kind` tells the kind of file system of a path. `wanted` is the folder
    that the user has chosen for the store, "" for none.
    """

    uid: int
    one_uid: bool
    environ: Mapping[str, str]
    settings: tuple[str, ...]
    named: bool
    kind: Callable[[Path], str]
    wanted: str = ""


class OwnStore(NamedTuple):
    """A store to set up: its graph root, and the folder for its settings and temporary files.

    `local` says that it lies in a folder for temporary files of this node, and may vanish with it.
    """

    root: Path
    folder: Path
    local: bool = False
    one_uid: bool = True

    def conf(self, runroot: str) -> str:
        """Return the storage.conf."""
        words = [
            "[storage]",
            'driver = "overlay"',
            f'runroot = "{runroot}"',
            f'graphroot = "{self.root}"',
            f'rootless_storage_path = "{self.root}"',
        ]
        if self.one_uid:
            words += ["[storage.options.overlay]", 'ignore_chown_errors = "true"']
        return "\n".join(words) + "\n"


def choose(facts: Facts) -> OwnStore | None:
    """Return the store to set up, or None if the user's own one serves. Pure but for `facts.kind`.

    Raises OcicalibanError if no folder can hold one.
    """
    ignores = any(map(_IGNORES_OWNERS.search, facts.settings))
    wanted = facts.wanted
    if not wanted and (ignores or not facts.one_uid) and (facts.named or any(map(_PATH.search, facts.settings))):
        return None  # the user, or the administrator, has chosen a place
    root = usual_root(facts)
    if not wanted and _may_serve(facts, root):
        if ignores or not facts.one_uid:
            return None
        return OwnStore(root=root.parent / "one-uid", folder=root.parent, one_uid=True)
    name = f"ocicaliban-{facts.uid}"
    for place in (wanted,) if wanted else _places(facts.environ):
        if filesystems.holds_images(facts.kind(Path(place))):
            folder = Path(place, name)
            return OwnStore(root=folder / "storage", folder=folder, local=True, one_uid=facts.one_uid)
    message = f"no folder can hold podman's images: {wanted or root} is on {facts.kind(Path(wanted or root))}"
    raise OcicalibanError(message, _hint())


def _hint() -> str:
    return _HINT.format(user_choices.file())


def _may_serve(facts: Facts, root: Path) -> bool:
    """Return whether podman can keep images in a folder as this user has set it up, as far as we can tell.

    The driver vfs works everywhere, and fuse-overlayfs on an overlay: those are the user's, who has sub-ids.
    """
    kind = facts.kind(root)
    if filesystems.holds_images(kind):
        return True
    vfs = facts.environ.get("STORAGE_DRIVER") == "vfs" or any(map(_VFS.search, facts.settings))
    return not facts.one_uid and (vfs or kind == "overlay")


def usual_root(facts: Facts) -> Path:
    """Return the folder of the images if nobody chooses another: podman's own."""
    data = facts.environ.get("XDG_DATA_HOME") or os.path.join(facts.environ.get("HOME") or "/", ".local/share")
    for text in facts.settings:
        if found := _ROOTLESS_PATH.search(text):
            given = found[1].replace("$UID", str(facts.uid))
            for name in ("HOME", "USER"):
                given = given.replace(f"${name}", facts.environ.get(name, ""))
            return Path(given)
    return Path(data, "containers", "storage")


def _places(environ: Mapping[str, str]) -> Iterable[str]:
    """Yield the folders for temporary files of this node: those of the job first, since they are larger."""
    for name in ("SLURM_TMPDIR", "TMPDIR"):
        if place := environ.get(name):
            yield place
    yield from ("/tmp", "/var/tmp")


def set_up(environ: Mapping[str, str] = os.environ) -> OwnStore | None:
    """Set up a store if the user has none that serves, and let all tools use it; return it, None for the user's own.

    Raises OcicalibanError if there is no place for one.
    """
    if not os.geteuid() or os.environ.get(_DONE) == os.environ.get(CONF, "-"):
        return None
    facts = read_facts(environ)
    store = choose(facts)
    if store is None:
        usual_store.remember(usual_root(facts), environ)
        return None
    _own_folder(store.folder, private=store.local)
    runtime = runtime_folder.find(environ)
    conf = store.folder / "ocicaliban-storage.conf"
    text = store.conf(f"{runtime}/containers")
    if _text(conf) != text:
        files.keep(conf, text)
    os.environ[CONF] = os.environ[_DONE] = str(conf)
    if store.local:
        # buildah and podman keep layers there while they store them, with attributes that a network disk lacks.
        temporary = store.folder / _TEMPORARY
        temporary.mkdir(mode=0o700, exist_ok=True)
        os.environ["TMPDIR"] = str(temporary)
    return store


_DONE = "OCICALIBAN_STORAGE_CONF"
"""Tells processes that we start, and `replay`, which settings are ours."""


_TEMPORARY = "tmp"
"""The folder for temporary files beside the settings of a store of this node."""


def variables(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the names of the variables that `set_up` has set: another machine must not get them."""
    ours = environ.get(_DONE)
    if not ours:
        return ()
    temporary = environ.get("TMPDIR") == str(Path(ours).parent / _TEMPORARY)
    return (_DONE, *((CONF,) if environ.get(CONF) == ours else ()), *(("TMPDIR",) if temporary else ()))


def is_node_local() -> bool:
    """Return whether the store is one that `set_up` put into a folder for temporary files, and may vanish."""
    conf = os.environ.get(CONF, "")
    return bool(conf) and conf == os.environ.get(_DONE) and Path(conf).parent.name == f"ocicaliban-{os.geteuid()}"


def read_facts(environ: Mapping[str, str] = os.environ) -> Facts:
    """Read the facts about this user and this machine."""
    named = environ.get(CONF, "")
    if named and named == environ.get(_DONE):
        named = ""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/", ".config")
    paths = (named,) if named else (f"{home}/containers/storage.conf", "/etc/containers/storage.conf")
    mounts = filesystems.mounted()
    return Facts(
        wanted=user_choices.folder(_FOLDER, "image_store", environ),
        uid=os.geteuid(),
        one_uid=user_ids.one_uid(),
        environ=environ,
        settings=tuple(_text(Path(path)) for path in paths),
        named=bool(named),
        kind=lambda path: filesystems.kind_now(path, mounts),
    )


def _own_folder(folder: Path, *, private: bool) -> None:
    """Make the folder, which only this user may enter if it is in a place for everybody."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(folder)
    except OSError as exc:
        raise OcicalibanError(f"podman's image store cannot be set up: {folder}: {exc.strerror}", _hint()) from exc
    if not private:
        return
    # Anybody may make a folder of this name in /tmp.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OcicalibanError(f"{folder} is not a folder that only you can enter", f"remove it; or {_hint()}")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
