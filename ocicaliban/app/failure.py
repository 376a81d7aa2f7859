"""Tell the user what to do about a job that has failed, where its output and the project's files show it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban import hints
from ocicaliban.build.inputs import folders
from ocicaliban.dependencies import adding, survey
from ocicaliban.dependencies.environment import DeclaredEnvironment, EnvironmentRequest
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.toml import parse_toml, table_in
from ocicaliban.jobs import log_file
from ocicaliban.model.job import Job, Submission
from ocicaliban.project import config, entry_point, ignore_rules
from ocicaliban.reporter import TERMINAL

_MOST = 3
"""How many hints a sweep gives."""
_READ = 20
"""How many logs of failed jobs are read for them."""
_LARGEST = 200_000  # bytes of a file that may declare dependencies


@frozen(kw_only=True)
class FailedRun:
    """Where a job ran that has failed: the project, and the folder in it; `mounted` is whether it saw that folder."""

    root: Path
    folder: str = ""
    mounted: bool = False


def of_submission(submission: Submission) -> FailedRun:
    """Return where the jobs of a submission run."""
    return of_record({"project": submission.project, "options": submission.options})


def of_record(submission: Mapping[str, object]) -> FailedRun:
    """Return where the jobs of a submission's record run."""
    options = submission.get("options")
    options = options if isinstance(options, dict) else {}
    return FailedRun(
        root=Path(str(submission.get("project", ""))),
        folder=str(options.get("folder", "")),
        mounted=options.get("mount") is True,
    )


def explain(run: FailedRun, log: Path, exit_code: int) -> None:
    """Print the hint for a job with this log, if there is one."""
    with contextlib.suppress(OcicalibanError, OSError, ValueError):
        if hint := hint_for(run, log_file.last_text(log), exit_code):
            TERMINAL.say(f"hint: {hint}")


def explain_all(jobs: Iterable[Job]) -> None:
    """Print the hints for the failed jobs of a sweep, each cause once."""
    told: set[str] = set()
    for job in list(jobs)[:_READ]:
        if job.last is None or not job.last.log:
            continue
        with contextlib.suppress(OcicalibanError, OSError, ValueError):
            text = log_file.last_text(job.last.log)
            hint = hint_for(of_submission(job.submission), text, job.last.exit_code or 0)
            if hint and hint not in told and len(told) < _MOST:
                told.add(hint)
                TERMINAL.say(f"hint: {hint}")


def hint_for(run: FailedRun, output: str, exit_code: int) -> str:
    """Return what to do about a job that has ended with this output; "" if that is unknown."""
    found = hints.find(output, "run", exit_code)
    if found is None:
        return ""
    if found.about == "module":
        return _module_hint(run, found.what)
    if found.about == "file":
        return _file_hint(run, found.what)
    return found.as_hint(has_packages=hints.has_packages(config.load_project(run.root)))


# --- a module that is not there ---


def _module_hint(run: FailedRun, module: str) -> str:
    if hint := hints.of_python(module):
        return hint
    package = hints.package_of(module)
    if own := _own_folder(run.root, module):
        return (
            f"{module} is in the project's folder {own}: declare the project in pyproject.toml so that it is installed,"
            f' or --podman-args "--env PYTHONPATH={entry_point.APP}/{own}"'
        )
    for name in hints.packages_of(module):
        if (hint := _in_a_group(run.root, name)) or (hint := _in_another_file(run.root, name)):
            return hint
    declared = _declared(run.root).declaration
    what = package if package == module else f"{package}, which has the module {module}"
    return f"no file declares {what}: {adding.how_to_add(declared, package)}"


def _declared(root: Path) -> DeclaredEnvironment:
    """Return what the project's files declare; nothing if a setting is needed to tell, which the run had."""
    try:
        return survey.read_environment(EnvironmentRequest(root=root))
    except UsageError:
        return DeclaredEnvironment()


def _own_folder(root: Path, module: str) -> str:
    """Return the folder of the project in which Python would find one of its own modules; "" if there is none."""
    parts = module.split(".")
    ends = ("/".join(parts) + ".py", "/".join((*parts, "__init__.py")))
    for path in entry_point.python_files(root):
        end = next((end for end in ends if path.endswith(f"/{end}")), "")
        if end:
            return path.removesuffix(f"/{end}")
    return ""


def _mentions(text: str, package: str) -> bool:
    """Whether a text that declares dependencies has this package."""
    name = re.split(r"[<>=!~ @\[]", package)[0]
    spelled = re.sub(r"[-_.]+", "[-_.]+", re.escape(name).replace(r"\-", "-").replace(r"\.", "."))
    return re.search(rf"(?im)(?:^|[\s\"'=-]){spelled}(?![\w-])", text) is not None


def _in_a_group(root: Path, package: str) -> str:
    """Return the option that installs a package of an extra or of a dependency group."""
    try:
        raw = parse_toml((root / "pyproject.toml").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return ""
    for keys, option, word in (
        (("project", "optional-dependencies"), "--extras", "extra"),
        (("dependency-groups",), "--with-group", "dependency group"),
    ):
        for name, wanted in table_in(raw, *keys).items():
            if isinstance(wanted, list) and any(isinstance(each, str) and _mentions(each, package) for each in wanted):
                return f"{package} is in the {word} '{name}': {option} {name}"
    return ""


def _in_another_file(root: Path, package: str) -> str:
    """Return the setting that has a file read which declares a package."""
    read = _declared(root)
    unread = [(file.path, file.setting) for file in read.files if file.use == "unread"]
    source = read.declaration.path if read.declaration else None
    lists = sorted((*root.glob("*requirements*.txt"), *root.glob("requirements/*.txt")))
    unread += [(str(path.relative_to(root)), "") for path in lists if path != source]
    for name, setting in unread:
        path = root / name
        if not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        if _mentions(path.read_text(encoding="utf-8", errors="replace"), package):
            line = setting or f'[layers.python] requirements = "{name}"'
            return f"{name} declares {package}, and is not read; in ocicaliban.toml: {line}"
    return ""


# --- a file that is not there ---


def _file_hint(run: FailedRun, name: str) -> str:
    if run.mounted:
        return ""
    if name.startswith(f"{entry_point.APP}/"):
        path = os.path.normpath(name.removeprefix(f"{entry_point.APP}/"))
    elif os.path.isabs(name):
        there = os.path.lexists(name) and not name.startswith(("/usr/", "/proc/", "/dev/", "/tmp/"))
        return f'the container does not see {name}; mount it: --podman-args "-v {name}:{name}:ro"' if there else ""
    else:
        path = os.path.normpath(os.path.join(run.folder, name))
    if path.startswith(".."):
        return f"{name} is outside of the project {run.root}, and the container sees nothing of that"
    if left := _left_out(run.root, path):
        where = ignore_rules.ignore_file_name(run.root)
        folder = left.rstrip("/") if os.path.isdir(run.root / left) or "/" in path[len(left.rstrip("/")) :] else ""
        instead = (
            f"--dir {os.path.relpath(folder, run.folder or '.')} gives it a layer of its own, and " if folder else ""
        )
        return f"{left} is left out of the image ({where}): {instead}--mount shows the container the project itself"
    if run.folder and (run.root / name).exists():
        return f"the container starts in {run.folder}, as this command did; {name} is in {run.root}"
    return ""


def _left_out(root: Path, path: str) -> str:
    """Return the folder or file that an ignore file leaves out, and that a path of the project is or is in."""
    for left in folders.left_out(config.load_project(root)):
        if path == left.rstrip("/") or path.startswith(left if left.endswith("/") else f"{left}/"):
            return left
    names = path.split("/")
    heads = ("/".join(names[:depth]) for depth in range(1, len(names) + 1))
    head = next((head for head in heads if not ignore_rules.is_source(root, head)), "")
    return f"{head}/" if head and head != path else head
