"""A plan for the tests of its views."""

from __future__ import annotations

from ocicaliban.model.image import Base, Launch, Plan, PlannedLayer

BASE = Base(kind="registry", reference="docker.io/library/python:3.12", digest="sha256:" + "ab" * 32, python="3.12.1")
PLAN = Plan(
    mode="run",
    base=BASE,
    base_key="0" * 64,
    layers=(
        PlannedLayer(name="apt", steps=(), key="1" * 64, inputs=(("step 1", "aa"),)),
        PlannedLayer(name="source-copy", steps=(), key="2" * 64),
    ),
    launch=Launch(),
)
