"""Read a project's configuration: `ocicaliban.toml`, or Caliban's `.calibanconfig.json`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import evolve, field, fields, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.file_faults import check_link
from ocicaliban.formats.key_lines import Keys
from ocicaliban.formats.toml import place, read_toml, structure, table_in
from ocicaliban.model.project import Project, Push
from ocicaliban.project import log_size
from ocicaliban.reporter import SILENT, Reporter

NAME = "ocicaliban.toml"
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
CALIBAN = ".calibanconfig.json"


@frozen(kw_only=True)
class _ProjectFile:
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
    path = root / NAME
    for name in (NAME, CALIBAN):
        check_link(root / name)
    own = _load(root, path) if path.is_file() else Project(root=root)
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


def _load(root: Path, path: Path) -> Project:
    text, raw = read_toml(path)
    known = ("layers", "targets", *(each.name for each in fields(_ProjectFile)))
    for key in raw:
        if key not in known:
            raise UsageError(f"{place(path, text, (key,))}: unknown key '{key}'", nearest(key, known))
    layers = _layers(raw.pop("layers", {}), path, text)
    targets = target_tables(raw.pop("targets", {}), path, text)
    file = structure(raw, _ProjectFile, path=path, text=text)
    assert isinstance(file, _ProjectFile)
    log_size.check(file.log_size_max, place(path, text, ("log_size_max",)))
    for name in file.secrets:
        # A build finds the secret in a file of this name.
        if not _SECRET.fullmatch(name):
            where = place(path, text, ("secrets", name))
            raise UsageError(f"{where}: '{name}' is not the name of a secret", "use letters, digits, _, - and .")
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
    )


def _layers(layers: Any, path: Path, text: str) -> dict[str, dict[str, object]]:
    """Check that `layers` holds one table for each recipe. `recipes.catalog` checks what is in them."""
    wrong: Keys = ("layers",)
    if isinstance(layers, dict):
        name = next((name for name, table in layers.items() if not isinstance(table, dict)), None)
        if name is None:
            return layers
        wrong = ("layers", name)
    raise UsageError(
        f"{place(path, text, wrong)}: 'layers' must hold one table for each recipe", '[layers.apt]\npackages = ["git"]'
    )


def target_tables(targets: Any, path: Path, text: str) -> dict[str, dict[str, object]]:
    """Return the tables of `targets`, one for each place where jobs run, which checks what is in its own."""
    wrong: Keys = ("targets",)
    if isinstance(targets, dict):
        name = next((name for name, table in targets.items() if not isinstance(table, dict)), None)
        if name is None:
            return targets
        wrong = ("targets", name)
    raise UsageError(
        f"{place(path, text, wrong)}: 'targets' must hold one table for each target",
        '[targets.slurm]\npartition = "gpu"',
    )


def setting_place(root: Path, keys: Keys) -> str:
    """Return `FILE:LINE` of the value at `keys` in the configuration of the project in `root`.

    Returns the file alone if the line is unknown.
    """
    path = root / NAME
    text, raw = read_toml(path) if path.is_file() else ("", {})
    if (root / CALIBAN).is_file():
        from ocicaliban.project import caliban_config

        ours = bool(keys) and keys[-1] in table_in(raw, *map(str, keys[:-1]))
        if not path.is_file() or (not ours and caliban_config.sets(keys)):
            return caliban_config.place(root / CALIBAN, keys)
    return place(path, text, keys)
