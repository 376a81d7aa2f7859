"""Describe a recipe to people who do not know it: its purpose, its parameters, its steps; pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from ocicaliban.model.recipe import LaunchTemplate, Param, Recipe, StepTemplate


def recipe_lines(recipe: Recipe, place: str, modes: Sequence[str] = (), layers: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the lines about a recipe.

    `place` is its folder, and `modes` are the names of the modes that list it. `layers` say of what it makes a layer
    each.
    """
    out = [f"{recipe.name}: {recipe.summary}", ""]
    out.append(f"  {recipe.origin}, {place}")
    if modes:
        out.append(f"  in the modes {', '.join(modes)}")
    if recipe.after:
        out.append(f"  its layer comes after {', '.join(recipe.after)}, if the mode has them")
    if recipe.provides:
        out.append(f"  provides the {recipe.provides}; a mode can have only one recipe that does")
    if recipe.inputs:
        out.append(f"  inputs: {', '.join(recipe.inputs)}")
    out += [f"  one layer for each {each}" for each in layers]
    if recipe.params:
        out += ["", "Parameters, in ocicaliban.toml:", "", f"  [layers.{recipe.name}]"]
        for name, param in recipe.params.items():
            out += ["", *(f"  {line}" for line in _param(name, param))]
    for number, step in enumerate(recipe.steps, 1):
        out += ["", f"Step {number}: {_what(step)}{_condition(step.when)}"]
        out += [f"  {line}" for line in _step(step, recipe.scripts)]
    if launch := _launch(recipe.launch):
        out += ["", f"When a container starts{_condition(recipe.launch.when)}:", *(f"  {line}" for line in launch)]
    if recipe.origin != "project":
        eject = f"`ocicaliban layers eject {recipe.name}`"
        out += ["", f"{eject} copies it into the project's layers/, where you can edit it."]
    return tuple(out)


_WIDTH = 100
_EXAMPLES = {"string": '"..."', "list": '["...", "..."]', "bool": "true", "int": "1"}


def _toml(value: object) -> str:
    # TOML and JSON write strings, whole numbers, booleans and lists of strings alike.
    return json.dumps(value, ensure_ascii=False)


def _param(name: str, param: Param) -> list[str]:
    notes = [{"list": "list of strings", "int": "whole number"}.get(param.type, param.type)]
    if param.required:
        notes.append("required")
    if param.sort:
        notes.append("sorted, so that their order does not matter")
    example = param.example or _EXAMPLES[param.type]
    if param.default not in (None, "", ()):
        notes.append(f"default {_toml(param.default)}")
        example = param.example or _toml(param.default)
    return [
        f"# {', '.join(notes)}",
        *(f"# {line}" for line in textwrap.wrap(param.help, _WIDTH)),
        f"{name} = {example}",
    ]


def _condition(when: str) -> str:
    if not when:
        return ""
    return f", if {when[1:]} is not set" if when.startswith("!") else f", if {when} is set"


def _what(step: StepTemplate) -> str:
    if step.do == "run":
        return f"run {step.script} in the container"
    if step.do == "copy":
        return f"copy {step.tree} to {step.to}"
    return "configure the image"


def _step(step: StepTemplate, scripts: dict[str, str]) -> list[str]:
    out = [f"env {name} = {value}" for name, value in step.env.items()]
    out += [f"env {step.variables}"] if step.variables else []
    out += [f"sees {text} as /dev/oc/{name}" for name, text in step.files.items()]
    out += [f"sees {name} as /dev/oc/{name}" for name in step.programs]
    out += [
        f"sees the files {tree} in {folder}, and what it writes there is thrown away"
        for folder, tree in step.trees.items()
    ]
    out += [f"sees the host's {tool} as /dev/oc/{tool}" for tool in step.tools]
    out += [f"keeps {path} between builds, on the host" for path in step.cache]
    if step.root_only:
        out.append("makes files of root alone: the same layer for users without sub-ids")
    if step.singly:
        out.append(f"keeps the files of each package in {step.singly}, for containers on this machine")
    if step.secrets:
        out.append(f"sees the build secrets {_words(step.secrets)} below /dev/oc/secrets")
    if step.path:
        out.append(f"PATH begins with {':'.join(step.path)}")
    if step.workdir:
        out.append(f"working folder {step.workdir}")
    if step.entrypoint:
        out.append(f"entry point {_words(step.entrypoint)}")
    if step.ports:
        out.append(f"ports {_words(step.ports)}")
    if step.script:
        out += [f"| {line}".rstrip() for line in scripts.get(step.script, "").splitlines()]
    return out


def _launch(launch: LaunchTemplate) -> list[str]:
    out = [f"env {name} = {value}" for name, value in launch.env.items()]
    for word, values in (("mount", launch.mounts), ("port", launch.ports), ("device", launch.devices)):
        out += [f"{word} {value}" for value in values]
    if launch.command:
        out.append(f"command {_words(launch.command)}")
    if launch.workdir:
        out.append(f"working folder {launch.workdir}")
    if launch.capabilities:
        out.append(f"capabilities {_words(launch.capabilities)}")
    return out


def _words(value: tuple[str, ...] | str) -> str:
    return value if isinstance(value, str) else " ".join(value)
