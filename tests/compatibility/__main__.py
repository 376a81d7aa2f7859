"""Run public projects as they are, and write docs/compatibility.md: `python -m tests.compatibility FOLDER [NAMES]`.

FOLDER has the projects' checkouts, each in a folder `OWNER+NAME`. `--fetch` clones those that it lacks from GitHub, at
the commit that `projects.toml` names. Each project is run in a fresh copy. Then a second command in its environment
lists the packages, and they are compared with what the project's own files declare. Where ocicaliban stops with a
remedy, the remedy is followed. The exit code is the number of projects that ran in another environment, or that
neither run nor stop with the expected words.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from attrs import Factory, asdict, frozen

from tests import tracebacks
from tests.compatibility.compared import PROBE, contents, differences
from tests.compatibility.declared import HEADER, declared

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "compatibility.md"
TABLE = Path(__file__).with_name("projects.toml")
HEAD = """# Compatibility

Public projects, run as they are. `python -m tests.compatibility` writes this page: it runs each project in a fresh
copy, lists the packages in its environment and compares them with what the project's own files declare. A project that
stops must print a remedy; where the table says so, the remedy was followed. Nothing of these projects is in this
repository, only their names and commits.

Tried on {date}, on {machine}.

"""


@frozen(kw_only=True)
class Project:
    """A public project: a row of projects.toml.

    `way` is the file that must be the source of its packages, `run` the command after `ocicaliban`, and `expect`
    whether it `runs` or `stops`. `says` are words that must be printed. `remedies` are followed one after the other:
    the text must be printed when it stops, and is then written into ocicaliban.toml. It must run after the last one.
    `edit` is a remedy in another file: its name, a text in it, and what replaces that. `own` are the packages that it
    consists of.
    """

    repository: str
    commit: str
    way: str
    run: str
    folder: str = "."
    expect: str = "runs"
    says: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    edit: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    script: str = ""
    note: str = ""

    @property
    def checkout(self) -> str:
        return self.repository.replace("/", "+")

    @property
    def file(self) -> str:
        """The name of the file that keeps its result."""
        return re.sub(r"[^\w.-]+", "+", f"{self.title} {self.run}")[:200] + ".json"

    @property
    def title(self) -> str:
        return self.repository + ("" if self.folder == "." else f"/{self.folder}")


@frozen(kw_only=True)
class Result:
    """What came of a project: how it ended, what was said, and what is wrong with that."""

    project: Project
    ended: str
    said: str
    wrong: tuple[str, ...] = Factory(tuple)


def _projects(names: Iterable[str]) -> list[Project]:
    raw: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["project"]
    lists = ("says", "own", "remedies", "edit")
    made = [Project(**{**row, **{name: tuple(row.get(name, ())) for name in lists}}) for row in raw]
    return [each for each in made if not names or any(name in each.title for name in names)]


def _fetch(project: Project, folder: Path) -> None:
    place = folder / project.checkout
    if place.exists():
        return
    subprocess.run(["git", "clone", "-q", f"https://github.com/{project.repository}", place], check=True)
    subprocess.run(["git", "-C", place, "checkout", "-q", "--recurse-submodules", project.commit], check=True)


def _call(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    at = 1 if words[0] in ("run", "shell", "build") else len(words)
    return subprocess.run(
        [sys.executable, "-m", "ocicaliban", *words[:at], *(["--nogpu"] if at == 1 else []), *words[at:]], cwd=folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=900,
    )  # fmt: skip


def _said(ran: bool, stderr: str, *places: Path) -> str:
    """The line about the dependencies, and the error with its hint, without the paths of this machine."""
    text = stderr
    for place in places:
        text = text.replace(str(place), ".")
    lines = [line for line in text.splitlines() if line.strip() and not re.match(r"[\w ]+: still ", line)]
    first = next((at for at, line in enumerate(lines) if line.startswith("error: ")), len(lines))
    hint = next((at for at, line in enumerate(lines) if line.startswith(" hint: ")), len(lines))
    kept = [line for line in lines[:first] if line.startswith(("dependencies:", "base:", "note:"))]
    told = [*lines[first:hint][:4], *lines[hint : hint + 6]] or ([] if ran else lines[-3:])
    return "\n".join([*kept, *told])


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _probe(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """List the packages of the project's environment, or of that of a script with a header."""
    if not script:
        return _call(folder, ["shell", "--", "python", "-c", PROBE])
    header = HEADER.search((folder / script).read_text())
    (folder / "probe.py").write_text(f"{header[0] if header else ''}\n{PROBE}")
    return _call(folder, ["run", "probe.py"])


def _try(project: Project, folder: Path) -> tuple[bool, str, list[str]]:
    """Whether it ran, what it printed, and where its environment differs from what it declares."""
    done = _call(folder, shlex.split(project.run))
    if done.returncode:
        return (
            False,
            done.stderr,
            ["a traceback of ocicaliban"] if tracebacks.of_ours(done.stderr) else [],
        )
    start = project.script or next((word for word in shlex.split(project.run) if word.endswith(".py")), "")
    probe = _probe(folder, start if project.way == "PEP 723" else "")
    if probe.returncode:
        return True, done.stderr, [f"its packages cannot be listed: {probe.stderr[-300:]}"]
    wanted = declared(folder, start if project.way == "PEP 723" else project.way)
    return True, done.stderr, differences(wanted, contents(probe.stdout), frozenset(project.own))


def _merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(settings[key], more[key]) for key in more if isinstance(settings.get(key), dict)}
    return {**settings, **more, **both}


def try_project(project: Project, checkouts: Path, base: str) -> Result:
    """Run a project in a fresh copy and return what came of it."""
    with tempfile.TemporaryDirectory(prefix="compatibility-") as scratch:
        copy = Path(scratch) / "project"
        shutil.copytree(checkouts / project.checkout, copy, symlinks=True)
        folder = copy / project.folder
        config = folder / "ocicaliban.toml"
        config.write_text(f"[layers.base]\n{base}\n" if base else "")
        ran, printed, wrong = _try(project, folder)
        said = _said(ran, printed, folder, copy)
        wrong += [f"it does not say: {words}" for words in project.says if words not in _squeezed(printed)]
        ended = "runs" if ran else "stops"
        if not ran and "hint:" not in printed:
            wrong.append("it stops without a hint")
        if ended != project.expect:
            wrong.append(f"it {ended}, and should not")
        if project.edit:
            name, old, new = project.edit
            (folder / name).write_text((folder / name).read_text().replace(old, new))
        for remedy in project.remedies or ([""] if project.edit else []):
            if ran or _squeezed(remedy) not in _squeezed(printed):
                wrong.append(f"the remedy is not printed: {_squeezed(remedy)}")
            config.write_text(tomli_w.dumps(_merged(tomllib.loads(config.read_text()), tomllib.loads(remedy))))
            ran, printed, differing = _try(project, folder)
            said += "\n" + _said(ran, printed, folder, copy) if not ran else ""
            wrong += differing
        if project.remedies or project.edit:
            ended = "runs after the remedy" if ran else "stops after the remedy"
            wrong += [] if ran else ["it does not run after the remedy"]
        return Result(project=project, ended=ended, said=said, wrong=tuple(wrong))


def kept(results: Path, project: Project) -> Result | None:
    """Return what an earlier call found of a project, or None; of another row of the table it found nothing."""
    try:
        raw = json.loads((results / project.file).read_text())
    except FileNotFoundError:
        return None
    same = raw.pop("project") == json.loads(json.dumps(asdict(project)))
    return Result(project=project, **{**raw, "wrong": tuple(raw["wrong"])}) if same else None


def keep(results: Path, result: Result) -> None:
    """Write what came of a project to a folder, for the page."""
    (results / result.project.file).write_text(json.dumps(asdict(result), indent=1))


def page(results: Iterable[Result], machine: str, date: str) -> str:
    """Return docs/compatibility.md."""
    rows = sorted(results, key=lambda each: each.project.title.lower())
    lines = ["| project | way | command | result |", "| --- | --- | --- | --- |"]
    for each in rows:
        link = f"[{each.project.title}](https://github.com/{each.project.repository}/tree/{each.project.commit})"
        lines.append(f"| {link} | {each.project.way} | `ocicaliban {each.project.run}` | {each.ended} |")
    told = []
    for each in rows:
        note = f"{each.project.note}\n\n" if each.project.note else ""
        faults = "".join(f"- not as it should be: {_squeezed(fault)}\n" for fault in each.wrong)
        said = f"```text\n{each.said}\n```\n" if each.said else "It says nothing.\n"
        told.append(f"### {each.project.title}\n\n{note}{said}{faults}")
    return HEAD.format(machine=machine, date=date) + "\n".join(lines) + "\n\n## What was said\n\n" + "\n".join(told)


def _tried(project: Project, options: argparse.Namespace) -> Result | None:
    """Try a project, or return None if there is no checkout of it."""
    if options.fetch:
        _fetch(project, options.checkouts)
    if not (options.checkouts / project.checkout).is_dir():
        print(f"{project.title}: no checkout; --fetch clones it", file=sys.stderr)
        return None
    return try_project(project, options.checkouts, options.base)


def main() -> int:
    """Try the projects, print what came of each, and write the page if all were tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("checkouts", type=Path, help="the folder of the projects' checkouts")
    parser.add_argument("names", nargs="*", help="only projects whose name has one of these words; writes no page")
    parser.add_argument("--fetch", action="store_true", help="clone from GitHub what the folder lacks")
    parser.add_argument("--base", default="", help="a line for [layers.base] of each project")
    parser.add_argument(
        "--machine", default="a machine that reaches Docker Hub, PyPI, conda-forge and GitHub", help="for the page"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the page")
    parser.add_argument("--results", type=Path, help="keep each result in this folder; projects with one are not tried")
    options = parser.parse_intermixed_args()
    results = []
    for project in _projects(options.names):
        result = kept(options.results, project) if options.results else None
        result = result or _tried(project, options)
        if result is None:
            continue
        if options.results:
            options.results.mkdir(parents=True, exist_ok=True)
            keep(options.results, result)
        results.append(result)
        print(f"=== {project.title} ({project.way}): {result.ended}\n{result.said}", flush=True)
        for fault in result.wrong:
            print(f"  WRONG: {fault}", flush=True)
    if not options.names:
        options.page.write_text(page(results, options.machine, datetime.now(UTC).date().isoformat()))
    return sum(bool(each.wrong) for each in results)


if __name__ == "__main__":
    sys.exit(main())
