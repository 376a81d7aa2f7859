from pathlib import Path

import pytest

from ocicaliban.build import built_wheels


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "uv"


def test_each_image_has_its_own_built_wheels_and_shares_downloads(uv: Path) -> None:
    for bucket in ("sdists-v11", "wheels-v8", "builds-v0", "interpreter-v4"):
        (uv / bucket).mkdir(parents=True)
    with_gcc, without = (uv / built_wheels.cache_of(parent) for parent in ("aa", "bb"))
    assert built_wheels.cache_of("aa") == "ocicaliban/aa"
    for own in (with_gcc, without):
        assert sorted(path.name for path in own.iterdir()) == ["archive-v0", "wheels-v8"]
        assert (own / "archive-v0").samefile(uv / "archive-v0") and (own / "wheels-v8").samefile(uv / "wheels-v8")
    assert with_gcc != without


def test_a_folder_that_uv_made_itself_is_left(uv: Path) -> None:
    own = uv / built_wheels.cache_of("aa")
    (own / "wheels-v9").mkdir()
    (uv / "wheels-v9").mkdir()
    built_wheels.cache_of("aa")
    assert not (own / "wheels-v9").is_symlink()


def test_wheels_of_images_that_are_gone_are_forgotten(uv: Path) -> None:
    built_wheels.forget({"aa"})
    for image in ("aa", "bb"):
        built_wheels.cache_of(image)
    built_wheels.forget({"aa"})
    assert [path.name for path in (uv / "ocicaliban").iterdir()] == ["aa"]
    assert (uv / "archive-v0").is_dir()
