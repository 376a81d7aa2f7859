"""What is said before a large download."""

from __future__ import annotations

import pytest

from ocicaliban.build.downloads import announcement
from ocicaliban.dependencies.conda.install import PackageTree
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.model.image import Configure, Copy, PlannedLayer, Run

MB = 1_000_000


def layer(*requirements: str) -> PlannedLayer:
    text = "".join(f"{each}==1 \\\n    --hash=sha256:00\n" for each in requirements)
    step = Run(script="install", files=(("requirements.txt", text),))
    return PlannedLayer(name="python", key="k", steps=(step, Configure()))


@pytest.mark.parametrize(
    ("layers", "sizes", "expected"),
    [
        ((), {"torch": 900 * MB}, ""),
        ((layer("six"),), {"torch": 900 * MB}, ""),
        ((layer("torch"),), {"torch": 500 * MB}, ""),
        (
            (layer("torch"), layer("Nvidia.cuDNN", "six")),
            {"torch": 500 * MB, "nvidia-cudnn": 400 * MB, "other": 900 * MB},
            "up to 900.0 MB to download, unless the cache has it already: torch 500.0 MB, nvidia-cudnn 400.0 MB",
        ),
        (
            (layer("a", "b", "c", "d", "e", "f"),),
            dict.fromkeys("abcdef", 200 * MB),
            "up to 1.2 GB to download, unless the cache has it already: f 200.0 MB, e 200.0 MB, d 200.0 MB, c 200.0 MB "
            "and 2 more",
        ),
    ],
)
def test_more_than_500_mb_are_announced(layers: tuple[PlannedLayer, ...], sizes: dict[str, int], expected: str) -> None:
    assert announcement(layers, sizes) == expected


def test_the_packages_of_conda_are_announced_too() -> None:
    url = "https://example.org/linux-64/pytorch-2.3.0-py312_0.conda"
    package = CondaPackage(url=url, sha256="a" * 64, size=600 * MB)
    tree = PackageTree(packages=(package,), python=None, platform="linux-64", file="f", fetched_from=lambda _: [])
    copying = PlannedLayer(name="conda", key="k", steps=(Copy(tree=tree.digest, to="/opt/conda"),))
    said = "up to 600.0 MB to download, unless the cache has it already: pytorch 600.0 MB"
    assert announcement((copying,), {}, {tree.digest: tree}) == said
    assert announcement((copying,), {}, {}) == announcement((), {}, {tree.digest: tree}) == ""
