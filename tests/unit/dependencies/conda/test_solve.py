"""What is asked of rattler, and what is said without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies.conda import calls, solve
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.solve import CondaTarget
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.9.2", platform="linux/amd64", libc="2.36")
CPU = CondaTarget(base=BASE, variant="cpu")


def test_without_rattler_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "environment.yml"
    path.write_text("dependencies: [python]\n")
    monkeypatch.setattr(calls, "available", lambda: False)
    with pytest.raises(
        UsageError, match=r"environment\.yml declares a conda environment, which needs py-rattler"
    ) as told:
        solve.resolve(EnvironmentYml(root=tmp_path, path=path), CPU, None)
    assert "py-rattler" in told.value.hint


@pytest.mark.parametrize(
    ("target", "cuda"),
    [(CPU, []), (evolve(CPU, variant="gpu"), ["12"]), (evolve(CPU, variant="gpu", cuda="12.8"), ["12.8"])],
)
def test_only_an_image_for_gpus_has_a_driver(target: CondaTarget, cuda: list[str]) -> None:
    said = solve.virtual_packages(target)
    assert [version for name, version, _ in said if name == "__cuda"] == cuda
    assert ("__glibc", "2.36", "0") in said and ("__archspec", "1", "x86_64") in said
