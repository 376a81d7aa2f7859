from pathlib import Path

import pytest

from ocicaliban.dependencies import uv_hints


@pytest.mark.parametrize(("files", "hint"), [((), "git submodule update --init"), (("a.py",), "sub/pyproject.toml")])
def test_a_folder_without_a_package_may_be_a_submodule(tmp_path: Path, files: tuple[str, ...], hint: str) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in files:
        (folder / name).touch()
    said = f"Failed to build `sub @ file://{folder}`\n  cause: `{folder}` does not appear to be a Python project, as"
    assert hint in uv_hints.hint_for(said)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Distribution not found at: file:///srv/bb", "relative to the project"),
        ("cause: relative path without a working directory: ../bb", "[tool.uv.sources]"),
        ("No such thing", ""),
        (
            "failed to decode file `requirements.txt`: stream did not contain valid UTF-8",
            "iconv -f latin1 -t utf-8 requirements.txt > requirements.txt.new && mv requirements.txt.new requirements",
        ),
        (
            "Error parsing included file in `r.txt` at position 0\n  cause: failed to decode file `/srv/my reqs.txt`: "
            "stream did not contain valid UTF-8",
            "-t utf-8 '/srv/my reqs.txt' > '/srv/my reqs.txt.new' && mv",
        ),
    ],
)
def test_what_uv_says_has_a_remedy(said: str, hint: str) -> None:
    assert hint in uv_hints.hint_for(said)
