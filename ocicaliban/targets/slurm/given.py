"""What users ask of the containers of jobs beside the project: variables, mounts and a folder to start in.

All runtimes that a node may have can do these. They come as the options of podman with the same meaning.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from ocicaliban.containers import podman_args
from ocicaliban.errors import UsageError
from ocicaliban.model.resources import parse_mount

OUT = "/out"
"""Where a job finds its results folder."""

_LONG = {"-e": "--env", "-v": "--volume", "-w": "--workdir", "-p": "--publish"}
_KNOWN = ("--env", "--env-file", "--volume", "--mount", "--workdir")
_WHY = {
    "--shm-size": "leave it out: a job there may use as much of /dev/shm as its node has",
    "--publish": "leave it out: containers there use the network of their node",
    "--network": "leave it out: containers there use the network of their node",
    "--memory": "--memory of ocicaliban's own is what Slurm gives the job",
    "--cpus": "--cpus of ocicaliban's own is what Slurm gives the job",
    "--gpus": "--gpus-per-job, or --gres",
    "--device": "--gpus-per-job, or --gres",
}
_BIND = ("source", "src")
_TARGET = ("target", "dst", "destination")


@frozen(kw_only=True)
class Given:
    """Variables with their values, which may be secret, mounts `SOURCE:TARGET[:ro]`, and the folder ("": as planned).

    The sources are absolute. `passed` are the variables whose values the command line does not have itself.
    """

    env: Mapping[str, str] = field(factory=dict)
    passed: frozenset[str] = frozenset()
    mounts: tuple[str, ...] = ()
    workdir: str = ""


def read(text: str, environ: Mapping[str, str] | None) -> Given:
    """Return what the options in a text like that of --podman-args ask for; variables without a value have ours.

    Without an environment, all variables are left out. Raises UsageError for an option that not every runtime of a
    node has, and for a value that is not valid.
    """
    env: dict[str, str] = {}
    written: dict[str, bool] = {}  # whether the command line has the value
    mounts: list[str] = []
    workdir = ""
    for option, value in _options(podman_args.split(text)):
        if option in ("--env", "--env-file") and environ is None:
            continue
        if option in ("--env", "--env-file"):
            found = (_variables if option == "--env" else _of_file)(value, environ or {})
            env |= found
            written |= dict.fromkeys(found, option == "--env" and "=" in value)
        elif option == "--volume":
            mounts.append(_volume(value))
        elif option == "--mount":
            mounts.append(_mount(value))
        elif value.startswith("/"):
            workdir = value
        else:
            raise UsageError(f"--workdir {value}: not an absolute path", f"--workdir /usr/app/{value}")
    passed = frozenset(name for name, is_here in written.items() if not is_here)
    return Given(env=env, passed=passed, mounts=tuple(mounts), workdir=workdir)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options with their values, by their long names."""
    rest = iter(words)
    for word in rest:
        name, is_whole, value = word.partition("=")
        if not word.startswith("--") and word[:2] in _LONG:
            name, is_whole, value = word[:2], word[2:], word[2:].removeprefix("=")
        name = _LONG.get(name, name)
        if name not in _KNOWN:
            hint = _WHY.get(name, "set what its container needs in a recipe's [launch]; see docs/hpc.md")
            raise UsageError(f"a job at Slurm has no {name}: not every runtime of a node can do it", hint)
        found = value if is_whole else next(rest, None)
        if found is None:
            raise UsageError(f"{name} has no value", f"for example {name} {_EXAMPLES[name]}")
        yield name, found


_EXAMPLES = {
    "--env": "OMP_NUM_THREADS=1",
    "--env-file": "variables",
    "--volume": "/data:/data:ro",
    "--mount": "type=bind,source=/data,target=/data",
    "--workdir": "/usr/app",
}


def _variables(text: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that NAME=VALUE, NAME or NAME* means. Raises UsageError if one is not set."""
    name, is_set, value = text.partition("=")
    if not name or "\0" in text:
        raise UsageError(f"--env {text}: not of the form NAME=VALUE", f"for example --env {_EXAMPLES['--env']}")
    if is_set:
        return {name: value}
    if name.endswith("*"):
        return {each: environ[each] for each in environ if each.startswith(name[:-1])}
    if name not in environ:
        raise UsageError(f"--env {name}: the variable is not set", f"export {name}=...")
    return {name: environ[name]}


def _of_file(path: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables of a file, as podman reads it: lines NAME=VALUE or NAME, and comments."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise UsageError(f"--env-file {path}: {why}", "name a file with lines NAME=VALUE") from exc
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.lstrip()
        if words and not words.startswith("#"):
            name, is_set, value = words.partition("=")
            if is_set:
                found |= _variables(f"{name}={value}", environ)
            elif name.endswith("*") or name in environ:
                found |= _variables(name.strip(), environ)
    return found


def _volume(text: str) -> str:
    mount = parse_mount(text)
    if mount is None:
        raise UsageError(f"--volume {text}: not of the form SOURCE:TARGET", f"for example {_EXAMPLES['--volume']}")
    return _checked(f"--volume {text}", mount.source, mount.target, mount.options)


def _mount(text: str) -> str:
    """Return the mount that podman's --mount describes, in fields of CSV."""
    fields = next(csv.reader([text]), [])
    pairs = [word.partition("=") for word in fields]
    values = {name: value for name, _, value in pairs}
    source = next((values.pop(name) for name in _BIND if name in values), "")
    target = next((values.pop(name) for name in _TARGET if name in values), "")
    if values.pop("type", "") != "bind":
        raise UsageError(f"--mount {text}: a job at Slurm can have folders only", f"--mount {_EXAMPLES['--mount']}")
    readonly = {name: values.pop(name) for name in ("ro", "readonly") if name in values}
    if values:
        raise UsageError(f"--mount {text}: {next(iter(values))} is not for jobs at Slurm", "leave it out, or use ro")
    is_readonly = any(value.lower() in ("", "true", "1") for value in readonly.values())
    return _checked(f"--mount {text}", source, target, ("ro",) if is_readonly else ())


def _checked(option: str, source: str, target: str, options: Sequence[str]) -> str:
    if not source.startswith("/"):
        raise UsageError(f"{option}: '{source}' is no folder", "name a folder that the nodes see, by its whole path")
    if not target.startswith("/") or ":" in target:
        raise UsageError(f"{option}: '{target}' is not an absolute path", f"for example {_EXAMPLES['--volume']}")
    if odd := {*options} - {"ro", "rw"}:
        raise UsageError(f"{option}: not every runtime of a node has '{min(odd)}'", "leave it out, or use ro")
    if os.path.normpath(target) == OUT:
        raise UsageError(f"{option}: {OUT} has the results of the job", "--out DIR says where they are")
    return f"{source}:{target}:ro" if "ro" in options else f"{source}:{target}"
