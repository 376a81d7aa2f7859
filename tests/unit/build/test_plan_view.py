"""A plan as people and programs read it; OCICALIBAN_GOLDEN=1 replaces the golden files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from attrs import evolve

from ocicaliban.build import plan_view
from ocicaliban.build.plan_view import Stock
from ocicaliban.model.image import Base, Launch, Plan, PlannedLayer
from tests.plans import BASE, PLAN

GOLDEN = Path(__file__).parents[2] / "golden"


NOTHING = Stock(sizes={}, reasons={})


def golden(name: str, text: str) -> None:
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_a_plan_as_text() -> None:
    there = {"0" * 64: 220_000_000, "1" * 64: 12_345}
    golden(
        "plan.txt",
        "\n".join(plan_view.stack_lines(PLAN, Stock(sizes=there, reasons={"source-copy": "changed: train.py"}))) + "\n",
    )


def test_a_plan_as_json() -> None:
    value = plan_view.as_json(PLAN, Stock(sizes={"1" * 64: 12_345}, reasons={"source-copy": "changed: train.py"}))
    golden("plan.json", json.dumps(value, indent=2) + "\n")


def test_a_plan_of_nothing() -> None:
    plan = evolve(PLAN, layers=(), base=evolve(BASE, digest=""))
    assert plan_view.stack_lines(plan, NOTHING) == (
        "base  not resolved             to be pulled: docker.io/library/python:3.12",
    )
    assert plan_view.as_json(plan, NOTHING)["key"] == "0" * 64


def test_the_difference_of_two_modes() -> None:
    base = Base(kind="local", reference="b", digest="1")
    layers = {name: PlannedLayer(name=name, steps=(), key=name) for name in ("apt", "python", "mount", "copy")}
    other_python = PlannedLayer(name="python", steps=(), key="another")

    def mode(name: str, *stack: PlannedLayer) -> Plan:
        return Plan(mode=name, base=base, base_key="k", layers=stack, launch=Launch())

    shell = mode("shell", layers["apt"], layers["python"], layers["mount"])
    run = mode("run", layers["apt"], other_python, layers["copy"])
    for one, other in ((shell, run), (run, shell)):
        lines = plan_view.difference(one, other, ("a.log", "data/"), (".git/", "x/__pycache__/"), mounts="shell")
        assert sorted(lines[:4]) == [
            "in both                base, apt",
            "in both, not the same  python",
            "in run only            copy",
            "in shell only          mount",
        ]
        assert lines[4:] == (
            *("", "seen in shell, and left out of the image of run:", "  a.log", "  data/"),
            *("", "left out of every image: .git, __pycache__"),
        )
    assert plan_view.difference(shell, shell) == ("in both  base, apt, python, mount",)


def test_a_layer_whose_files_are_mounted_is_neither_stored_nor_missing() -> None:
    stock = Stock(sizes={}, reasons={"source-copy": "never built here"}, mounted=frozenset({"source-copy"}))
    lines = plan_view.stack_lines(PLAN, stock)
    assert [line.split()[-1] for line in lines if line.startswith("source-copy")] == ["mounted"]
    [layer] = (each for each in plan_view.as_json(PLAN, stock)["layers"] if each["name"] == "source-copy")  # type: ignore[attr-defined]
    assert (layer["present"], layer["mounted"]) == (False, True)
