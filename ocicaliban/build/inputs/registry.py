"""All kinds of input, in the order in which their providers are asked."""

from __future__ import annotations

from ocicaliban.build.inputs import (
    command,
    conda,
    cuda,
    data,
    debian_packages,
    interpreter,
    jupyter,
    papermill,
    postbuild,
    project,
    requirements,
    shell,
    source,
)
from ocicaliban.model.recipe import Recipe

# Those that resolve something come first: the lock is written before the project's files are read.
PROVIDERS = (
    debian_packages.PROVIDER,
    conda.PROVIDER,
    requirements.PROVIDER,
    project.PROVIDER,
    cuda.PROVIDER,
    jupyter.PROVIDER,
    papermill.PROVIDER,
    interpreter.PROVIDER,
    command.PROVIDER,
    shell.PROVIDER,
    data.PROVIDER,
    source.PROVIDER,
    postbuild.PROVIDER,
)


def layer_words(recipe: Recipe) -> tuple[str, ...]:
    """Return, in words, what a recipe makes a layer of each."""
    return tuple(each.layers for each in PROVIDERS if each.kind in recipe.inputs and each.layers)
