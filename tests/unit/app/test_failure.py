"""The hint for a job that has failed: what its output and the project's files say together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.app import failure
from ocicaliban.app.failure import FailedRun

NO_SIX = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'six'\n"
NO_DATA = "FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'\n"
GROUPS = '[project]\nname = "x"\nversion = "1"\n'


@pytest.mark.parametrize(
    ("written", "output", "hint"),
    [
        ({}, NO_SIX, "no file declares six: add it to requirements.txt"),
        ({"requirements.txt": "rich\n"}, "ModuleNotFoundError: No module named 'cv2'", "declares opencv-python"),
        ({"requirements/base.txt": "PyYAML\n"}, "ModuleNotFoundError: No module named 'yaml'", "declares PyYAML"),
        ({"requirements/base.txt": "opencv-python-headless\n"}, "ModuleNotFoundError: No module named 'cv2'",
         "declares opencv-python-headless, and is not read"),
        ({"requirements.txt": "rich\n", "environment.yml": "dependencies:\n- pytorch=2\n"},
         "ModuleNotFoundError: No module named 'torch.nn'", "environment.yml declares pytorch, and is not read"),
        ({"requirements/base.txt": "rich\nsix>1\n"}, NO_SIX, '[layers.python] requirements = "requirements/base.txt'),
        ({"requirements-gpu.txt": "sixth\n"}, NO_SIX, "no file declares six"),
        ({"pyproject.toml": GROUPS + "[project.optional-dependencies]\nmore = ['six']"}, NO_SIX, "--extras more"),
        ({"pyproject.toml": GROUPS + "[dependency-groups]\nlab = ['Six==1']"}, NO_SIX, "'lab': --with-group lab"),
        ({"lib/six.py": ""}, NO_SIX, "six is in the project's folder lib: declare the project in pyproject.toml"),
        ({"lib/six/__init__.py": ""}, NO_SIX, '--podman-args "--env PYTHONPATH=/usr/app/lib"'),
        ({}, "ModuleNotFoundError: No module named 'tkinter'", 'packages = ["python3-tk"]'),
        ({".gitignore": "data/\n", "data/x.csv": ""}, NO_DATA, "data/ is left out of the image (.gitignore):"),
        ({".gitignore": "data/\n"}, NO_DATA, "data/ is left out of the image (.gitignore): --dir data gives it"),
        ({".dockerignore": "**/*.csv\n", "data/x.csv": ""}, NO_DATA, "data/x.csv is left out of the image"),
        ({"data/x.csv": ""}, NO_DATA, ""),
        ({}, NO_DATA, ""),
        ({}, NO_DATA.replace("data/", "../data/"), "../data/x.csv is outside of the project"),
        ({}, NO_DATA.replace("data/", "/usr/app/data/"), ""),
        ({".gitignore": "data/\n"}, NO_DATA.replace("data/", "/usr/app/data/"), "data/ is left out"),
        ({}, "ImportError: libxcb.so.1: cannot open shared object file: No such file", 'packages = ["libxcb1"]'),
        ({"ocicaliban.toml": "layers.apt.packages = ['git']"}, "OSError: sndfile library not found", '"libsndfile1"'),
        ({}, "ValueError: no", ""),
    ],
)  # fmt: skip
def test_the_hint_of_a_failed_job(tmp_path: Path, written: Mapping[str, str], output: str, hint: str) -> None:
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = failure.hint_for(FailedRun(root=tmp_path), output, 1)
    assert hint in found and bool(hint) == bool(found)


def test_paths_are_relative_to_the_folder_of_the_command(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/code/data/\n")
    (tmp_path / "code/data").mkdir(parents=True)
    (tmp_path / "deep.txt").touch()
    run = FailedRun(root=tmp_path, folder="code")
    assert "code/data/ is left out of the image (.gitignore):" in failure.hint_for(run, NO_DATA, 1)
    found = failure.hint_for(run, "FileNotFoundError: [Errno 2] No such file or directory: 'deep.txt'", 1)
    assert found.startswith("the container starts in code, as this command did; deep.txt is in ")
    assert not failure.hint_for(FailedRun(root=tmp_path, folder="code", mounted=True), NO_DATA, 1)


def test_a_file_of_this_machine_can_be_mounted(tmp_path: Path) -> None:
    output = f"FileNotFoundError: [Errno 2] No such file or directory: '{Path.home()}'"
    assert f'mount it: --podman-args "-v {Path.home()}:' in failure.hint_for(FailedRun(root=tmp_path), output, 1)


def test_a_log_is_read_and_a_hint_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conmon = "".join(
        f"2026-11-28T01:05:49.2+00:00 stderr F {line}\r\n" for line in ("working", NO_SIX.splitlines()[-1])
    )
    (tmp_path / "1.log.conmon").write_text(conmon)
    failure.explain(FailedRun(root=tmp_path), tmp_path / "1.log", 1)
    assert capsys.readouterr().err.startswith("hint: no file declares six")
    failure.explain(FailedRun(root=tmp_path), tmp_path / "none.log", 1)
    failure.explain(FailedRun(root=tmp_path / "gone"), tmp_path / "1.log", 1)
    (tmp_path / "ocicaliban.toml").write_text("no toml")
    failure.explain(FailedRun(root=tmp_path), tmp_path / "1.log", 1)
    assert "Traceback" not in capsys.readouterr().err
