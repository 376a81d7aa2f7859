from __future__ import annotations

import pytest

from ocicaliban.containers import versions


def test_the_oldest_versions_are_tested() -> None:
    for tool, tested in versions.TESTED.items():
        first, *rest = (tuple(map(int, number.split("."))) for number in tested)
        assert first[:2] == versions.OLDEST[tool]
        assert rest and all(each > first for each in rest)


@pytest.mark.parametrize(
    ("podman", "csv", "pasta", "cdi"),
    [
        ((4, 3, 1), True, False, (0, 5, 0)),
        ((4, 9, 4), True, False, (0, 5, 0)),
        ((5, 0, 0), False, True, (0, 8, 0)),
        ((5, 4, 2), False, True, (0, 8, 0)),
        ((5, 5, 0), False, True, (1, 0, 0)),
    ],
)
def test_what_depends_on_podmans_version(
    podman: versions.Version, csv: bool, pasta: bool, cdi: versions.Version
) -> None:
    assert versions.log_option_is_csv(podman) == csv
    assert versions.needs_pasta(podman) == pasta
    assert versions.newest_cdi(podman) == cdi
