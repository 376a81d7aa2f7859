"""Turn recipes and a snapshot of the world into a plan; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ocicaliban.build.keys import base_key, layer_key, step_digests
from ocicaliban.errors import SettingError, UsageError, nearest
from ocicaliban.model.image import Configure, Copy, Launch, Plan, PlannedLayer, Run, Step
from ocicaliban.model.project import Instance, Project, Snapshot
from ocicaliban.model.recipe import Recipe, StepTemplate, Value
from ocicaliban.project.config import setting_place
from ocicaliban.recipes import params


def plan(project: Project, recipes: Sequence[Recipe], mode: str, snapshot: Snapshot) -> Plan:
    """Return the stack of layers that `recipes` make, and the launch of a container.

    Raises UsageError if recipes or parameters do not fit together.
    """
    world = _world(project, snapshot)
    bottom = base_key(snapshot.base)
    layers: list[PlannedLayer] = []
    launch = Launch()
    for recipe in _ordered(project, recipes, mode):
        given = params.resolve(recipe, project.layers.get(recipe.name, {}), snapshot.variant)
        for instance in _instances(recipe, snapshot):
            steps = _steps(recipe, world | given | dict(instance.values), snapshot)
            if steps:
                parent = layers[-1].key if layers else bottom
                name = f"{recipe.name} {instance.label}" if instance.label else recipe.name
                layer = PlannedLayer(
                    name=name,
                    steps=steps,
                    key=layer_key(parent, steps),
                    inputs=step_digests(steps),
                    hint=next((step.hint for step in recipe.steps if step.hint), ""),
                    kinds=(*recipe.inputs, *recipe.former_inputs, *filter(None, [recipe.provides])),
                )
                layers.append(layer)
        launch = _added_launch(launch, recipe, world | given)
    return Plan(mode=mode, base=snapshot.base, base_key=bottom, layers=tuple(layers), launch=launch)


def launches(project: Project, recipes: Sequence[Recipe], snapshot: Snapshot) -> tuple[tuple[Recipe, Launch], ...]:
    """Return what each recipe adds to the launch of a container. Raises UsageError as `plan` does."""
    world = _world(project, snapshot)
    return tuple(
        (
            recipe,
            _added_launch(
                Launch(),
                recipe,
                world | params.resolve(recipe, project.layers.get(recipe.name, {}), snapshot.variant),
            ),
        )
        for recipe in recipes
    )


def _world(project: Project, snapshot: Snapshot) -> dict[str, Value]:
    return {"gpu": snapshot.variant == "gpu", "project": str(project.root), **snapshot.values}


def _ordered(project: Project, recipes: Sequence[Recipe], mode: str) -> tuple[Recipe, ...]:
    try:
        return order(recipes)
    except SettingError as fault:
        place = f"{setting_place(project.root, ('modes', mode))}: " if mode in project.modes else ""
        raise UsageError(f"{place}{fault.message}", fault.hint) from fault


def order(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Return the recipes in the order of their layers: sorted by `after`, otherwise as listed.

    Raises UsageError for a cycle, SettingError for a recipe listed twice, or two that provide the same thing.
    """
    by_name = {recipe.name: recipe for recipe in recipes}
    _check_unique(recipes, by_name)
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for recipe in recipes:
        sorter.add(recipe.name, *(name for name in recipe.after if name in by_name))
    try:
        sorter.prepare()
    except CycleError as exc:
        hint = "remove one of them from the other's 'after'"
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


def _check_unique(recipes: Sequence[Recipe], by_name: Mapping[str, Recipe]) -> None:
    if len(by_name) != len(recipes):
        names = [recipe.name for recipe in recipes]
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingError(f"the mode lists the recipe '{twice}' twice", "list it once", keys=("modes",))
    provided: dict[str, str] = {}
    for recipe in recipes:
        if recipe.provides:
            other = provided.setdefault(recipe.provides, recipe.name)
            if other != recipe.name:
                message = f"'{other}' and '{recipe.name}' both provide the {recipe.provides}"
                raise SettingError(message, "list only one", keys=("modes",))


_ONE_LAYER = (Instance(label="", values={}),)


def _instances(recipe: Recipe, snapshot: Snapshot) -> tuple[Instance, ...]:
    """Return the instances of the recipe's inputs: it makes one layer of each."""
    for kind in recipe.inputs:
        if kind not in snapshot.instances:
            message = f"layers/{recipe.name}: inputs: there is no kind of input '{kind}'"
            raise UsageError(message, nearest(kind, snapshot.instances))
    several = [kind for kind in recipe.inputs if snapshot.instances[kind] is not None]
    if len(several) > 1:
        message = f"layers/{recipe.name}: inputs: '{several[0]}' and '{several[1]}' both make several layers"
        raise UsageError(message, "make two recipes")
    instances = snapshot.instances[several[0]] if several else None
    return _ONE_LAYER if instances is None else instances


def _steps(recipe: Recipe, values: Mapping[str, Value], snapshot: Snapshot) -> tuple[Step, ...]:
    """Return the steps of one layer, with the values in place. Raises UsageError for a tree that does not exist."""
    place = f"layers/{recipe.name}"
    steps = tuple(
        _step(recipe, step, values, one_uid=snapshot.one_uid)
        for step in recipe.steps
        if params.condition_holds(step.when, values, place)
    )
    for step in steps:
        trees = copied_trees(step)
        missing = [tree for tree in trees if snapshot.trees is not None and tree not in snapshot.trees]
        if missing:
            kind = "copy" if isinstance(step, Copy) else "run"
            raise UsageError(
                f"{place}: a {kind} step's tree '{missing[0]}' is not a tree of the project in this mode",
                'write tree = "${source_tree}" with inputs = "source", or tree = "${data_tree}" with inputs = "data"',
            )
    return steps


def copied_trees(step: Step) -> tuple[str, ...]:
    """Return the digests of the trees that a step copies, or that its script sees."""
    if isinstance(step, Run):
        return tuple(digest for _, digest in step.trees)
    return (step.tree,) if isinstance(step, Copy) else ()


def _step(recipe: Recipe, step: StepTemplate, values: Mapping[str, Value], *, one_uid: bool) -> Step:
    place = f"layers/{recipe.name}"

    def pairs(table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((key, params.substituted(value, values, place)) for key, value in table.items()))

    if step.do == "run":
        return Run(
            script=recipe.scripts[step.script],
            env=pairs(step.env),
            files=tuple(sorted((*pairs(step.files), *((name, recipe.scripts[name]) for name in step.programs)))),
            cache=step.cache,
            tools=step.tools,
            secrets=params.substituted_list(step.secrets, values, place),
            index=params.substituted(step.index, values, place),
            uv_settings=params.substituted(step.uv_settings, values, place),
            trees=tuple(
                (params.substituted(folder, values, place), params.substituted(tree, values, place))
                for folder, tree in sorted(step.trees.items())
            ),
            loses_owners=one_uid and not step.root_only,
            within=params.substituted(step.within, values, place),
            singly=step.singly,
        )
    if step.do == "copy":
        return Copy(tree=params.substituted(step.tree, values, place), to=params.substituted(step.to, values, place))
    variables = (each.partition("=") for each in params.substituted_list(step.variables, values, place))
    return Configure(
        env=tuple(sorted({**{name: value for name, _, value in variables}, **dict(pairs(step.env))}.items())),
        path=params.substituted_list(step.path, values, place),
        workdir=params.substituted(step.workdir, values, place),
        entrypoint=params.substituted_list(step.entrypoint, values, place),
        ports=step.ports,
    )


def _added_launch(launch: Launch, recipe: Recipe, values: Mapping[str, Value]) -> Launch:
    """Return the launch with what a recipe adds to it."""
    extra, place = recipe.launch, f"layers/{recipe.name}"
    if not params.condition_holds(extra.when, values, place):
        return launch
    env = ((name, params.substituted(value, values, place)) for name, value in sorted(extra.env.items()))
    return Launch(
        command=params.substituted_list(extra.command, values, place) or launch.command,
        env=(*launch.env, *env),
        mounts=(*launch.mounts, *(params.substituted(mount, values, place) for mount in extra.mounts)),
        ports=(*launch.ports, *extra.ports),
        devices=(*launch.devices, *extra.devices),
        workdir=params.substituted(extra.workdir, values, place) or launch.workdir,
        capabilities=tuple(dict.fromkeys((*launch.capabilities, *extra.capabilities))),
    )
