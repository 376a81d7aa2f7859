"""JSON schemas of the files of settings, made from the types that they are read into and from the recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ocicaliban.formats import json_schema
from ocicaliban.formats.json_schema import Schema
from ocicaliban.model.project import RunSettings
from ocicaliban.model.recipe import Param
from ocicaliban.project import config, user_config
from ocicaliban.recipes import catalog, loader
from ocicaliban.targets.slurm.options import Options

FOLDER = Path(__file__).parents[1] / "schemas"
PROJECT = "ocicaliban.schema.json"
USER = "config.schema.json"
PYPROJECT = "pyproject.schema.json"

_DIALECT = "http://json-schema.org/draft-07/schema#"

_DESCRIBED = {
    "modes": "Modes of your own: the recipes of each, from the bottom up.",
    "extras": "Extras of the project that are always installed.",
    "dirs": "Folders of data in the project, each in its own layer.",
    "allow_secrets": "Files that may enter the image although they contain credentials.",
    "secrets": "Build secrets: a name, and the file on this machine that contains it.",
    "log_size_max": "How large the log of a job becomes, such as 500m; 0 is no limit.",
    "push": "The registry that images go to.",
    "cdi_spec_dirs": "Folders with CDI specs, in addition to the usual ones.",
    "db_url": "Where the history of jobs is: a file for SQLite, or postgresql://...",
    "image_store": "A folder on a local disk in which images are stored.",
    "layer_files": "The folder in which layers are kept as files for stores that may vanish.",
}
_RUN = {
    "env": "Variables and their values, which the history keeps.",
    "pass_env": "Names of variables that containers get with the value that they have here.",
    "volumes": "Mounts: SOURCE:TARGET[:OPTIONS].",
    "shm_size": "The size of /dev/shm, such as 8g.",
    "workdir": "The folder in the container in which the command starts.",
    "podman_args": "More options for `podman run`.",
    "caches": "false: throw away what programs put into ~/.cache.",
}


def all_schemas() -> dict[str, str]:
    """Return the text of each schema, by the name of its file."""
    made = {PROJECT: _project(), USER: _user(), PYPROJECT: _pyproject()}
    return {name: json.dumps(schema, indent=1) + "\n" for name, schema in made.items()}


def _project() -> Schema:
    schema = json_schema.of_class(config.ProjectFile, _DESCRIBED)
    schema["properties"] = {"layers": _layers(), "run": _run(), "targets": _targets(), **schema["properties"]}
    return {"$schema": _DIALECT, "title": "ocicaliban.toml", **schema}


def _user() -> Schema:
    schema = json_schema.of_class(user_config.UserFile, _DESCRIBED)
    schema["properties"] = {"run": _run(), "targets": _targets(), **schema["properties"]}
    return {"$schema": _DIALECT, "title": "ocicaliban's config.toml", **schema}


def _pyproject() -> Schema:
    ours: Schema = {"$ref": PROJECT}
    tool = {"type": "object", "properties": {"ocicaliban": ours}}
    return {"$schema": _DIALECT, "type": "object", "properties": {"tool": tool}}


def _run() -> Schema:
    one = json_schema.of_class(RunSettings, _RUN)
    whole = {**one, "description": "What containers on this machine get."}
    return whole | {"additionalProperties": {**one, "description": "The same for the mode of this name."}}


def _targets() -> Schema:
    slurm = {**json_schema.of_class(Options), "description": "What jobs ask a Slurm cluster for."}
    return {"type": "object", "properties": {"slurm": slurm}}


def _layers() -> Schema:
    recipes = {}
    for folder in sorted(catalog.builtin_layers().iterdir()):
        if not (folder / loader.FILE).is_file():
            continue
        recipe = loader.load_recipe(folder, catalog.BUILT_IN)
        recipes[recipe.name] = {
            "type": "object",
            "description": recipe.summary,
            "properties": {name: _param(param) for name, param in recipe.params.items()},
            "additionalProperties": False,
        }
    text = "Parameters of recipes, by the recipe's name. A value may be a table with the keys all, cpu and gpu."
    # A copy of a recipe in the project, and recipes of its own, have other parameters.
    return {
        "type": "object",
        "description": text,
        "properties": recipes,
        "additionalProperties": {"type": "object"},
    }


def _param(param: Param) -> dict[str, Any]:
    plain = {
        "string": {"type": "string"},
        "bool": {"type": "boolean"},
        "int": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "string"}},
    }[param.type]
    by_kind = {
        "type": "object",
        "properties": {key: plain for key in ("all", "cpu", "gpu")},
        "additionalProperties": False,
    }
    text = {"description": param.help} if param.help else {}
    return {"anyOf": [plain, by_kind], **text}
