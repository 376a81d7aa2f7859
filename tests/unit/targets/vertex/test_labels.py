"""A job's labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Parameters
from ocicaliban.targets.vertex import labels

SCALARS = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
PARAMETERS = st.lists(st.tuples(st.text(), SCALARS), max_size=80).map(tuple)


def test_labels_are_as_caliban_makes_them() -> None:
    made, left_out = labels.labels(
        "k1", "Brave Otter", given=[("Team", "Vision!")], parameters=(("lr", 0.001), ("Use.Bias", True), ("2d", "A b"))
    )
    assert made == {
        "ocicaliban-job": "k1", "ocicaliban-attempt": "1", "ocicaliban-group": "braveotter", "team": "vision",
        "lr": "0_001", "use_bias": "true", "k2d": "ab",
    }  # fmt: skip
    assert left_out == ()


@given(PARAMETERS)
def test_labels_are_always_what_the_service_takes(parameters: Parameters) -> None:
    made, left_out = labels.labels("k1", "g", parameters=parameters)
    assert len(made) <= labels.MOST_LABELS
    assert len(made) - 3 + len(left_out) == len(parameters)
    for key, value in made.items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)


@given(st.lists(st.text(alphabet="aA.", min_size=1, max_size=70), max_size=30, unique=True))
def test_parameters_that_come_to_the_same_key_all_stay(names: list[str]) -> None:
    made, left_out = labels.labels("k1", "g", parameters=tuple((name, name) for name in names))
    assert len(made) == 3 + len([name for name in names if labels.label_key(name)])
    assert set(left_out) == {name for name in names if not labels.label_key(name)}


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ([("a.b", "1"), ("a_b", "2")], "collides with --label a.b"),
        ([("ocicaliban-job", "x")], "collides with the job's key"),
        ([("!!", "x")], "no letter or digit"),
        ([(f"l{number}", "x") for number in range(62)], "more than Vertex AI takes"),
    ],
)
def test_a_label_of_the_users_that_would_be_lost_is_an_error(given_: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        labels.labels("k1", "g", given=given_)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--lr", "0.1"), (("lr", "0.1"),)),
        (("--lr=0.1", "-n", "3"), (("lr", "0.1"), ("n", "3"))),
        (("--fast", "--lr", "-0.1", "file"), (("fast", ""), ("lr", "-0.1"))),
        (("--fast",), (("fast", ""),)),
        (("train", "-", "--"), ()),
    ],
)
def test_what_looks_like_a_parameter_among_the_arguments(
    args: tuple[str, ...], found: tuple[tuple[str, str], ...]
) -> None:
    assert labels.parameters_of(args) == found
