from pathlib import Path

import pytest

from ocicaliban.build import built_wheels


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/ocicaliban/built-wheels"


def test_each_image_has_its_own_built_wheels_and_shares_downloads(own: Path, tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    for bucket in ("sdists-v10", "sdists-v9", "wheels-v8", "archive-v0"):
        (uv / bucket).mkdir(parents=True)
    with_gcc, without = (built_wheels.mounts(uv, "/dev/oc-cache", parent) for parent in ("aa", "bb"))
    assert with_gcc == (
        f"{own}/aa/sdists-v10:/dev/oc-cache/sdists-v10",
        f"{own}/aa/sdists-v9:/dev/oc-cache/sdists-v9",
    )
    assert not {*with_gcc} & {*without}
    assert (own / "bb/sdists-v9").is_dir()


def test_wheels_of_images_that_are_gone_are_forgotten(own: Path) -> None:
    built_wheels.forget({"aa"})
    for image in ("aa", "bb"):
        (own / image / "sdists-v9").mkdir(parents=True)
    built_wheels.forget({"aa"})
    assert [path.name for path in own.iterdir()] == ["aa"]
