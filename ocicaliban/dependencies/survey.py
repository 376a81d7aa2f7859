"""Find all files by which a project declares its environment, and choose the source of the dependencies among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve

from ocicaliban.dependencies import debian_packages, file_names, python_files, registry
from ocicaliban.dependencies.cog import CogYaml
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.environment import DeclaredEnvironment, DeclaringFile, EnvironmentRequest
from ocicaliban.dependencies.file_names import BINDER, LISTED, LISTS, RELATIVE, OtherCase
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.dependencies.script_header import ScriptHeader
from ocicaliban.errors import UsageError
from ocicaliban.formats.file_faults import check_link

NONE = "none"
"""The value of the setting for a project that needs no packages."""

_EXPORTED = re.compile(
    r"^#.*(?:auto-?generated|@generated) by \W*(uv|poetry|pdm|pipenv|pixi)\b|^#\s+(uv|poetry|pdm|pipenv) export\b",
    re.M | re.I,
)


def read_environment(request: EnvironmentRequest) -> DeclaredEnvironment:
    """Return the environment that the project's files declare.

    Raises UsageError if a setting names a file that does not exist, if files contradict each other, or if all files
    that declare dependencies are of kinds of which none can be chosen for the user.
    """
    there = registry.names_in(request.root)
    found = _found(request, there)
    source = _named(request, found) if request.named else _chosen(request, found)
    file_names.check_links(request, there, dependencies=not _is_settled(request, source))
    misnamed = _misnamed(request, there, found, source)
    relatives = _relatives(request.root, there, found, source)
    relatives = tuple(name for name in relatives if name not in {each.path for each in misnamed})
    if source is None and not request.named and relatives:
        raise _unclear(request, relatives)
    versions = python_files.read_versions(request.root, there, BINDER)
    apt = debian_packages.read_lists(request.root, there, BINDER)
    scripts = {name: _first(request.root, name, there) for name in ("postBuild", "start")}
    # In the environment of a script alone, nothing else of the project counts.
    counting = (source,) if source and source.ALONE else tuple(dict.fromkeys((*([source] if source else []), *found)))
    python = [wanted for each in counting for wanted in each.python_requirements()]
    if not (source and source.ALONE and python):
        python += [wanted for each in versions.values() for wanted in each.python]
    if python:
        # What is said above the project matters only where the project says nothing.
        versions = {name: file for name, file in versions.items() if file.python or not name.startswith("../")}
    packages = [
        *(name for names in apt.values() for name in names),
        *(n for each in found for n in each.debian_packages()),
    ]
    return DeclaredEnvironment(
        declaration=source,
        files=(
            *_files(request, source, found),
            *(_other(request, name) for name in relatives),
            *(_of_other_case(request, each) for each in misnamed),
            *(
                DeclaringFile(path=name, use="unread" if file.why else "honoured", why=file.why)
                for name, file in versions.items()
            ),
            *(DeclaringFile(path=name, use="honoured") for name in apt),
            *(DeclaringFile(path=path, use="honoured") for path in scripts.values() if path),
            *(DeclaringFile(path=part, use="unread") for each in found for part in each.unread_parts()),
        ),
        python=tuple(dict.fromkeys(python)),
        debian_packages=tuple(dict.fromkeys(packages)),
        post_build=scripts["postBuild"],
        start=scripts["start"],
        chosen=bool(request.named),
    )


# --- what there is ---


def _found(request: EnvironmentRequest, there: frozenset[str]) -> tuple[Declaration, ...]:
    """Return all declarations, in the order in which they come into question as the source."""
    root, script = request.root, request.root / request.script if request.script else None
    found: list[Declaration] = []
    if script and script.suffix == ".py" and (header := ScriptHeader.of_script(root, script)):
        found.append(header)
    own = registry.found_in(root)
    found += (each for each in own if not isinstance(each, CogYaml))
    for name in BINDER:
        if name in there:
            # The project itself is in its root.
            found += (evolve(each, root=root) for each in registry.found_in(root / name) if not each.PROJECT)
    found += (each for each in own if isinstance(each, CogYaml))
    if script and script.parent != root and (listed := RequirementsList.find(script.parent)):
        found.append(evolve(listed, root=root))
    return tuple(found)


def _relatives(
    root: Path, there: frozenset[str], found: Sequence[Declaration], source: Declaration | None
) -> tuple[str, ...]:
    """Return the paths of the files that declare dependencies, and are neither found nor included by those found."""
    names = [name for name in sorted(there) if RELATIVE.fullmatch(name)]
    for folder in sorted(there):
        if folder.lower() == LISTS:
            inside = sorted(registry.names_in(root / folder))
            names += [f"{folder}/{name}" for name in inside if LISTED.fullmatch(name)]
    known = {path for each in found for path in _paths(each)} | _covered(found)
    names = [name for name in names if name not in known]
    # pip-compile writes NAME.txt from NAME.in.
    compiled = {*there, *names}
    names = [name for name in names if not (name.endswith(".in") and f"{name[:-3]}.txt" in compiled)]
    if not names:
        return ()
    read = _texts(found, source)
    return tuple(name for name in names if name not in read and (root / name).is_file())


def _texts(found: Sequence[Declaration], source: Declaration | None) -> frozenset[str]:
    """Return the paths of all files that the declarations read."""
    return frozenset(path for each in (*found, *([source] if source else [])) for path in each.texts())


def _paths(declaration: Declaration) -> tuple[str, ...]:
    return tuple(os.path.relpath(path, declaration.root) for path in (declaration.path, *declaration.beside))


def _covered(declarations: Iterable[Declaration]) -> set[str]:
    return {os.path.normpath(path) for each in declarations for path in each.covers()}


def _first(root: Path, name: str, there: frozenset[str]) -> str:
    """Return the path of one of Binder's files: its folders come before the project's root."""
    places = [f"{folder}/{name}" for folder in BINDER if folder in there]
    return next((path for path in (*places, *([name] if name in there else [])) if (root / path).is_file()), "")


# --- the source ---


def _named(request: EnvironmentRequest, found: Sequence[Declaration]) -> Declaration | None:
    """Return the declaration that the setting names. Raises UsageError if there is no such file."""
    path = request.root / request.named
    if request.named == NONE:
        return None
    if not os.path.isfile(path):  # a name may be too long for any file
        check_link(path)
        raise UsageError(
            f"{request.setting}: there is no file '{request.named}'", f"the path is relative to the project: {path}"
        )
    same = (each for each in found if each.path == path)
    return next(same, None) or registry.declaration_in(request.root, path)


def _chosen(request: EnvironmentRequest, found: Sequence[Declaration]) -> Declaration | None:
    """Return the source: the first declaration that lists a dependency, unless another one includes it.

    Raises UsageError if two tools have locked versions.
    """
    listing = [each for each in found if each.lists_dependencies()] or [*found]
    if not listing:
        return None
    source = listing[0]
    for other in listing[1:]:
        if {*_paths(source)} <= _covered([other]):
            source = other
    if source.ALONE:
        return source
    _check_locks(request, source, found)
    if isinstance(source, RequirementsList) and source.path.parent == request.root:
        # As `pip install -r requirements.txt -e .` would.
        project = next((each for each in listing if each.PROJECT), None)
        return evolve(project, beside=(source.path,)) if project else source
    return source


def _check_locks(request: EnvironmentRequest, source: Declaration, found: Sequence[Declaration]) -> None:
    """Raise UsageError if another tool has a lock too, and neither is an export of the other."""
    if not source.LOCK:
        return
    for other in found:
        if not other.LOCK or other.tool() == source.tool() or "" in (other.tool(), source.tool()):
            continue
        if not {*_paths(other)} <= _covered([source]):
            raise UsageError(
                f"{source.shown} and {other.shown} are locks of two tools, which may hold different versions",
                f"write into ocicaliban.toml which one counts (or {_assignment(request, other.shown)}):\n"
                f"{_lines(request, source.shown)}",
            )


def _unclear(request: EnvironmentRequest, names: Sequence[str]) -> UsageError:
    verb = "declares" if len(names) == 1 else "declare"
    return UsageError(
        f"{', '.join(names)} {verb} dependencies, and no file says that this environment needs them",
        f"write into ocicaliban.toml which one counts ({_assignment(request, NONE)} if it needs no packages):\n"
        f"{_lines(request, names[0])}",
    )


def _misnamed(
    request: EnvironmentRequest, there: frozenset[str], found: Sequence[Declaration], source: Declaration | None
) -> tuple[OtherCase, ...]:
    """Return the files that are not read since their names have other capitals.

    Raises UsageError if one of them is the only one that lists dependencies.
    """
    files = file_names.in_other_case(request, there)
    if not files:
        return ()
    read, settled = _texts(found, source), _is_settled(request, source)
    files = tuple(each for each in files if each.path not in read and not (settled and each.declares_dependencies))
    listing = next((each for each in files if each.declares_dependencies), None)
    if listing and not (source and source.lists_dependencies()):
        raise _only_misnamed(request, listing)
    return files


def _is_settled(request: EnvironmentRequest, source: Declaration | None) -> bool:
    """Whether no other file can be the source of the dependencies."""
    return bool(request.named or (source and source.ALONE))


def _only_misnamed(request: EnvironmentRequest, file: OtherCase) -> UsageError:
    if file.may_be_named:
        others = f"or write into ocicaliban.toml ({_assignment(request, NONE)} if the project needs no packages):"
    else:
        others = "or, if the project needs no packages, write into ocicaliban.toml:"
    return UsageError(
        f"{file.path} is not read: the name of such a file is {os.path.basename(file.proper)}",
        f"{file.remedy}\n{others}\n{_lines(request, file.path if file.may_be_named else NONE)}",
    )


# --- what becomes of the other files ---


def _files(
    request: EnvironmentRequest, source: Declaration | None, found: Sequence[Declaration]
) -> tuple[DeclaringFile, ...]:
    """Return the source's files and all other declarations, each with its use."""
    files = {path: DeclaringFile(path=path, use="source") for path in (_paths(source) if source else ())}
    covered = _covered_by(source, found) if source else set[str]()
    for each in found:
        path = _paths(each)[0]
        if path in files:
            continue
        if path in covered or not each.lists_dependencies() or _is_export(each, source):
            files[path] = DeclaringFile(path=path, use="honoured")
        else:
            files[path] = _other(request, path)
    for path in sorted(covered - {*files}):
        if (request.root / path).is_file():
            files[path] = DeclaringFile(path=path, use="honoured")
    return tuple(files.values())


def _covered_by(source: Declaration, found: Sequence[Declaration]) -> set[str]:
    """Return the paths that the source covers, and those that the declarations there cover in turn."""
    covered = _covered([source])
    for _ in found:
        covered |= _covered(each for each in found if _paths(each)[0] in {*covered, *_paths(source)})
    return covered


def _is_export(other: Declaration, source: Declaration | None) -> bool:
    """Whether a list of requirements, or a lock in the standard form, says that the source's tool has written it."""
    if source is None or not source.LOCK:
        return False
    if other.LOCK:
        return bool(source.tool()) and other.tool() == source.tool()
    if not isinstance(other, RequirementsList):
        return False
    with other.path.open(encoding="utf-8", errors="replace") as file:
        match = _EXPORTED.search(file.read(1000))
    return match is not None and (match[1] or match[2]).lower() == source.tool()


def _other(request: EnvironmentRequest, path: str) -> DeclaringFile:
    return DeclaringFile(path=path, use="unread", setting=_setting(request, path))


def _of_other_case(request: EnvironmentRequest, file: OtherCase) -> DeclaringFile:
    if file.declares_dependencies and file.may_be_named:
        return _other(request, file.path)
    return DeclaringFile(path=file.path, use="unread", why=file.why)


def _setting(request: EnvironmentRequest, path: str) -> str:
    """Return what to write into ocicaliban.toml to make a file the source."""
    return f"[{request.setting.rpartition('.')[0]}] {_assignment(request, path)}"


def _lines(request: EnvironmentRequest, path: str) -> str:
    """Return the same as lines of the file."""
    return f"[{request.setting.rpartition('.')[0]}]\n{_assignment(request, path)}"


def _assignment(request: EnvironmentRequest, path: str) -> str:
    return f'{request.setting.rpartition(".")[2]} = "{path}"'
