"""What is remembered of layers that were compressed."""

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.registry import packed_layers
from ocicaliban.registry.packed_layers import PackedLayer
from ocicaliban.registry.reference import Repository
from ocicaliban.system import files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def layer(number: int, size: int = 7) -> PackedLayer:
    kind = packed_layers.media_type("gzip")
    return PackedLayer(diff_id=f"sha256:{number:064}", digest=f"sha256:{number + 1:064}", size=size, media_type=kind)


def test_layers_are_remembered_by_compression_and_the_newest_last() -> None:
    packed_layers.remember([layer(1), layer(2)], "gzip")
    packed_layers.remember([layer(3), layer(1, size=8)], "gzip")
    assert packed_layers.load("gzip") == [layer(2), layer(3), layer(1, size=8)]
    assert packed_layers.load("zstd") == []


def test_the_oldest_layers_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_layers, "_MAX_LAYERS", 3)
    packed_layers.remember([layer(n) for n in range(5)], "gzip")
    assert packed_layers.load("gzip") == [layer(2), layer(3), layer(4)]


def test_where_a_layer_was_pushed_to_is_remembered() -> None:
    here = Repository(host="h", path="p")
    packed_layers.remember([layer(1), layer(2)], "gzip")
    packed_layers.remember_pushed([layer(1).digest], here, "gzip")
    assert packed_layers.load("gzip") == [layer(2), evolve(layer(1), repository="h/p")]
    packed_layers.remember_pushed([layer(1).digest, "sha256:other"], here, "gzip")
    assert packed_layers.load("gzip") == [layer(2), evolve(layer(1), repository="h/p")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": 1}',
        '{"a": []}',
        '{"a": ["b", "x"]}',
        '{"a": ["b", 0]}',
        '{"a": ["b", Infinity]}',
        '{"version": 3}',
    ],
)
def test_a_file_that_cannot_be_read_says_nothing(text: str) -> None:
    files.keep(packed_layers._file("gzip"), text)
    assert packed_layers.load("gzip") == []
