"""Read a project's configuration: `ocicaliban.toml`, or Caliban's `.calibanconfig.json`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import evolve, field, fields, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.file_faults import check_link
from ocicaliban.formats.key_lines import Keys
from ocicaliban.formats.toml import parse_toml, place, read_toml, structure, table_in
from ocicaliban.model.project import Project, Push
from ocicaliban.project import log_size, run_settings
from ocicaliban.project.run_settings import Where
from ocicaliban.reporter import SILENT, Reporter

NAME = "ocicaliban.toml"
PYPROJECT = "pyproject.toml"
_TABLE: Keys = ("tool", "ocicaliban")
"""Our table in a pyproject.toml, which has the same keys as a file of our own."""
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
CALIBAN = ".calibanconfig.json"


@frozen(kw_only=True)
class ProjectFile:
    """The tables of `ocicaliban.toml`, apart from `layers`, whose form depends on the recipes."""

    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    allow_secrets: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)
    log_size_max: str = ""
    push: Push = field(factory=Push)


def load_project(root: Path, reporter: Reporter = SILENT) -> Project:
    """Return the project in the folder `root`. A folder without configuration is a project too.

    `reporter` gets a note for each of Caliban's keys that has no effect. Raises UsageError with file, line and key for
    a mistake.
    """
    for name in (NAME, CALIBAN):
        check_link(root / name)
    own = _load(root)
    if not (root / CALIBAN).is_file():
        return own
    from ocicaliban.project import caliban_config  # few projects have it

    return _merged(own, caliban_config.load(root / CALIBAN, reporter))


def _merged(own: Project, theirs: Project) -> Project:
    """Return a project with the parameters of Caliban's file added. Raises UsageError for one that both files set."""
    from ocicaliban.project import caliban_config

    layers = dict(own.layers)
    for name, parameters in theirs.layers.items():
        table = layers.get(name, {})
        for key in parameters:
            rival = caliban_config.RIVALS.get((name, key), "")
            other = rival if table.get(rival) else key
            if other in table:
                ours = setting_place(own.root, ("layers", name, other))
                their_place = caliban_config.place(own.root / CALIBAN, ("layers", name, key))
                raise UsageError(
                    f"{ours} and {their_place} both set {key} of the recipe '{name}'",
                    f"remove one of them, for example the key in {CALIBAN}",
                )
        layers[name] = {**parameters, **table}
    return evolve(own, layers=layers)


@frozen(kw_only=True)
class _Source:
    """The file with a project's configuration, its text, our part of it, and the keys that lead to that."""

    path: Path
    text: str = ""
    raw: dict[str, Any] = field(factory=dict)
    keys: Keys = ()

    def at(self, *keys: str | int) -> str:
        """Return file and line of one of our keys."""
        return place(self.path, self.text, (*self.keys, *keys))


def _source(root: Path) -> _Source | None:
    """Return where the project's configuration is; None if it has none. Raises UsageError if it is in two files."""
    path = root / NAME
    table = in_pyproject(root)
    if not path.is_file():
        return table
    if table is not None:
        hint = f"keep one of them: move the table's keys to {NAME}"
        raise UsageError(f"{path} and [tool.ocicaliban] in {table.path} both configure the project", hint)
    text, raw = read_toml(path)
    return _Source(path=path, text=text, raw=raw)


def in_pyproject(root: Path) -> _Source | None:
    """Return our table in the pyproject.toml of a folder; None if there is none, or the file cannot be read.

    What is wrong with the file is told when its dependencies are read.
    """
    path = root / PYPROJECT
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        raw = table_in(parse_toml(text), "tool") if "ocicaliban" in text else {}
    except (OSError, ValueError):
        return None
    if "ocicaliban" not in raw:
        return None
    if not isinstance(raw["ocicaliban"], dict):
        hint = "write it as a table: [tool.ocicaliban]"
        raise UsageError(f"{place(path, text, _TABLE)}: 'tool.ocicaliban' is not a table", hint)
    return _Source(path=path, text=text, raw=raw["ocicaliban"], keys=_TABLE)


def _load(root: Path) -> Project:
    source = _source(root)
    if source is None:
        return Project(root=root)
    raw = dict(source.raw)
    known = ("layers", "targets", "run", *(each.name for each in fields(ProjectFile)))
    for key in raw:
        if key not in known:
            raise UsageError(f"{source.at(key)}: unknown key '{key}'", nearest(key, known))
    layers = _layers(raw.pop("layers", {}), source)
    targets = target_tables(raw.pop("targets", {}), source.path, source.text, source.keys)
    where = Where(path=source.path, text=source.text, keys=(*source.keys, "run"), folder=root)
    run = run_settings.read(raw.pop("run", {}), where)
    file = structure(raw, ProjectFile, path=source.path, text=source.text, keys=source.keys)
    assert isinstance(file, ProjectFile)
    log_size.check(file.log_size_max, source.at("log_size_max"))
    for name in file.secrets:
        # A build finds the secret in a file of this name.
        if not _SECRET.fullmatch(name):
            hint = "use letters, digits, _, - and ."
            raise UsageError(f"{source.at('secrets', name)}: '{name}' is not the name of a secret", hint)
    return Project(
        root=root,
        layers=layers,
        modes=file.modes,
        extras=file.extras,
        dirs=file.dirs,
        allow_secrets=file.allow_secrets,
        secrets=file.secrets,
        log_size_max=file.log_size_max,
        push=file.push,
        targets=targets,
        run=run,
    )


def _layers(layers: Any, source: _Source) -> dict[str, dict[str, object]]:
    """Check that `layers` holds one table for each recipe. `recipes.catalog` checks what is in them."""
    wrong: Keys = ("layers",)
    if isinstance(layers, dict):
        name = next((name for name, table in layers.items() if not isinstance(table, dict)), None)
        if name is None:
            return layers
        wrong = ("layers", name)
    raise UsageError(
        f"{source.at(*wrong)}: 'layers' must hold one table for each recipe", '[layers.apt]\npackages = ["git"]'
    )


def target_tables(targets: Any, path: Path, text: str, above: Keys = ()) -> dict[str, dict[str, object]]:
    """Return the tables of `targets`, one for each place where jobs run, which checks what is in its own.

    `above` are the keys that lead to the table which holds `targets`.
    """
    wrong: Keys = ("targets",)
    if isinstance(targets, dict):
        name = next((name for name, table in targets.items() if not isinstance(table, dict)), None)
        if name is None:
            return targets
        wrong = ("targets", name)
    raise UsageError(
        f"{place(path, text, (*above, *wrong))}: 'targets' must hold one table for each target",
        '[targets.slurm]\npartition = "gpu"',
    )


def settings_file(root: Path) -> tuple[Path, Keys]:
    """Return the file with the settings of the project in `root`, and the keys that lead to them in it."""
    source = _source(root) or _Source(path=root / NAME)
    return source.path, source.keys


def setting_place(root: Path, keys: Keys) -> str:
    """Return `FILE:LINE` of the value at `keys` in the configuration of the project in `root`.

    Returns the file alone if the line is unknown.
    """
    source = _source(root)
    if (root / CALIBAN).is_file():
        from ocicaliban.project import caliban_config

        ours = source is not None and bool(keys) and keys[-1] in table_in(source.raw, *map(str, keys[:-1]))
        if source is None or (not ours and caliban_config.sets(keys)):
            return caliban_config.place(root / CALIBAN, keys)
    return (source or _Source(path=root / NAME)).at(*keys)
