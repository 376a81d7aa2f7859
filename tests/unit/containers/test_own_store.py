"""Where the images of a user are stored whose own store cannot hold them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ocicaliban.containers import own_store, user_choices, usual_store
from ocicaliban.containers.own_store import Facts, OwnStore
from ocicaliban.errors import OcicalibanError, UsageError

HOME = "/home/ann/.local/share/containers"
PATHS = '[storage]\nrootless_storage_path = "/disk/$USER/images"\n'
IGNORES = '[storage.options.overlay]\nignore_chown_errors = "true"\n'


def chosen(
    *settings: str, home: str = "ext4", tmp: str = "ext4", one_uid: bool = True, named: bool = False, **environ: str
) -> OwnStore | None:
    kinds = {"home": home, "nfs": "nfs4", "lustre": "lustre", "fuse": "fuse.sshfs", "tmp": tmp, "var": tmp}
    return own_store.choose(
        Facts(
            uid=1000,
            one_uid=one_uid,
            environ={"HOME": "/home/ann", "USER": "ann", **environ},
            wanted=environ.get("OCICALIBAN_STORE", ""),
            settings=settings,
            named=named,
            kind=lambda path: kinds.get(path.parts[1], "ext4"),
        )
    )


def test_a_user_whose_store_serves_keeps_it() -> None:
    assert chosen(one_uid=False) is None
    assert chosen(PATHS, one_uid=False) is None
    assert chosen(PATHS, one_uid=False, home="nfs4") is None
    assert chosen(IGNORES) is None
    assert chosen(PATHS + IGNORES, home="nfs4") is None
    assert chosen(IGNORES, named=True, home="nfs") is None


def test_with_one_uid_the_store_lies_beside_podmans() -> None:
    assert chosen() == OwnStore(root=Path(HOME, "one-uid"), folder=Path(HOME))
    assert chosen(PATHS) == OwnStore(root=Path("/disk/ann/one-uid"), folder=Path("/disk/ann"))
    # An administrator's file that says nothing of owners does not serve either.
    assert chosen(XDG_DATA_HOME="/data/ann") == OwnStore(
        root=Path("/data/ann/containers/one-uid"), folder=Path("/data/ann/containers")
    )


def test_a_driver_that_works_there_is_the_users_choice() -> None:
    assert chosen(one_uid=False, home="overlay", tmp="overlay") is None  # with fuse-overlayfs
    assert chosen(one_uid=False, home="nfs4", STORAGE_DRIVER="vfs") is None
    assert chosen('[storage]\ndriver = "vfs"\n', one_uid=False, home="nfs4") is None
    assert chosen(home="overlay") is not None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "fuse.sshfs", "fuse", "9p"])
@pytest.mark.parametrize("one_uid", [True, False])
def test_no_store_lies_where_podman_cannot_keep_one(kind: str, one_uid: bool) -> None:
    local = OwnStore(
        root=Path("/tmp/ocicaliban-1000/storage"), folder=Path("/tmp/ocicaliban-1000"), local=True, one_uid=one_uid
    )
    assert chosen(home=kind, one_uid=one_uid) == local
    assert chosen(home=kind, one_uid=one_uid, TMPDIR="/nfs/tmp", SLURM_TMPDIR="/lustre/x") == local


def test_the_folder_of_a_job_goes_first_and_that_of_the_user_before_all() -> None:
    def root(**environ: str) -> str:
        store = chosen("", home="nfs", tmp="ext4", one_uid=True, named=False, **environ)
        assert store is not None
        return str(store.folder)

    assert root(TMPDIR="/scratch/a", SLURM_TMPDIR="/scratch/job") == "/scratch/job/ocicaliban-1000"
    assert root(TMPDIR="/scratch/a", SLURM_TMPDIR="/nfs/job") == "/scratch/a/ocicaliban-1000"
    assert root(OCICALIBAN_STORE="/disk", SLURM_TMPDIR="/scratch/job") == "/disk/ocicaliban-1000"


def test_where_nothing_is_local_the_way_out_is_told() -> None:
    with pytest.raises(OcicalibanError, match="no folder can hold podman's images") as told:
        chosen(home="nfs4", tmp="nfs4")
    assert "OCICALIBAN_STORE" in told.value.hint
    with pytest.raises(OcicalibanError, match=re.escape("/nfs/x is on nfs4")):
        chosen(OCICALIBAN_STORE="/nfs/x")


def test_the_owners_are_ignored_with_one_uid_alone() -> None:
    one = OwnStore(root=Path("/x/storage"), folder=Path("/x"))
    several = OwnStore(root=Path("/x/storage"), folder=Path("/x"), one_uid=False)
    assert "ignore_chown_errors" in one.conf("/run") and "ignore_chown_errors" not in several.conf("/run")
    assert 'rootless_storage_path = "/x/storage"' in several.conf("/run")


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "ocicaliban-1000"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (open_to_all, tmp_path / "link"):
        with pytest.raises(OcicalibanError, match="only you can enter"):
            own_store._own_folder(folder, private=True)


def test_a_relative_folder_and_an_unknown_variable_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NOT_THERE", raising=False)
    for given in ("store", "./x", "$NOT_THERE/x", "~nobody-of-this-name/x"):
        with pytest.raises(UsageError, match="is not an absolute path"):
            user_choices.folder("OCICALIBAN_STORE", "image_store", {"OCICALIBAN_STORE": given})


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ('image_store = "/disk"', "/disk"),
        ('image_store = "~/disk"', "HOME/disk"),
        ('image_store = "$OC_SCRATCH/x"', "/scratch/x"),
        ("# image_store\n", ""),
        ("image_store = 3", ""),  # told where the settings are checked
        ('image_store = "/disk', ""),
        ("", ""),
    ],
)
def test_the_settings_name_a_folder(
    settings: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("OC_SCRATCH", "/scratch")
    (tmp_path / "ocicaliban").mkdir()
    (tmp_path / "ocicaliban" / "config.toml").write_text(settings)
    assert user_choices.folder("OC_UNSET", "image_store") == folder.replace("HOME", "/home/ann")
    assert user_choices.folder("OC_SET", "image_store", {"OC_SET": "/first"}) == "/first"


@pytest.fixture
def usual(tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose own store was found to serve."""
    names = ("data", "config/containers", "config/ocicaliban", "bin", "home")
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin" / "newuidmap").touch()
    environ = {
        "HOME": str(tmp_path / "home"),
        "PATH": str(tmp_path / "bin"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    usual_store.remember(tmp_path / "data", environ)
    return environ


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_was_decided_holds_until_a_fact_changes(usual: dict[str, str], tmp_path: Path) -> None:
    assert usual_store.serves(usual)
    assert not usual_store.serves({**usual, "OCICALIBAN_STORE": "/disk"})
    assert not usual_store.serves({**usual, "CONTAINERS_STORAGE_CONF": "/x"})
    assert not usual_store.serves({**usual, "PATH": "/nowhere"})
    for change in (
        lambda: (tmp_path / "config/containers/storage.conf").write_text("[storage]"),
        lambda: (tmp_path / "config/ocicaliban/config.toml").write_text('image_store = "/disk"'),
        lambda: (tmp_path / "bin" / "newuidmap").chmod(0o755),
        lambda: (tmp_path / "data").rename(tmp_path / "moved"),
    ):
        change()
        assert not usual_store.serves(usual)
        (tmp_path / "data").mkdir(exist_ok=True)
        usual_store.remember(tmp_path / "data", usual)
        assert usual_store.serves(usual)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', "nonsense", '{"version": 1, "root": 3, "facts": []}'])
def test_a_damaged_memory_is_none(usual: dict[str, str], tmp_path: Path, text: str) -> None:
    (tmp_path / "cache" / "ocicaliban" / "usual-store.json").write_text(text)
    assert not usual_store.serves(usual)


def test_an_old_memory_is_none_and_a_store_that_is_not_there_is_not_remembered(
    usual: dict[str, str], tmp_path: Path
) -> None:
    memory = tmp_path / "cache" / "ocicaliban" / "usual-store.json"
    os.utime(memory, (1, 1))
    assert not usual_store.serves(usual)
    memory.unlink()
    usual_store.remember(tmp_path / "none", usual)
    assert not memory.exists()
