"""A plan as people and programs read it; OCICALIBAN_GOLDEN=1 writes the golden files anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

from attrs import evolve

from ocicaliban import render
from ocicaliban.model import Base, Launch, Plan, PlannedLayer

GOLDEN = Path(__file__).parent.parent / "golden"
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


def golden(name: str, text: str) -> None:
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_a_plan_as_text() -> None:
    there = {"0" * 64: 220_000_000, "1" * 64: 12_345}
    golden("plan.txt", "\n".join(render.lines(PLAN, there, {"source-copy": "changed: train.py"})) + "\n")


def test_a_plan_as_json() -> None:
    value = render.as_json(PLAN, {"1" * 64: 12_345}, {"source-copy": "changed: train.py"})
    golden("plan.json", json.dumps(value, indent=2) + "\n")


def test_a_plan_of_nothing() -> None:
    plan = evolve(PLAN, layers=(), base=evolve(BASE, digest=""))
    assert render.lines(plan, {}, {}) == ("base  not resolved             docker.io/library/python:3.12",)
    assert render.as_json(plan, {}, {})["key"] == "0" * 64
