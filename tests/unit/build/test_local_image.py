"""Where containers on this machine mount folders in place of layers, and where all layers are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.build import local_image
from ocicaliban.containers import image_store
from ocicaliban.model.image import Copy, Image, Run
from ocicaliban.system import filesystems, kernel
from tests.unit.build.test_mounting import plan_of

PLAN = plan_of(
    [("python", (Run(script="a", within="/opt/venv"),)), ("source-copy", (Copy(tree="1" * 64, to="/usr/app"),))]
)


@pytest.mark.parametrize(
    ("driver", "kind", "cache", "switch", "selinux", "held"),
    [
        ("overlay", "ext4", "cache", "", False, ["python", "source-copy"]),
        ("overlay", "xfs", "cache", "1", False, ["python", "source-copy"]),
        ("overlay", "overlay", "cache", "", False, ["source-copy"]),
        ("overlay", "tmpfs", "cache", "", False, ["source-copy"]),
        ("overlay", "nfs4", "cache", "", False, []),
        ("overlay", "lustre", "cache", "", False, []),
        ("vfs", "ext4", "cache", "", False, []),
        ("overlay", "ext4", "with:colon", "", False, []),
        ("overlay", "ext4", "with,comma", "", False, []),
        ("overlay", "ext4", "cache", "0", False, []),
        ("overlay", "ext4", "cache", "", True, []),
    ],
)
def test_what_a_machine_can_mount(
    driver: str,
    kind: str,
    cache: str,
    switch: str,
    selinux: bool,
    held: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    monkeypatch.setenv("OCICALIBAN_MOUNTED", switch)
    monkeypatch.setattr(image_store, "location", lambda: (tmp_path, driver))
    monkeypatch.setattr(filesystems, "kind", lambda *_: kind)
    monkeypatch.setattr(kernel, "has_selinux", lambda: selinux)
    found = local_image.mounted(PLAN)
    assert [*(found.layers if found else ())] == held


def test_a_mount_hides_nothing_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(id="1d" * 32, digest="", key="")
    monkeypatch.setattr(image_store, "location", lambda: (tmp_path, "overlay"))
    monkeypatch.setattr(image_store, "layer_chains", lambda: {image.id: {"top": 1, "bottom": 1}})
    for path in ("top/diff/usr/bin", "bottom/diff/usr/app", "bottom/diff/var/lib"):
        (tmp_path / "overlay" / path).mkdir(parents=True)
    (tmp_path / "overlay/bottom/diff/opt").symlink_to("/var/opt")
    assert image_store.may_have(image, "/usr/app")
    assert image_store.may_have(image, "/opt/venv"), "where a link leads, only the container knows"
    assert not image_store.may_have(image, "/usr/application")
    assert not image_store.may_have(image, "/srv/app")
    assert image_store.may_have(Image(id="2d" * 32, digest="", key=""), "/srv/app"), "its layers are elsewhere"
