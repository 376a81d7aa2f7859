"""What a file says is what is meant: nothing is converted, and the first fault has its place."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from attrs import asdict, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban import strict


@frozen(kw_only=True)
class Inner:
    size: int
    kind: Literal["a", "b"] = "a"


@frozen(kw_only=True)
class Outer:
    name: str
    wanted: bool = False
    words: tuple[str, ...] = ()
    inner: dict[str, Inner] = field(factory=dict)
    all: tuple[Inner, ...] = ()
    value: str | bool | int | tuple[str, ...] = ""


WRONG: dict[str, tuple[dict[str, Any], tuple[str | int, ...], str]] = {
    "a word for a number": (
        {"inner": {"x": {"size": "1"}}},
        ("inner", "x", "size"),
        "expected a whole number, got a s",
    ),
    "a truth for a number": ({"all": [{"size": 1}, {"size": True}]}, ("all", 1, "size"), "got true or false"),
    "a number for a truth": ({"wanted": 1}, ("wanted",), "expected true or false, got a whole number"),
    "a word for a list": ({"words": "git"}, ("words",), "expected a list, got a string"),
    "a list for a table": ({"inner": []}, ("inner",), "expected a table, got a list"),
    "a word that is none of a few": ({"inner": {"x": {"size": 1, "kind": "c"}}}, ("inner", "x", "kind"), "one of a, b"),
    "a list that holds a number": ({"value": ["a", 1]}, ("value",), "a list of strings"),
    "a number that is not whole": ({"value": 1.5}, ("value",), "expected a string, true or false, a whole number or"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_converted_and_the_fault_has_its_place(case: str) -> None:
    given, keys, what = WRONG[case]
    with pytest.raises(strict.Wrong) as caught:
        strict.structure({"name": "x", **given}, Outer)
    assert caught.value.keys == keys
    assert what in caught.value.what


def test_a_misspelt_key_explains_the_missing_one() -> None:
    with pytest.raises(strict.Wrong) as caught:
        strict.structure({"name": "x", "inner": {"y": {"sise": 1}}}, Outer)
    assert caught.value.unknown and caught.value.keys == ("inner", "y", "sise")
    assert caught.value.known == ("size", "kind")
    with pytest.raises(strict.Wrong) as caught:
        strict.structure({"wanted": True}, Outer)
    assert caught.value.missing and caught.value.keys == ("name",)


INNER = st.builds(Inner, size=st.integers(), kind=st.sampled_from(["a", "b"]))


@given(
    st.builds(
        Outer,
        name=st.text(),
        wanted=st.booleans(),
        words=st.lists(st.text()).map(tuple),
        inner=st.dictionaries(st.text(), INNER),
        all=st.lists(INNER).map(tuple),
        value=st.text() | st.booleans() | st.integers() | st.lists(st.text()).map(tuple),
    )
)
def test_what_is_written_is_read_as_it_was(value: Outer) -> None:
    def plain(held: Any) -> Any:
        if isinstance(held, dict):
            return {name: plain(item) for name, item in held.items()}
        return [plain(item) for item in held] if isinstance(held, tuple | list) else held

    assert strict.structure(plain(asdict(value)), Outer) == value
