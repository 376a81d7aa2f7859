"""Find what a MODULE argument starts: a Python module, a script, or an executable of the project."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ocicaliban.errors import UsageError, nearest

APP = "/usr/app"
"""The folder of the source in an image, set by the recipes that provide the source."""

_RUNS_NOTEBOOKS = "/opt/ocicaliban/notebook.py"
"""The script of the recipe that runs notebooks."""

_CHDIR = "--chdir="
_PATH = "PYTHONPATH="

_SHELLS = {"sh", "bash", "dash", "python", "python3"}
"""The usual commands of base images, which start nothing useful without arguments."""


def entry_command(root: Path, module: str, folder: str = "") -> tuple[str, ...]:
    """Return the command that MODULE starts, in the `folder` of the project in `root` as it would there outside.

    That is `python -m` for a module (`trainer.train`), `python` for a Python file (`trainer/train.py`), papermill for a
    notebook, and the file itself for another one. A path is relative to the folder, or absolute if it is in the
    project. A module may be in the folder or at the root, and PYTHONPATH finds one of the `src` layout. Raises
    UsageError if the project has no such module or file, or the file cannot be started.
    """
    if not module:
        return ()
    here = root / folder
    path = os.path.normpath(here / module)
    if os.path.isabs(module):
        # The name of the current folder has its links resolved; the name that a shell completes may have links.
        root, here, path = root.resolve(), here.resolve(), os.path.realpath(path)
    name, inside = os.path.relpath(path, here), os.path.relpath(path, root)
    within = ("env", f"{_CHDIR}{APP}/{folder}") if folder else ()
    if "/" in module or os.path.lexists(path):
        if inside == ".." or inside.startswith("../"):
            raise UsageError(f"'{module}' is outside the project {root}", "copy it into the project")
        if os.path.isfile(path):
            return (*within, *_file_command(path, name))
    parts = module.split(".")
    if all(parts) and "/" not in module:
        for place in dict.fromkeys((folder, "")):
            for top in (place, os.path.join(place, "src")):
                dotted = root.joinpath(top, *parts)
                if os.path.isfile(f"{dotted}.py") or os.path.isfile(dotted / "__main__.py"):
                    return (*_finding(within, top, found=top == place), "python3", "-m", module)
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, "__main__.py")):
        return (*within, "python3", _no_option(name))
    raise _no_module(here, module, name)


def _finding(within: tuple[str, ...], top: str, *, found: bool) -> tuple[str, ...]:
    """Return the words before Python for a module in the folder `top`: none more if it is `found` anyway.

    With src/ on every PYTHONPATH, a src/random.py would hide Python's own module.
    """
    return within if found else (*(within or ("env",)), f"{_PATH}{APP}/{top}:{APP}")


def entry_files(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that the command may start, relative to the project; one of them must exist."""
    if not command:
        return ()
    folder = next((_in_project(word.removeprefix(_CHDIR)) for word in command if word.startswith(_CHDIR)), "")
    if "-m" in command:
        path = command[-1].replace(".", "/")
        first = next((word.removeprefix(_PATH).partition(":")[0] for word in command if word.startswith(_PATH)), "")
        tops = (_in_project(first),) if first else tuple(dict.fromkeys((folder, "")))
        return tuple(os.path.join(top, f"{path}{end}") for top in tops for end in (".py", "/__main__.py"))
    path = os.path.normpath(os.path.join(folder, command[-1]))
    return path, f"{path}/__main__.py"


def _in_project(path: str) -> str:
    return path.removeprefix(APP).removeprefix("/")


def starts_something(entrypoint: Sequence[str], command: Sequence[str]) -> bool:
    """Return whether a container with this entry point and command starts anything but a bare shell."""
    words = (*entrypoint, *command)
    return (
        bool(words) and not words[0].startswith("-") and (len(words) > 1 or os.path.basename(words[0]) not in _SHELLS)
    )


def _no_option(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name


def is_notebook(module: str) -> bool:
    """Whether a MODULE is a notebook, which the recipe `papermill` runs."""
    return module.endswith(".ipynb")


def _file_command(path: str, name: str) -> tuple[str, ...]:
    if name.lower().endswith(".py"):
        return ("python3", _no_option(name))
    if is_notebook(name):
        return ("python3", _RUNS_NOTEBOOKS, _no_option(name))
    if not os.stat(path).st_mode & 0o111:
        raise UsageError(f"'{name}' is neither a Python file nor executable", f"chmod +x {shlex.quote(name)}")
    with open(path, "rb") as file:
        first = file.readline(256)
    if first.startswith(b"#!") and first.endswith(b"\r\n"):
        raise UsageError(f"'{name}' has Windows line endings, so it cannot be started", "dos2unix " + name)
    if not first.startswith((b"#!", b"\x7fELF")):
        raise UsageError(f"'{name}' has no #! line, so it cannot be started", "start it with #!/bin/sh")
    return (f"./{name}",)


def _no_module(root: Path, module: str, name: str) -> UsageError:
    """Return the error for a module that does not exist; its hint names the nearest one, or those that exist."""
    files = python_files(root)
    if os.path.isdir(root / name):
        inside = [file for file in files if file.startswith(f"{name}/")]
        return UsageError(
            f"'{module}' is a folder without a __main__.py", f"name a file in it: {', '.join(inside or files)[:400]}"
        )
    dotted = {file.removesuffix(".py").replace("/", "."): file for file in files}
    as_files = "/" in module or module.endswith(".py")
    return UsageError(
        f"there is no module or file '{module}' in {root}",
        _nearest_module(module, *((files, "/") if as_files else (list(dotted), "."))),
    )


_SEARCHED = 2000
"""How many folders are searched for Python files at most: a project may have folders of data with millions of files."""


def python_files(root: Path) -> list[str]:
    """Return the Python files of a project, those in few folders first; not those of tools and environments."""
    found: list[tuple[int, str]] = []
    for number, (folder, folders, names) in enumerate(os.walk(root)):
        if number == _SEARCHED:
            break
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NO_MODULES)
        place = os.path.relpath(folder, root)
        paths = (os.path.normpath(os.path.join(place, name)) for name in names if name.endswith(".py"))
        found += ((path.count("/"), path) for path in paths)
    return [path for _, path in sorted(found)]


_NO_MODULES = ("__pycache__", "node_modules", "venv", "site-packages", "build", "dist")


def _nearest_module(module: str, names: list[str], mark: str) -> str:
    """Return a hint for a module that does not exist: one with a similar name or last part."""
    import difflib  # only an error needs it

    if not names:
        return "run the command in the project's folder"
    if close := difflib.get_close_matches(module, names, n=1):
        return f"did you mean '{close[0]}'?"
    last = {name.rpartition(mark)[2]: name for name in reversed(names)}  # of two with the same, the one less deep
    if close := difflib.get_close_matches(module.rpartition(mark)[2], last, n=1):
        return f"did you mean '{last[close[0]]}'?"
    return nearest(module, names)
