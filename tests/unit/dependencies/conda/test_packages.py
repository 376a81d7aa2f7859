"""Locked conda packages: their text, what Python needs, and their layers."""

from __future__ import annotations

import pytest
from attrs import evolve

from ocicaliban.dependencies.conda import packages
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.errors import UsageError

URL = "https://conda.anaconda.org/conda-forge"


def package(path: str, size: int = 0, *, module: bool = False, runtime: bool = False) -> CondaPackage:
    return CondaPackage(url=f"{URL}/{path}", sha256="a" * 64, size=size, module=module, runtime=runtime)


PYTHON = package("linux-64/python-3.12.4-h194c7f8_0_cpython.conda", 31_000_000)
OPENSSL = package("linux-64/openssl-3.3.1-h4ab18f5_1.conda", 2_900_000)
NUMPY = package("linux-64/numpy-1.26.4-py312heda63a1_0.conda", 7_500_000, module=True)
MKL = package("linux-64/mkl-2023.2.0-h84fe81f_50496.conda", 164_000_000)
SIX = package("noarch/six-1.16.0-pyh6c4a22f_0.tar.bz2", 14_000, module=True)


def test_a_packages_name_and_version_are_those_of_its_file() -> None:
    assert (PYTHON.name, PYTHON.version, PYTHON.subdir) == ("python", "3.12.4", "linux-64")
    assert (SIX.name, SIX.version, SIX.subdir, SIX.file_stem) == ("six", "1.16.0", "noarch", "six-1.16.0-pyh6c4a22f_0")
    with pytest.raises(UsageError, match="not the address of a conda package"):
        package("linux-64/six.whl").name  # noqa: B018


def test_the_text_of_a_lock_is_read_back() -> None:
    all_of_them = (evolve(PYTHON, runtime=True), NUMPY, SIX)
    text = packages.to_text(all_of_them)
    assert text.splitlines()[:2] == [PYTHON.url, f"    sha256:{'a' * 64} 31000000 runtime"]
    assert packages.from_text(text) == all_of_them
    assert packages.from_text("") == ()


def test_a_damaged_text_is_refused() -> None:
    with pytest.raises(UsageError, match="does not describe the package"):
        packages.from_text(f"{PYTHON.url}\n    sha256:abc 1\n")


def test_what_python_needs_comes_first_then_the_heaviest() -> None:
    depends = {"python": ("openssl",), "openssl": ("ca-certificates",), "numpy": ("python",)}
    marked = packages.with_runtime((SIX, MKL, NUMPY, OPENSSL, PYTHON), depends)
    assert [(label, [each.name for each in group]) for label, group in packages.divided(marked)] == [
        ("python", ["openssl", "python"]),
        ("100MB+", ["mkl"]),
        ("5MB+", ["numpy"]),
        ("", ["six"]),
    ]


def test_without_python_there_is_no_layer_for_it() -> None:
    marked = packages.with_runtime((MKL, OPENSSL), {})
    assert [label for label, _ in packages.divided(marked)] == ["100MB+", ""]
    assert packages.python_version(marked) == "" and packages.python_version((PYTHON,)) == "3.12.4"


def test_pip_knows_modules_by_their_names_on_pypi() -> None:
    torch = package("linux-64/pytorch-2.3.0-py3.12_cpu_0.tar.bz2", module=True)
    assert packages.provided_modules((PYTHON, OPENSSL, NUMPY, torch)) == ("numpy==1.26.4", "torch==2.3.0")


@pytest.mark.parametrize(
    ("build", "module"),
    [
        ("py312heda63a1_0", True), ("pyh6c4a22f_0", True), ("py_0", True), ("py3.12_cpu_0", True),
        ("cpu_mkl_py311_h1234567_100", True), ("h4ab18f5_1", False), ("hb9d3cd8_2_cpython", False), ("0", False),
    ],
)  # fmt: skip
def test_the_build_tells_modules(build: str, module: bool) -> None:
    assert package(f"linux-64/x-1-{build}.conda").looks_like_module is module
