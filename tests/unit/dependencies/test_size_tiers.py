"""Locked requirements are divided by weight, and none is lost."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.dependencies.size_tiers import TIERS, Group, divided, heavy_packages

names = st.from_regex(r"[a-z][a-z0-9]{0,8}([-_.][a-z0-9]{1,4})?", fullmatch=True)


def _entry(name: str) -> str:
    return f"{name}==1.0 ; python_version >= '3' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


@given(st.dictionaries(names, st.integers(0, 10**9), max_size=12))
def test_every_entry_is_in_one_group_of_its_weight(weights: dict[str, int]) -> None:
    text = "".join(_entry(name) for name in weights)
    groups = divided(text, {name.replace("_", "-").replace(".", "-"): weight for name, weight in weights.items()})
    labels = [group.label for group in groups]
    assert labels == [label for label, _ in TIERS if label in labels]
    assert sorted("".join(group.requirements for group in groups).splitlines()) == sorted(text.splitlines())
    least = dict(TIERS)
    for group in groups:
        for line in group.requirements.splitlines():
            if not line.startswith(" "):
                assert weights[line.split("==")[0]] >= least[group.label]


def test_the_heaviest_are_at_the_bottom() -> None:
    text = _entry("six") + _entry("torch") + _entry("Num.py")
    groups = divided(text, {"torch": 800_000_000, "num-py": 20_000_000})
    assert groups == (Group("100MB+", _entry("torch")), Group("5MB+", _entry("Num.py")), Group("", _entry("six")))


def test_packages_of_one_index_alone_are_apart() -> None:
    text = _entry("six") + _entry("torch") + _entry("torchvision") + _entry("ours")
    pins = {"torch": "cpu=https://t/cpu", "torchvision": "cpu=https://t/cpu", "ours": "https://o/simple"}
    assert divided(text, {"torch": 800_000_000}, pins) == (
        Group("100MB+ from cpu", _entry("torch"), "cpu=https://t/cpu"),
        Group("", _entry("six")),
        Group("from cpu", _entry("torchvision"), "cpu=https://t/cpu"),
        Group("from o", _entry("ours"), "https://o/simple"),
    )


def test_nothing_is_required() -> None:
    assert divided("", {}) == divided("\n", {}) == ()


def test_weights_are_those_of_the_largest_archive() -> None:
    pylock = """
        [[packages]]
        name = "Big_One"
        wheels = [{ url = "a", size = 6_000_000 }, { url = "b", size = 9_000_000 }]
        sdist = { url = "c", size = 99_000_000 }
        [[packages]]
        name = "source-only"
        sdist = { url = "d", size = 5_000_000 }
        [[packages]]
        name = "small"
        wheels = [{ url = "e", size = 4_999_999 }]
        [[packages]]
        name = "unknown"
        wheels = [{ url = "f" }]
        [[packages]]
        name = "folder"
        directory = { path = "." }
    """
    assert heavy_packages(tomllib.loads(pylock)) == {"big-one": 9_000_000, "source-only": 5_000_000}
    assert heavy_packages({}) == {}
