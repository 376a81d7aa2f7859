"""Whether this machine can do what ocicaliban asks of it: one function per check, each with the remedy.

The checks work on what they are handed; `examine` reads it from the machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi as gpu
from ocicaliban.project import user_config
from ocicaliban.system import filesystems, process

Level = Literal["ok", "warning", "error"]

LEAST = {"buildah": (1, 28), "podman": (4, 3), "uv": (0, 5)}
SUBIDS = 65534
"""So many and the user's own reach up to the id of nobody, 65534, as images have it."""
PATIENCE = 20.0
"""Seconds that a tool may take to answer; `podman info` takes some where its store is new."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
INITS = tuple(
    Path(folder, "catatonit")
    for folder in (
        "/usr/local/libexec/podman",
        "/usr/local/lib/podman",
        "/usr/libexec/podman",
        "/usr/lib/podman",
        "/usr/local/bin",
        "/usr/bin",
    )
)

_GIB = 2**30
_ELSEWHERE = (
    "put the store on a local disk: in ~/.config/containers/storage.conf, under [storage],"
    ' rootless_storage_path = "/a/local/disk/$USER/containers"'
)


@frozen(kw_only=True)
class Finding:
    """What one check found; `remedy` is empty where there is nothing to do."""

    name: str
    level: Level
    message: str
    remedy: str = ""


def release(name: str, said: str | OcicalibanError) -> Finding:
    """Whether a tool is there and recent enough, by what it answered to `--version`."""
    least = LEAST[name]
    wanted = ".".join(map(str, least))
    if isinstance(said, OcicalibanError):
        return Finding(name=name, level="error", message=said.message, remedy=said.hint or f"install {name} {wanted}")
    match = re.search(r"(\d+)\.(\d+)[\w.+~-]*", said)
    if match is None:
        message = f"its version cannot be told from {said[:80]!r}"
        return Finding(name=name, level="warning", message=message, remedy=f"see that it is {wanted} or newer")
    if (int(match[1]), int(match[2])) < least:
        message = f"{match[0]} is too old: {wanted} or newer is needed"
        return Finding(name=name, level="error", message=message, remedy=f"install {name} {wanted} or newer")
    return Finding(name=name, level="ok", message=match[0])


def not_root(uid: int) -> Finding:
    """Whether we are an ordinary user."""
    if uid:
        return Finding(name="user", level="ok", message=f"an ordinary user (uid {uid})")
    return Finding(
        name="user",
        level="warning",
        message="running as root: ocicaliban needs no root, and root's images are not those of your own user",
        remedy="run it as an ordinary user, without sudo",
    )


def subids(name: Literal["subuid", "subgid"], text: str, user: str, uid: int) -> Finding:
    """Whether /etc/subuid or /etc/subgid, whose `text` it is, gives the user a range that is large enough."""
    if uid == 0:
        return Finding(name=name, level="ok", message="root needs no range")
    count = 0
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) == 3 and parts[0] in (user, str(uid)) and parts[2].isdecimal():
            count += int(parts[2])
    if count >= SUBIDS:
        return Finding(name=name, level="ok", message=f"{count} ids for {user}")
    has = f"only {count} ids, fewer than {SUBIDS}," if count else "no range of ids"
    return Finding(
        name=name,
        level="error",
        message=f"{user} has {has} in /etc/{name}: images with several users in them cannot be unpacked",
        remedy=f"sudo usermod --add-{name}s 100000-165535 {user} (a range that no other line of /etc/{name} has), "
        "then `podman system migrate`",
    )


def idmap(newuidmap: str | None, newgidmap: str | None, uid: int) -> Finding:
    """Whether the two helpers that put sub-ids to use are found."""
    missing = [name for name, path in (("newuidmap", newuidmap), ("newgidmap", newgidmap)) if not path]
    if uid and missing:
        message = f"{' and '.join(missing)} not found: the sub-ids cannot be used"
        return Finding(name="uidmap", level="error", message=message, remedy="sudo apt install uidmap")
    return Finding(name="uidmap", level="ok", message="found" if not missing else "root does without it")


def runtime_dir(environ: Mapping[str, str], uid: int) -> Finding:
    """Whether XDG_RUNTIME_DIR is a folder of ours."""
    name = "XDG_RUNTIME_DIR"
    value = environ.get(name, "")
    if not value:
        if uid == 0:
            return Finding(name=name, level="ok", message="not set; root does without it")
        return Finding(
            name=name,
            level="warning",
            message="not set: podman keeps its running state under /run/user or /tmp",
            remedy=f"log in by ssh rather than su, `loginctl enable-linger`, or export {name}=/run/user/{uid}",
        )
    remedy = f"unset {name}, or let it name a folder of yours with mode 700"
    try:
        owner = os.stat(value).st_uid
    except OSError as error:
        message = f"{value} is set, but cannot be used: {error.strerror}"
        return Finding(name=name, level="error", message=message, remedy=remedy)
    if not os.path.isdir(value):
        return Finding(name=name, level="error", message=f"{value} is not a folder", remedy=remedy)
    if owner != uid:
        message = f"{value} belongs to uid {owner}, not to us (uid {uid})"
        return Finding(name=name, level="error", message=message, remedy=remedy)
    return Finding(name=name, level="ok", message=value)


def cgroups(root: Path) -> Finding:
    """Which cgroups the machine has; `root` is /sys/fs/cgroup."""
    if (root / "cgroup.controllers").exists():
        return Finding(name="cgroups", level="ok", message="version 2")
    if process.hybrid_cgroups(root):
        message = "hybrid; containers are started in a mount namespace with version 2 alone, through `podman unshare`"
        return Finding(name="cgroups", level="ok", message=message)
    what = "version 1" if root.is_dir() and any(root.iterdir()) else f"none at {root}"
    return Finding(
        name="cgroups",
        level="warning",
        message=f"{what}: a rootless container cannot be limited in memory or CPUs, and newer podman refuses to run",
        remedy="boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
    )


def storage(info: str | OcicalibanError) -> Finding:
    """How images are stored, by `podman info --format json`."""
    name = "storage driver"
    if isinstance(info, OcicalibanError):
        remedy = info.hint or "mend what is said above, then run `podman info`"
        return Finding(name=name, level="error", message=f"not checked: {info.message}", remedy=remedy)
    store = _store(info)
    driver = str(store.get("graphDriverName") or "")
    options = store.get("graphOptions")
    programs = [key for key in options if str(key).endswith("mount_program")] if isinstance(options, dict) else []
    if driver == "overlay" and not programs:
        return Finding(name=name, level="ok", message="native overlay")
    if driver == "overlay":
        return Finding(
            name=name,
            level="warning",
            message="overlay through fuse-overlayfs, which is slower than the kernel's own",
            remedy="with Linux 5.13 or newer: remove mount_program from storage.conf (it is in /etc/containers, or "
            "~/.config/containers), then `podman system reset`, which removes all images",
        )
    if not driver:
        message = "`podman info` does not say which it is"
        return Finding(name=name, level="warning", message=message, remedy="run `podman info` and look at its store")
    slow = ", which copies the whole image for each layer and each container" if driver == "vfs" else ""
    return Finding(
        name=name,
        level="warning",
        message=f"{driver}{slow}",
        remedy='write to ~/.config/containers/storage.conf the lines [storage] and driver = "overlay", then '
        "`podman system reset`, which removes all images",
    )


def graph_root(info: str | OcicalibanError, environ: Mapping[str, str], uid: int) -> Path:
    """Where the images lie: what podman says, or else where it puts them by default."""
    if isinstance(info, str) and (root := _store(info).get("graphRoot")):
        return Path(str(root))
    if uid == 0:
        return Path("/var/lib/containers/storage")
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or "/", ".local/share")
    return Path(data, "containers", "storage")


def file_system(root: Path, mountinfo: str) -> Finding:
    """Whether the file system under the graph root can hold images; `mountinfo` is that of /proc/self."""
    name = "file system"
    found = filesystems.kind(root, mountinfo)
    if not found:
        remedy = f"see that `df -T {root}` is a local disk"
        return Finding(name=name, level="warning", message=f"that of {root} cannot be told", remedy=remedy)
    # They know nothing of a user's sub-uids, or lack the extended attributes that overlay needs.
    if filesystems.SHARED.fullmatch(found):
        message = f"{root} is on {found}, a network file system, which cannot hold images of a rootless podman"
        return Finding(name=name, level="error", message=message, remedy=_ELSEWHERE)
    return Finding(name=name, level="ok", message=f"{found}, for {root}")


def room(root: Path, free: int | None) -> Finding:
    """Whether there is room for images; `free` is in bytes, None if it cannot be told."""
    if free is None:
        message = f"that of {root} cannot be told"
        return Finding(name="free room", level="warning", message=message, remedy=f"look at `df -h {root}`")
    message = f"{free / _GIB:.1f} GiB at {root}"
    if free >= 5 * _GIB:
        return Finding(name="free room", level="ok", message=message)
    return Finding(
        name="free room",
        level="error" if free < _GIB else "warning",
        message=f"only {message}",
        remedy=f"`podman image prune` removes what has no name, `podman system df` shows the rest; or {_ELSEWHERE}",
    )


def cdi(dirs: Iterable[Path], driver: Path = NVIDIA_DRIVER) -> tuple[Finding, ...]:
    """Whether the specs of GPUs and other devices can be used: a finding for each that cannot, and one for the rest.

    `driver` is there where NVIDIA's driver is.
    """
    name = "GPUs"
    found = gpu.discover(dirs)
    poor = [Finding(name=name, level="error", message=fault.message, remedy=fault.hint) for fault in found.faults]
    stale = gpu.missing_files(found.devices)
    for path, names in stale.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        poor.append(
            Finding(
                name=name,
                level="error",
                message=f"{path} names what is not there, as after a driver's upgrade: {', '.join(names[:3])}{more}",
                remedy=f"generate it anew (NVIDIA's: `nvidia-ctk cdi generate --output={shlex.quote(str(path))}`)",
            )
        )
    good = ", ".join(device.qualified for device in found.devices if device.spec not in stale)
    if good:
        return (*poor, Finding(name=name, level="ok", message=good))
    if poor:
        return tuple(poor)
    if driver.exists():
        return (
            Finding(
                name=name,
                level="warning",
                message="NVIDIA's driver is loaded, but no CDI spec describes its GPUs: containers run without them",
                remedy="mkdir -p ~/.config/cdi && nvidia-ctk cdi generate --format=json "
                "--output=$HOME/.config/cdi/nvidia.json (nvidia-ctk is in the package nvidia-container-toolkit)",
            ),
        )
    return (Finding(name=name, level="ok", message="no GPU"),)


def settings() -> tuple[user_config.UserConfig, tuple[Finding, ...]]:
    """The user's configuration, and a finding where it cannot be read (the defaults count then)."""
    try:
        return user_config.load_user_config(), ()
    except OcicalibanError as error:
        finding = Finding(name="config", level="error", message=error.message, remedy=error.hint)
        return user_config.UserConfig(), (finding,)


def bootstrap(mmdebstrap: str | None) -> Finding:
    """Whether a base image can be made from Debian's packages; takes the path of mmdebstrap, None if not found."""
    if mmdebstrap:
        return Finding(name="mmdebstrap", level="ok", message=mmdebstrap)
    message = "not found: base images can be pulled, but not made here from Debian's packages"
    return Finding(name="mmdebstrap", level="warning", message=message, remedy="sudo apt install mmdebstrap")


def pushing(skopeo: str | None) -> Finding:
    """Whether images can be pushed; takes the path of skopeo, None if not found."""
    if skopeo:
        return Finding(name="skopeo", level="ok", message=skopeo)
    message = "not found: images cannot be pushed to a registry, by `push` or `cloud`"
    return Finding(name="skopeo", level="warning", message=message, remedy="sudo apt install skopeo")


def commits(git: str | None) -> Finding:
    """Whether jobs are recorded with their commit; takes the path of git, None if not found."""
    message = git or "not found; the history will not have the commits that jobs were at"
    return Finding(name="git", level="ok", message=message)


LIBRARY = "google.cloud.aiplatform_v1"


def cloud(library: bool, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Whether there are credentials for Google, where its `library` is there: who works here alone needs neither.

    They are looked for where Google's library does it, save for the server that machines of Google's have.
    """
    if not library:
        message = (
            "its library for Vertex AI is not installed, which `cloud` alone needs: pip install 'ocicaliban[vertex]'"
        )
        return (Finding(name="Google", level="ok", message=message),)
    there = Finding(name="Google", level="ok", message="its library for Vertex AI is installed")
    name = "GOOGLE_APPLICATION_CREDENTIALS"
    home = environ.get("CLOUDSDK_CONFIG") or os.path.join(environ.get("HOME") or "/", ".config", "gcloud")
    own = environ.get(name) or os.path.join(home, "application_default_credentials.json")
    log_in = "gcloud auth application-default login, or `cloud --cloud-key FILE` with a service account's key"
    if os.access(own, os.R_OK):
        return there, Finding(name="Google", level="ok", message=f"credentials: {own}")
    if environ.get(name):
        message = f"{name} names {own}, which cannot be read"
        return there, Finding(name="Google", level="warning", message=message, remedy=f"unset {name}, or: {log_in}")
    message = "no credentials: `cloud` needs some, unless this machine is Google's"
    return there, Finding(name="Google", level="warning", message=message, remedy=log_in)


def _installed(module: str) -> bool:
    """Whether a module is there; only the packages above it are imported, which in Google's case are empty."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def init(candidates: Iterable[Path] = INITS) -> Finding:
    """Whether podman finds the program that `--init` starts first."""
    for path in candidates:
        if os.access(path, os.X_OK):
            return Finding(name="catatonit", level="ok", message=str(path))
    message = "not found: `podman run --init` fails"
    return Finding(name="catatonit", level="warning", message=message, remedy="sudo apt install catatonit")


def examine() -> tuple[Finding, ...]:
    """Make all checks on this machine."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    info = _asked("podman", "info", "--format", "json")
    own, unread = settings()
    root = graph_root(info, os.environ, uid)
    return (
        not_root(uid),
        *(release(name, _asked(name, "--version")) for name in LEAST),
        subids("subuid", _subids(user), user, uid),
        subids("subgid", _subids(user, group=True), user, uid),
        idmap(shutil.which("newuidmap"), shutil.which("newgidmap"), uid),
        runtime_dir(os.environ, uid),
        cgroups(Path("/sys/fs/cgroup")),
        storage(info),
        file_system(root, filesystems.read()),
        room(root, _free(root)),
        *unread,
        *cdi(gpu.spec_dirs(os.environ, own.cdi_spec_dirs)),
        init(),
        bootstrap(shutil.which("mmdebstrap")),
        pushing(shutil.which("skopeo")),
        commits(shutil.which("git")),
        *cloud(_installed(LIBRARY), os.environ),
    )


def _asked(name: str, *args: str) -> str | OcicalibanError:
    try:
        return process.run((process.tool(name), *args), doing=f"`{' '.join((name, *args))}` fails", limit=PATIENCE)
    except OcicalibanError as error:
        return error


def _store(info: str) -> dict[str, object]:
    try:
        store = json.loads(info)["store"]
    except (ValueError, KeyError, TypeError):
        return {}
    return store if isinstance(store, dict) else {}


def _subids(user: str, group: bool = False) -> str:
    """The lines of /etc/subuid or /etc/subgid; where a directory service gives the ranges, these as such lines."""
    if shutil.which("getsubids") and re.search(r"^subid:(?!\s*files\s*$)", _read(Path("/etc/nsswitch.conf")), re.M):
        said = _asked("getsubids", *(("-g",) if group else ()), user)
        if isinstance(said, str):
            return "\n".join(":".join(line.split()[1:]) for line in said.splitlines())
    return _read(Path("/etc/subgid" if group else "/etc/subuid"))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _free(path: Path) -> int | None:
    for place in (path, *path.parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return status.f_bavail * status.f_frsize
    return None
