"""Channels of conda, by name and by address, and where passwords may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.conda import channels
from ocicaliban.dependencies.conda.channels import ChannelSettings
from ocicaliban.errors import UsageError


@pytest.mark.parametrize(
    ("names", "addresses"),
    [
        (["conda-forge", "nodefaults"], ["https://conda.anaconda.org/conda-forge"]),
        (["defaults"], ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"]),
        ([], ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"]),
        (["https://example.org/c/", "conda-forge/label/dev"], ["https://example.org/c", "https://conda.anaconda.org/conda-forge/label/dev"]),
        (["./channel"], ["file:///nowhere/channel"]),
        (["file:///srv/c"], ["file:///srv/c"]),
    ],
)  # fmt: skip
def test_names_become_addresses(names: list[str], addresses: list[str]) -> None:
    assert ChannelSettings().addresses(names, Path("/nowhere")) == tuple(addresses)


def test_the_users_settings_count(tmp_path: Path) -> None:
    (tmp_path / ".condarc").write_text(
        "channel_alias: https://mirror.example.org/conda\ndefault_channels: [https://mirror.example.org/main]\n"
        "channels: [conda-forge]\ncustom_channels:\n  lab: https://lab.example.org\n"
    )
    found = channels.read_settings({"HOME": str(tmp_path)})
    assert found.addresses((), tmp_path) == ("https://mirror.example.org/conda/conda-forge",)
    assert found.addresses(("defaults", "lab"), tmp_path) == (
        "https://mirror.example.org/main",
        "https://lab.example.org/lab",
    )
    found = channels.read_settings({"HOME": str(tmp_path), "CONDA_CHANNEL_ALIAS": "http://localhost:1"})
    assert found.addresses(("conda-forge",), tmp_path) == ("http://localhost:1/conda-forge",)


def test_a_damaged_file_is_told_without_its_text(tmp_path: Path) -> None:
    (tmp_path / ".condarc").write_text("channels: [https://user:secret@example.org\n")
    with pytest.raises(UsageError) as told:
        channels.read_settings({"HOME": str(tmp_path)})
    assert "secret" not in told.value.message + told.value.hint


def test_a_lock_holds_no_password_and_a_fetch_has_it() -> None:
    channel = "https://user:secret@example.org/t/token/lab"
    plain = "https://example.org/lab/noarch/six-1-0.conda"
    assert channels.without_credentials(f"{channel}/noarch/six-1-0.conda") == plain
    assert channels.with_credentials(plain, (channel,)) == f"{channel}/noarch/six-1-0.conda"
    assert (
        channels.with_credentials("https://example.org/labs/x-1-0.conda", (channel,))
        == "https://example.org/labs/x-1-0.conda"
    )
