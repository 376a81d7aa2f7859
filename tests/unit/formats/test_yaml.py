"""YAML that others wrote: whatever it is, it is read, or refused with a reason."""

from __future__ import annotations

import pytest

from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.yaml import NotYaml, parse_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{k{n}: 1, <<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 200_000, "nested too deeply"),
        ("- " * 150 + "x", "nested too deeply"),
        ("{" * 150 + "}" * 150, "nested too deeply"),
        ("a: " + "1" * 5000, "cannot be read"),
        (BOMB, "aliases stand for more"),
        (MERGED, "aliases stand for more"),
        ("a: &a [*a]", "contains itself"),
        ("a: 2024-13-45", "cannot be read"),
        ("a: !!int ''", "cannot be read"),
        ("a: !!timestamp x", "cannot be read"),
        ("a: !!bool maybe", "cannot be read"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: b\n\tc: d", "tab character"),
        ("a: 1\n---\nb: 2", "but found another document"),
    ],
)
def test_what_nobody_can_have_written_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(NotYaml, match=why):
        parse_yaml(text)


def test_values_are_read_and_aliases_too() -> None:
    assert parse_yaml("a: &x [1, {b: c}]\nd: *x\n") == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}
    assert parse_yaml("") is None
    assert len(parse_yaml("".join(f"- {{name: p{n}, url: u}}\n" for n in range(20_000)))) == 20_000


def test_a_mistake_has_its_line() -> None:
    with pytest.raises(NotYaml) as caught:
        parse_yaml("a: 1\nb: [1\nc: 2\n")
    assert caught.value.line == 3


@pytest.mark.parametrize("text", ["[" * 200_000, "1" * 5000, "{", b"\xff\xfe\x00", ""])
def test_json_that_nobody_can_have_written_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
