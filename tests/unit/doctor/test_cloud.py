from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ocicaliban.doctor import cloud
from ocicaliban.doctor.finding import Finding


def test_who_works_here_alone_is_told_nothing_of_google(tmp_path: Path) -> None:
    [lacking] = cloud.google(False, {"HOME": str(tmp_path)})
    assert lacking.level == "missing" and "google-cloud-aiplatform" in lacking.remedy


def test_credentials_are_looked_for_where_googles_library_does(tmp_path: Path) -> None:
    def credentials(**environ: str) -> Finding:
        there, found = cloud.google(True, {"HOME": str(tmp_path), **environ})
        assert there.level == "ok"
        return found

    none = credentials()
    assert none.level == "warning" and "gcloud auth application-default login" in none.remedy
    key = tmp_path / "key.json"
    lost = credentials(GOOGLE_APPLICATION_CREDENTIALS=str(key))
    assert lost.level == "warning" and str(key) in lost.message and lost.remedy
    key.touch()
    assert credentials(GOOGLE_APPLICATION_CREDENTIALS=str(key)).level == "ok"
    own = tmp_path / "elsewhere" / "application_default_credentials.json"
    own.parent.mkdir()
    own.touch()
    assert credentials(CLOUDSDK_CONFIG=str(own.parent)).message == f"credentials: {own}"
    usual = tmp_path / ".config" / "gcloud" / own.name
    usual.parent.mkdir(parents=True)
    usual.touch()
    assert credentials().level == "ok"


def test_googles_library_is_found_without_being_imported() -> None:
    script = (
        "import sys; from ocicaliban.doctor import cloud as d;"
        " print(d.is_installed(d.LIBRARY), d.LIBRARY in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
    assert not cloud.is_installed("nowhere.to.be.found")
