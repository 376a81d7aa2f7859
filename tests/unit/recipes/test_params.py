"""Parameters: what a recipe declares against what the project gives."""

from __future__ import annotations

import pytest

from ocicaliban.errors import SettingError, UsageError
from ocicaliban.model.recipe import Param, Recipe, Value, Variant
from ocicaliban.recipes.params import check, condition_holds, resolve, substituted, substituted_list

LIST = Recipe(name="r", summary="", params={"p": Param(type="list", sort=True)})
STRING = Recipe(name="r", summary="", params={"p": Param(default="d")})


@pytest.mark.parametrize(("variant", "value"), [("cpu", ("all", "cpu")), ("gpu", ("all", "gpu"))])
def test_a_list_for_all_and_each(variant: Variant, value: Value) -> None:
    given = {"p": {"gpu": ["gpu"], "cpu": ["cpu", "all"], "all": ["all"]}}
    assert resolve(LIST, given, variant) == {"p": value}


def test_a_string_for_all_and_each() -> None:
    given = {"p": {"all": "a", "gpu": "g"}}
    assert [resolve(STRING, given, v)["p"] for v in ("cpu", "gpu")] == ["a", "g"]
    assert resolve(STRING, {"p": {"gpu": "g"}}, "cpu") == {"p": "d"}


def test_sorted_and_unique_or_as_given() -> None:
    plain = Recipe(name="r", summary="", params={"p": Param(type="list")})
    given = {"p": ["b", "a", "b"]}
    assert resolve(LIST, given, "cpu") == {"p": ("a", "b")}
    assert resolve(plain, given, "cpu") == {"p": ("b", "a", "b")}


def test_what_is_left_out_is_empty() -> None:
    params = {kind: Param(type=kind) for kind in ("string", "list", "bool", "int")}
    values = resolve(Recipe(name="r", summary="", params=params), {}, "cpu")
    assert values == {"string": "", "list": (), "bool": False, "int": 0}


def test_a_missing_required_one() -> None:
    recipe = Recipe(name="r", summary="", params={"p": Param(required=True)})
    for given in ({}, {"p": {"gpu": "g"}}):
        with pytest.raises(UsageError, match=r"layers\.r\.p is missing"):
            resolve(recipe, given, "cpu")


@pytest.mark.parametrize(
    ("param", "value", "message"),
    [
        (Param(type="list"), "git", "expected a list of strings"),
        (Param(type="list"), [1], "expected a list of strings"),
        (Param(type="list"), {"all": "git"}, r"layers\.r\.p\.all: expected a list of strings"),
        (Param(type="list"), {"gpu": 3}, r"layers\.r\.p\.gpu: expected a list of strings"),
        (Param(type="list"), {"tpu": []}, "unknown key 'tpu'"),
        (Param(type="bool"), "false", "expected true or false, got 'false'"),
        (Param(type="int"), True, "expected a whole number"),
        (Param(), 3, "expected a string"),
    ],
)
def test_a_wrong_value(param: Param, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(Recipe(name="r", summary="", params={"p": param}), {"p": value}, "cpu")


def test_an_unknown_one() -> None:
    with pytest.raises(UsageError, match="no parameter 'q'") as caught:
        resolve(LIST, {"q": 1}, "cpu")
    assert caught.value.hint == "there are: p"


def test_an_unknown_one_gets_the_nearest_name_and_its_keys() -> None:
    recipe = Recipe(name="apt", summary="", params={"packages": Param(type="list"), "mirror": Param()})
    with pytest.raises(SettingError) as caught:
        check(recipe, {"package": []})
    assert caught.value.hint == "did you mean 'packages'?"
    assert caught.value.keys == ("layers", "apt", "package")


def test_what_is_wrong_for_the_other_variant_is_told_as_well() -> None:
    for variant in ("cpu", "gpu"):
        with pytest.raises(SettingError) as caught:
            resolve(STRING, {"p": {"gpu": 3}}, variant)
        assert caught.value.keys == ("layers", "r", "p", "gpu")


def test_when() -> None:
    values: dict[str, Value] = {"yes": ("a",), "no": ""}
    assert all(condition_holds(each, values, "here") for each in ("", "yes", "!no"))
    assert not any(condition_holds(each, values, "here") for each in ("no", "!yes"))
    with pytest.raises(UsageError, match="here: when = '!other': there is no parameter"):
        condition_holds("!other", values, "here")


def test_substitution() -> None:
    values: dict[str, Value] = {"l": ("a", "b"), "s": "${l}", "n": 3}
    assert substituted("${l}-${n} ${s} $n", values, "here") == "a b-3 ${l} $n"
    assert substituted_list("${l}", values, "here") == ("a", "b")
    assert substituted_list(("x${n}", "${l}"), values, "here") == ("x3", "a b")
    assert substituted_list("${n}", values, "here") == ("3",)
    assert substituted_list("", values, "here") == ()
    for wrong in ("${other}", ("${other}",)):
        with pytest.raises(UsageError, match=r"here: '\$\{other\}': there is no parameter"):
            substituted_list(wrong, values, "here")
