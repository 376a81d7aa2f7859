"""Files that hold credentials are recognised by their contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.project.source_tree import read_tree
from tests.folders import files, write

KEY = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----", "client_email": "a@b"}'
LOGIN = '{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}'
AUTHS = '{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}'


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize(
    ("text", "what"),
    [(KEY, "the private key of a service account"), (LOGIN, "a user's Google login"), (AUTHS, "a registry login")],
)
def test_a_credential_by_whatever_name_is_refused_unless_ignored(
    tmp_path: Path, text: str, what: str, ignore: bool
) -> None:
    root, memo = tmp_path / "project", tmp_path / "memo"
    write(root, {"conf/trainer": text, "a.py": ""})
    for _ in range(2):  # whatever was read before
        with pytest.raises(OcicalibanError) as fault:
            read_tree(root, memo=memo, ignore=ignore)
        assert fault.value.message.startswith(f"conf/trainer: contains {what}") and "--cloud-key" in fault.value.hint
        assert ("add conf/trainer to .gitignore, or" in fault.value.hint) == ignore
    write(root, {".gitignore": "/conf/trainer\n"})
    assert "conf/trainer" not in files(read_tree(root, memo=memo))


@pytest.mark.parametrize(
    "text",
    [
        *("", '{"private_key": 1}', '{"type": "service_account", "private_key": ""}', '["private_key"]'),
        *('{"auths": {"ghcr.io": {}}}', '{"auths": []}', '"private_key" {', "[" * 9000 + '"auths"', KEY + " " * 16384),
    ],
)
def test_what_only_looks_like_a_credential_is_a_file_like_any_other(tmp_path: Path, text: str) -> None:
    assert files(read_tree(write(tmp_path, {"a.json": text}))) == ["a.json"]
