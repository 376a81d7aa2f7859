"""The lock is written, renewed and checked without a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from ocicaliban.app import lock as use_case
from ocicaliban.app.requests import LockRequest
from ocicaliban.build import base_image
from ocicaliban.dependencies import resolver
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Base
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock, Resolution

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

CPU = LockRequest(gpu_wanted=False)


@pytest.fixture(autouse=True)
def lock_of_one_kind_of_machine(world: World) -> None:
    base = lockfile.read_lock(world.project).base["cpu"]
    lockfile.write_lock(world.project, Lock().with_base("cpu", base))


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Resolve each name that a list of requirements has to the version in the index, or the locked one."""
    index = {"six": "1.16.0"}

    def resolve(declaration: Any, target: Any, locked: Resolution | None, *_: object) -> Resolution | None:
        if declaration is None:
            return None
        wanted = [name for name in index if name in declaration.path.read_text()]
        inputs = f"{' '.join(wanted)} {target.base.digest}"
        if locked and locked.inputs == inputs:
            return locked
        held = dict(line.split("==") for line in locked.requirements.split()) if locked else {}
        lines = (f"{name}=={held.get(name, index[name])}\n" for name in wanted)
        return Resolution(inputs=inputs, requirements="".join(lines))

    monkeypatch.setattr(resolver, "resolve", resolve)
    return index


def lines(request: LockRequest) -> list[str]:
    return [change.line for change in use_case.lock(request).changes]


def test_the_lock_is_written_checked_and_renewed(world: World, index: dict[str, str]) -> None:
    world.write({"requirements.txt": "six\n"})
    check = evolve(CPU, check=True)
    stale = use_case.lock(check).out_of_date
    assert stale and stale.message == "ocicaliban.lock is out of date: added six 1.16.0 (python, cpu)"
    assert "python" not in lockfile.read_lock(world.project).sections
    assert lines(CPU) == ["added six 1.16.0 (python, cpu)"]
    assert use_case.lock(check).out_of_date is None
    index["six"] = "1.17.0"
    assert lines(CPU) == []
    assert lines(evolve(CPU, upgrade=True, names=("six",))) == ["updated six 1.16.0 -> 1.17.0 (python, cpu)"]
    assert world.ran == []


def test_what_nothing_needs_any_more_is_removed_and_what_is_unknown_stays(world: World) -> None:
    held = lockfile.read_lock(world.project)
    for section, name in (("python", "cpu"), ("python", "cpu gone.py"), ("jupyter", "lab-gpu"), ("later", "cpu")):
        held = held.with_resolution(section, name, Resolution(inputs="", requirements="six==1\n"))
    lockfile.write_lock(world.project, held)
    assert lines(CPU) == ["removed six 1 (python, cpu)", "removed six 1 (python, cpu gone.py)"]
    assert {*lockfile.read_lock(world.project).sections} == {"later", "jupyter"}


def test_both_kinds_of_machines_are_locked_and_scripts_with_dependencies_of_their_own(world: World) -> None:
    header = '# /// script\n# dependencies = ["six"]\n# ///\n'
    world.write({"own.py": header, "requirements.txt": ""})
    both = evolve(CPU, gpu_wanted=True)
    with pytest.raises(UsageError, match=r"--script no\.py: there is no such file"):
        use_case.lock(evolve(both, scripts=("no.py",)))
    use_case.lock(evolve(both, scripts=("own.py",)))
    held = lockfile.read_lock(world.project)
    assert {*held.base} == {"cpu", "gpu"}
    assert {*held.sections["python"]} == {"cpu", "cpu own.py", "gpu", "gpu own.py"}
    assert lines(CPU) == []


def test_a_base_is_fetched_again_when_it_is_upgraded_alone_or_with_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[bool] = []

    def resolved(base: Base, *, fresh: bool, **_: object) -> Base:
        fetched.append(fresh)
        return evolve(base, digest=f"sha256:{len(fetched)}", python="3.11.2", platform="linux/amd64")

    monkeypatch.setattr(base_image, "resolved", resolved)
    monkeypatch.setattr(base_image, "still_holds", lambda *_: True)
    old = "sha256:" + "a" * 12
    assert lines(evolve(CPU, upgrade=True, names=("base",))) == [
        f"updated example.org/base:1 {old} -> sha256:1 (base, cpu)"
    ]
    assert lines(evolve(CPU, upgrade=True)) == ["updated example.org/base:1 sha256:1 -> sha256:2 (base, cpu)"]
    assert fetched == [True, True]


def test_a_check_makes_no_base_and_tells_a_missing_lock(world: World) -> None:
    (world.project / lockfile.NAME).unlink()
    fault = use_case.lock(evolve(CPU, check=True)).out_of_date
    assert fault and fault.message == "there is no ocicaliban.lock"
    assert not (world.project / lockfile.NAME).exists()
    lockfile.write_lock(world.project, Lock())
    fault = use_case.lock(evolve(CPU, check=True)).out_of_date
    assert fault and fault.message.startswith("ocicaliban.lock is out of date: added example.org/base:1")


def test_a_fault_leaves_the_lock_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write({"requirements.txt": "six\n"})
    before = (world.project / lockfile.NAME).read_bytes()

    def fails(*_: object) -> None:
        raise OcicalibanError("no such package")

    monkeypatch.setattr(resolver, "resolve", fails)
    with pytest.raises(OcicalibanError, match="no such package"):
        use_case.lock(CPU)
    assert (world.project / lockfile.NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"names": ("apt",)}, "one word too many: apt"),
        ({"check": True, "upgrade": True}, "--check and --upgrade exclude each other"),
    ],
)
def test_options_that_do_not_fit_are_refused(world: World, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        use_case.lock(evolve(CPU, **wrong))
