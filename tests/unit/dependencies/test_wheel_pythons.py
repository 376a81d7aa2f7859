"""Which package lacks a wheel, by what uv says, and for which Pythons there is one."""

from __future__ import annotations

import pytest

from ocicaliban.dependencies.wheel_pythons import MissingWheel, missing_wheel, pythons_of

BUILD = """error: Failed to build `numpy==1.19.2`
  cause: The build backend returned an error
"""
TAGS = """error: No solution found when resolving dependencies
  cause: Because torch==1.7.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and you require torch==1.7.0,

hint: You require CPython 3.11 (`cp311`), but we only found wheels for `torch` (v1.7.0) with the following Python ABI
tags: `cp36m`, `cp37m`, `cp38`, `cp38m`
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (BUILD, MissingWheel(name="numpy", version="1.19.2", minors=None)),
        (BUILD.replace("build", "download and build", 1), MissingWheel(name="numpy", version="1.19.2", minors=None)),
        (TAGS, MissingWheel(name="torch", version="1.7.0", minors=(6, 7, 8))),
        ("error: No solution found when resolving dependencies", None),
        ("error: Failed to build `study @ file:///usr/app`", None),
        ("", None),
    ],
)
def test_the_package_without_a_wheel(said: str, expected: MissingWheel | None) -> None:
    assert missing_wheel(said) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["numpy-1.19.2-cp38-cp38-manylinux1_x86_64.whl", "numpy-1.19.2-cp36-cp36m-manylinux1_x86_64.whl"], (6, 8)),
        (["a-1-cp39-cp39-macosx_10_9_x86_64.whl", "a-1-cp38-cp38-manylinux2014_aarch64.whl"], ()),
        (["a-1-cp39-cp39-musllinux_1_2_x86_64.whl", "a-1-cp39-cp39-linux_x86_64.whl"], (9,)),
        (["a-1-cp312-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"], (12, 13, 14, 15)),
        (["a-1-py3-none-any.whl"], tuple(range(6, 16))),
        (["a-1-py2-none-any.whl", "a-1.tar.gz", "nonsense"], ()),
        (["a-1-cp310-cp310-win_amd64.whl", "a-1-pp39-pypy39_pp73-manylinux2014_x86_64.whl"], ()),
    ],
)
def test_the_pythons_of_wheels(names: list[str], expected: tuple[int, ...]) -> None:
    assert pythons_of(names, "x86_64") == expected
