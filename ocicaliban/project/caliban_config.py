"""Read Caliban's project configuration, `.calibanconfig.json`."""

from __future__ import annotations

import re
from pathlib import Path

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.jsonc import read_json
from ocicaliban.formats.key_lines import Keys
from ocicaliban.formats.toml import read_text
from ocicaliban.model.project import Project
from ocicaliban.reporter import Reporter

_PARAMETERS = {"apt_packages": ("apt", "packages"), "base_image": ("base", "image")}
"""The recipe and its parameter that each key sets."""
RIVALS = {("base", "image"): "bootstrap"}
"""The parameter of the same recipe that excludes one of these."""
_IGNORED = {
    "build_time_credentials": "use [secrets] in ocicaliban.toml: the build sees the files, and no image keeps them",
    "default_mode": "a GPU is used if there is one; --gpu and --nogpu override this",
    "julia_version": "install Julia by a recipe of your own in layers/",
    "gcloud": "building and running do not need it",
    "project_id": "building and running do not need it",
    "cloud_key": "building and running do not need it",
    "mlflow_config": "set MLFLOW_TRACKING_URI in the script, or by --podman-args",
}
"""The other keys that Caliban knows, each with what to do instead."""
_DLVM = re.compile(r"dlvm:([a-z0-9]+-(?:cpu|gpu))(?:-(\d+)\.(\d+))?")


def load(path: Path, reporter: Reporter) -> Project:
    """Return the project that Caliban's file `path` in its folder describes.

    `reporter` gets a note for each key that has no effect. Raises UsageError with file, line and key for a mistake.
    """
    text = read_text(path)
    try:
        raw = read_json(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{path}: not valid JSON: {exc}", "use JSON; comments are allowed") from exc
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected an object", '{"apt_packages": ["git"]}')
    layers: dict[str, dict[str, object]] = {}
    for key, value in raw.items():
        if key in _IGNORED:
            reporter.note(f"{path.name}: '{key}' has no effect: {_IGNORED[key]}")
        elif key not in _PARAMETERS:
            near = nearest(key, (*_PARAMETERS, *_IGNORED))
            raise UsageError(f"{_place(path, text, key)}: unknown key '{key}'", f"{near} Otherwise remove the key.")
        elif value is not None:
            recipe, parameter = _PARAMETERS[key]
            layers[recipe] = {parameter: _image(value) if key == "base_image" else value}
    return Project(root=path.parent, layers=layers)


def sets(keys: Keys) -> bool:
    """Whether a key of Caliban's file sets the parameter `keys` ("layers", RECIPE, NAME)."""
    return keys[1:3] in _PARAMETERS.values()


def place(path: Path, keys: Keys) -> str:
    """Return `PATH:LINE` of the key in the file `path` that sets the parameter `keys` ("layers", RECIPE, NAME)."""
    theirs = next((name for name, ours in _PARAMETERS.items() if ours == keys[1:3]), "")
    return _place(path, read_text(path), theirs)


def _place(path: Path, text: str, key: str) -> str:
    matches = (number for number, line in enumerate(text.splitlines(), 1) if f'"{key}"' in line)
    line = next(matches, 0)
    return f"{path}:{line}" if line else str(path)


def _image(value: object) -> object:
    """Expand `{}` to cpu and gpu, and `dlvm:LIBRARY-cpu-VERSION` to the name of a deep learning image."""
    if isinstance(value, str) and "{}" in value:
        value = {"cpu": value, "gpu": value}
    if isinstance(value, dict):
        images = {variant: image for variant, image in value.items() if image is not None}
        return {
            variant: _image(image.replace("{}", variant)) if isinstance(image, str) else image
            for variant, image in images.items()
        }
    if isinstance(value, str) and (match := _DLVM.fullmatch(value)):
        version = f".{match[2]}-{match[3]}" if match[2] else ""
        return f"gcr.io/deeplearning-platform-release/{match[1]}{version}"
    return value
