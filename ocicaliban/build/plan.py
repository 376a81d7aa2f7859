"""Orders the recipes, expands their steps and chains the layers' keys; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from attrs import asdict

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base, Configure, Copy, Launch, Plan, PlannedLayer, Run, Step
from ocicaliban.model.project import Project, Snapshot
from ocicaliban.model.recipe import Recipe, StepTemplate, Value
from ocicaliban.recipes import params

FORMAT = "ocicaliban-1"
"""Enters every key: raise it when the same steps would give other bytes."""


def _sha(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def order(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The recipes sorted by their `after`, otherwise as listed.

    Raises UsageError for a cycle, a recipe twice, or two that provide the same thing.
    """
    by_name = {recipe.name: recipe for recipe in recipes}
    if len(by_name) != len(recipes):
        twice = next(recipe.name for recipe in recipes if [r.name for r in recipes].count(recipe.name) > 1)
        raise UsageError(f"the mode lists the recipe '{twice}' twice", "once is enough")
    provided: dict[str, str] = {}
    for recipe in recipes:
        if recipe.provides:
            other = provided.setdefault(recipe.provides, recipe.name)
            if other != recipe.name:
                raise UsageError(f"'{other}' and '{recipe.name}' both provide the {recipe.provides}", "list only one")
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for recipe in recipes:
        sorter.add(recipe.name, *(name for name in recipe.after if name in by_name))
    try:
        sorter.prepare()
    except CycleError as exc:
        hint = "take one of them out of the other's 'after'"
        raise UsageError(f"a cycle in 'after': {' -> '.join(exc.args[1])}", hint) from exc
    rank = {recipe.name: index for index, recipe in enumerate(recipes)}
    ordered: list[Recipe] = []
    ready: list[str] = list(sorter.get_ready())
    while ready:
        name = min(ready, key=rank.__getitem__)
        ready.remove(name)
        ordered.append(by_name[name])
        sorter.done(name)
        ready.extend(sorter.get_ready())
    return tuple(ordered)


def base_key(base: Base) -> str:
    """The key below all layers; an unresolved base gets one that no image can have."""
    return _sha([FORMAT, "base", base.digest or f"unresolved {base.reference}", base.platform])


def _step(recipe: Recipe, step: StepTemplate, values: Mapping[str, Value]) -> Step:
    place = f"layers/{recipe.name}"

    def pairs(table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((key, params.text(value, values, place)) for key, value in table.items()))

    if step.do == "run":
        return Run(
            script=recipe.scripts[step.script],
            env=pairs(step.env),
            files=pairs(step.files),
            cache=step.cache,
            tools=step.tools,
            secrets=params.texts(step.secrets, values, place),
        )
    if step.do == "copy":
        return Copy(tree=params.text(step.tree, values, place), to=params.text(step.to, values, place))
    return Configure(
        env=pairs(step.env),
        path=step.path,
        workdir=params.text(step.workdir, values, place),
        entrypoint=params.texts(step.entrypoint, values, place),
        ports=step.ports,
    )


def _inputs(steps: tuple[Step, ...]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for step in steps:
        if isinstance(step, Run):
            found.append(("script", _sha(step.script)))
            found.extend((f"env {name}", value) for name, value in step.env)
            found.extend((name, _sha(content)) for name, content in step.files)
        elif isinstance(step, Copy):
            found.append((f"files in {step.to}", step.tree))
        else:
            found.append(("config", _sha(asdict(step))))
    return tuple(found)


def plan(project: Project, recipes: Sequence[Recipe], mode: str, snapshot: Snapshot) -> Plan:
    """The stack of layers that `recipes` make of `project` in the world of `snapshot`, and its launch.

    Raises UsageError where recipes or parameters do not fit together.
    """
    world: dict[str, Value] = {
        "gpu": snapshot.variant == "gpu",
        "cuda_libraries": snapshot.cuda_libraries,
        "lock": "".join(text for _, text in snapshot.requirements),
        "has_requirements": bool(snapshot.requirements),
        "jupyter_lock": snapshot.jupyter,
        "source_tree": snapshot.source,
        "command": snapshot.command,
        "has_command": bool(snapshot.command),
        "module": snapshot.module,
        "shell": snapshot.shell,
        "project": str(project.root),
    }
    repeated: dict[str, list[tuple[str, dict[str, Value]]]] = {
        "": [("", {})],
        "data": [(name, {"data_dir": name, "data_tree": digest}) for name, digest in snapshot.data],
        "requirements": [
            (label, {"lock": text, "first": number == 0}) for number, (label, text) in enumerate(snapshot.requirements)
        ],
        "source": [
            (label, {"source_tree": digest, "last": not label})
            for label, digest in snapshot.parts or (("", snapshot.source),)
        ],
    }
    trees = {digest for _, digest in (("", snapshot.source), *snapshot.parts, *snapshot.data)} - {""}
    bottom = base_key(snapshot.base)
    parent = bottom
    layers: list[PlannedLayer] = []
    launch = Launch()
    for recipe in order(recipes):
        given = params.resolve(recipe, project.layers.get(recipe.name, {}), snapshot.variant)
        kind = recipe.inputs[0] if recipe.inputs else ""
        if kind not in repeated:
            known = ", ".join(name for name in repeated if name)
            raise UsageError(f"layers/{recipe.name}: each = '{kind}' is not known", f"known: {known}")
        for label, instance in repeated[kind]:
            values = world | given | instance
            place = f"layers/{recipe.name}"
            steps = tuple(
                _step(recipe, step, values) for step in recipe.steps if params.holds(step.when, values, place)
            )
            if not steps:
                continue
            for step in steps:
                if isinstance(step, Copy) and step.tree not in trees:
                    raise UsageError(
                        f"{place}: a copy step's tree '{step.tree}' is none of the project's in this mode",
                        'tree = "${source_tree}" in a recipe source-copy, or "${data_tree}" in one of each = "data"',
                    )
            key = _sha([FORMAT, parent, [[type(step).__name__, asdict(step)] for step in steps]])
            name = f"{recipe.name} {label}" if label else recipe.name
            layers.append(PlannedLayer(name=name, steps=steps, key=key, inputs=_inputs(steps)))
            parent = key
        extra = recipe.launch
        values = world | given
        if params.holds(extra.when, values, f"layers/{recipe.name}"):
            place = f"layers/{recipe.name}"
            launch = Launch(
                command=params.texts(extra.command, values, place) or launch.command,
                env=(*launch.env, *((k, params.text(v, values, place)) for k, v in sorted(extra.env.items()))),
                mounts=(*launch.mounts, *(params.text(mount, values, place) for mount in extra.mounts)),
                ports=(*launch.ports, *extra.ports),
                devices=(*launch.devices, *extra.devices),
                workdir=params.text(extra.workdir, values, place) or launch.workdir,
            )
    return Plan(mode=mode, base=snapshot.base, base_key=bottom, layers=tuple(layers), launch=launch)
