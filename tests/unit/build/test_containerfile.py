"""A plan as a Containerfile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.containerfile import CopiedTree, as_containerfile
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Copy, PlannedLayer, Run, Tree, TreeEntry
from tests.plans import BASE, PLAN


def _copied(tree: Tree, *whole: str, folder: str = ".") -> list[str]:
    plan = evolve(PLAN, layers=(PlannedLayer(name="source-copy", steps=(Copy(tree="t", to="/app"),), key="1" * 64),))
    text = as_containerfile(plan, {"t": CopiedTree(folder=folder, tree=tree, whole=frozenset(whole))})
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
    text = as_containerfile(plan, {})
    words = json.loads(next(line for line in text.splitlines() if line.startswith("RUN")).removeprefix("RUN "))
    assert max(len(word.encode()) for word in words) < 131_072
    assert "".join(words[4:]) == "ä" * 300_000
    many = _tree(*(TreeEntry(path=f"{number:0100}", kind="file") for number in range(3000)))
    copies = [line for line in _copied(many) if line.startswith("COPY")]
    assert max(len(line) for line in copies) < 131_072
    assert sum(line.count(",") for line in copies) == 3000


def test_no_containerfile_while_the_base_is_not_there() -> None:
    with pytest.raises(UsageError, match="does not have the base image"):
        as_containerfile(evolve(PLAN, base=evolve(BASE, digest="")), {})
    with pytest.raises(UsageError, match="does not have the base image"):
        as_containerfile(evolve(PLAN, base=evolve(BASE, kind="bootstrap")), {})


def test_a_layer_whose_files_do_not_exist_yet_is_refused() -> None:
    layer = PlannedLayer(name="conda python", steps=(Copy(tree="made", to="/opt/conda"),), key="1" * 64)
    with pytest.raises(UsageError, match="cannot hold the layer 'conda python'"):
        as_containerfile(evolve(PLAN, layers=(layer,)), {})


def test_the_trees_that_a_step_sees_are_written_from_the_context_and_removed() -> None:
    tree = _tree(
        TreeEntry(path="study", kind="dir"),
        TreeEntry(path="study/__init__.py", kind="file"),
        TreeEntry(path="setup.py", kind="file", size=9),
    )
    step = Run(script="build", trees=(("/usr/app", "t"),))
    plan = evolve(PLAN, layers=(PlannedLayer(name="project", steps=(step,), key="1" * 64),))
    text = as_containerfile(plan, {"t": CopiedTree(folder=".", tree=tree, whole=frozenset())})
    line = next(line for line in text.splitlines() if line.startswith("RUN"))
    assert line.startswith("RUN --mount=type=bind,source=.,target=/dev/oc-context-0 [")
    words = json.loads(line[line.index("[") :])
    assert words[2].endswith("sh -eu /dev/oc/tree-0\nbuild\ncd / && rm -rf '/usr/app'")
    assert words[-1] == (
        "mkdir -p '/usr/app'\nmkdir -p '/usr/app/study'\n: > '/usr/app/study/__init__.py'\n"
        "cp '/dev/oc-context-0/setup.py' '/usr/app/setup.py'\n"
    )
    with pytest.raises(UsageError, match="cannot hold the layer 'project'"):
        as_containerfile(plan, {})
