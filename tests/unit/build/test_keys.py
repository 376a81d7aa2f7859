"""What decides the key of a layer."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve, fields

from ocicaliban.build import keys
from ocicaliban.model.image import Configure, Copy, Run, Step

STEPS: tuple[Step, ...] = (Run(script="true"), Copy(tree="1d", to="/usr/app"), Configure())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_each_field_of_a_step_is_part_of_the_key(step: Any) -> None:
    """A field that `keys` does not write would let a layer be reused that was made in another way."""
    made = {keys.layer_key("base", (step,))}
    # Where the changes of a script lie does not change them. The folders that are mounted have other keys, with it.
    every = [each for each in fields(type(step)) if each.name != "within"]
    for each in every:
        old = getattr(step, each.name)
        pairs = each.name in ("env", "files")
        new = f"{old}x" if isinstance(old, str) else (("A", "b"),) if pairs else ("x",)
        made.add(keys.layer_key("base", (evolve(step, **{each.name: new}),)))
    assert len(made) == 1 + len(every)


def test_steps_of_different_kinds_have_different_keys() -> None:
    assert len({keys.layer_key("base", (step,)) for step in STEPS}) == len(STEPS)


def test_the_key_depends_on_the_layer_below_and_on_the_order() -> None:
    one, other = STEPS[:2]
    assert keys.layer_key("base", (one, other)) != keys.layer_key("base", (other, one))
    assert keys.layer_key("base", (one,)) != keys.layer_key("another base", (one,))
