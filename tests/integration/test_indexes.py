"""Two package indexes that hold other packages by the same names: each is asked only for its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folders import write
from tests.indexes import PackageIndex, serving, wheel
from tests.integration.program import CONFIG, ok

# Both indexes have both packages; only one of each is the right one.
MAIN = (
    wheel("oc-common", "1.0", "WHERE = 'main'\n"),
    wheel("oc-other", "1.0", "WHERE = 'main'\n", requires=("oc-common",)),
    wheel("oc-own", "9.0", "WHERE = 'wrong'\n"),
)
OWN = (wheel("oc-common", "2.0", "WHERE = 'wrong'\n"), wheel("oc-own", "3.0", "WHERE = 'own'\n", ("oc-common",)))
RUN = "import oc_own, oc_other, oc_common\nprint(oc_own.WHERE, oc_other.WHERE, oc_common.WHERE)\n"


def _pyproject(main: PackageIndex, own: PackageIndex) -> str:
    return f"""
[project]
name = "demo"
version = "1"
requires-python = ">=3.9"
dependencies = ["oc-own", "oc-other"]
[tool.uv]
package = false
[[tool.uv.index]]
name = "main"
url = "{main.url}"
default = true
[[tool.uv.index]]
name = "own"
url = "{own.url}"
explicit = true
[tool.uv.sources]
oc-own = {{ index = "own" }}
"""


def _uv(folder: Path, main: PackageIndex, own: PackageIndex) -> None:
    write(folder, {"pyproject.toml": _pyproject(main, own)})


def _uv_lock(folder: Path, main: PackageIndex, own: PackageIndex) -> None:
    _uv(folder, main, own)
    subprocess.run(["uv", "lock", "--quiet", "--no-cache"], cwd=folder, check=True)
    assert ("sha256:" + own.digest("oc_own") in (folder / "uv.lock").read_text()) is own.hashes


def _poetry(folder: Path, main: PackageIndex, own: PackageIndex) -> None:
    write(
        folder,
        {
            "pyproject.toml": f"""
[tool.poetry]
name = "demo"
version = "1"
package-mode = false
[tool.poetry.dependencies]
python = "^3.9"
oc-own = {{ version = "^3", source = "own" }}
oc-other = "*"
[[tool.poetry.source]]
name = "main"
url = "{main.url}"
[[tool.poetry.source]]
name = "own"
url = "{own.url}"
priority = "explicit"
"""
        },
    )


def _pipfile(folder: Path, main: PackageIndex, own: PackageIndex) -> None:
    write(
        folder,
        {
            "Pipfile": f"""
[[source]]
name = "main"
url = "{main.url}"
verify_ssl = true
[[source]]
name = "own"
url = "{own.url}"
verify_ssl = true
[packages]
oc-own = {{ version = "*", index = "own" }}
oc-other = "*"
"""
        },
    )


FORMS: dict[str, Callable[[Path, PackageIndex, PackageIndex], None]] = {
    "pyproject.toml": _uv,
    "uv.lock": _uv_lock,
    "poetry": _poetry,
    "Pipfile": _pipfile,
}


@pytest.mark.parametrize("hashes", [True, False], ids=["with hashes", "without hashes"])
@pytest.mark.parametrize("form", FORMS)
def test_each_index_is_asked_only_for_its_own_packages(form: str, hashes: bool, base_lock: str, tmp_path: Path) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "run.py": RUN})
    with serving(*MAIN, hashes=hashes) as main, serving(*OWN, hashes=hashes) as own:
        FORMS[form](tmp_path, main, own)
        main.asked.clear()
        own.asked.clear()
        assert ok(tmp_path, "run", "run.py").stdout == "own main main\n"
        assert own.packages_asked() == {"oc-own"}
        assert main.packages_asked() - {"setuptools"} == {"oc-common", "oc-other"}
        lock = (tmp_path / "ocicaliban.lock").read_text()
        assert f'oc-own = "own={own.url}"' in lock
        for index, package in ((own, "oc_own"), (main, "oc_common"), (main, "oc_other")):
            assert f"--hash=sha256:{index.digest(package)}" in lock
