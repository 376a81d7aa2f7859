"""A plan as people and programs read it; OCICALIBAN_GOLDEN=1 writes the golden files anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import plan_view
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base, Copy, Launch, Plan, PlannedLayer, Run, Tree, TreeEntry

GOLDEN = Path(__file__).parents[2] / "golden"
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
    golden("plan.txt", "\n".join(plan_view.lines(PLAN, there, {"source-copy": "changed: train.py"})) + "\n")


def test_a_plan_as_json() -> None:
    value = plan_view.as_json(PLAN, {"1" * 64: 12_345}, {"source-copy": "changed: train.py"})
    golden("plan.json", json.dumps(value, indent=2) + "\n")


def test_a_plan_of_nothing() -> None:
    plan = evolve(PLAN, layers=(), base=evolve(BASE, digest=""))
    assert plan_view.lines(plan, {}, {}) == (
        "base  not resolved             to be pulled: docker.io/library/python:3.12",
    )
    assert plan_view.as_json(plan, {}, {})["key"] == "0" * 64


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


def _copied(tree: Tree, *whole: str, folder: str = ".") -> list[str]:
    plan = evolve(PLAN, layers=(PlannedLayer(name="source-copy", steps=(Copy(tree="t", to="/app"),), key="1" * 64),))
    text = plan_view.containerfile(plan, {"t": plan_view.Source(folder=folder, tree=tree, whole=frozenset(whole))})
    return [line for line in text.splitlines() if line.startswith(("COPY", "RUN"))]


def _tree(*entries: TreeEntry) -> Tree:
    return Tree(root=Path("/p"), digest="t", entries=entries)


def test_a_containerfile_names_exactly_the_files_of_a_tree() -> None:
    tree = _tree(
        TreeEntry(path="a", kind="dir"),
        TreeEntry(path="a/1.py", kind="file"),
        TreeEntry(path="a/link", kind="link", digest="1.py"),
        TreeEntry(path="b", kind="dir"),
        TreeEntry(path="b/deep", kind="dir"),
        TreeEntry(path="b/deep/2.py", kind="file"),
        TreeEntry(path="top.py", kind="file"),
    )
    assert _copied(tree, "b", "b/deep") == [
        """RUN ["/bin/sh", "-ec", "mkdir -p '/app'\\nmkdir -p '/app/a'\\nln -s '1.py' '/app/a/link'"]""",
        'COPY ["b", "/app/b"]',
        'COPY ["a/1.py", "/app/a/"]',
        'COPY ["top.py", "/app/"]',
    ]
    assert _copied(tree, "", "a", "b", folder="data") == ['COPY ["data", "/app"]']
    assert _copied(_tree(TreeEntry(path="top.py", kind="file"))) == ['COPY ["top.py", "/app/"]']
    assert _copied(_tree()) == ["""RUN ["/bin/sh", "-ec", "mkdir -p '/app'"]"""]


def test_a_containerfile_escapes_what_copy_would_expand() -> None:
    assert 'COPY ["[*][[]1].$x", "/app/"]'.replace("$", "\\\\$") in _copied(
        _tree(TreeEntry(path="*[1].$x", kind="file"))
    )
    with pytest.raises(UsageError, match="cannot name"):
        _copied(_tree(TreeEntry(path="a\\b", kind="file")))


def test_no_word_of_a_containerfile_is_longer_than_the_kernel_takes() -> None:
    step = Run(script="true", files=(("requirements.txt", "ä" * 300_000),))
    plan = evolve(PLAN, layers=(PlannedLayer(name="python", steps=(step,), key="1" * 64),))
    text = plan_view.containerfile(plan, {})
    words = json.loads(next(line for line in text.splitlines() if line.startswith("RUN")).removeprefix("RUN "))
    assert max(len(word.encode()) for word in words) < 131_072
    assert "".join(words[4:]) == "ä" * 300_000
    many = _tree(*(TreeEntry(path=f"{number:0100}", kind="file") for number in range(3000)))
    copies = [line for line in _copied(many) if line.startswith("COPY")]
    assert max(len(line) for line in copies) < 131_072
    assert sum(line.count(",") for line in copies) == 3000


def test_no_containerfile_while_the_base_is_not_there() -> None:
    with pytest.raises(UsageError, match="is not there yet"):
        plan_view.containerfile(evolve(PLAN, base=evolve(BASE, digest="")), {})
    with pytest.raises(UsageError, match="is not there yet"):
        plan_view.containerfile(evolve(PLAN, base=evolve(BASE, kind="bootstrap")), {})
