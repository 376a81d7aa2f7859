"""What failures say, and the hints for them: a real message for each row of hints.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ocicaliban import hints
from ocicaliban.errors import ToolError
from ocicaliban.hints import Stage

TABLE = tomllib.loads(Path(hints.__file__).with_suffix(".toml").read_text())

APT = "in ocicaliban.toml: [layers.apt] packages = "

REAL = tomllib.loads((Path(__file__).parent / "failures.toml").read_text())
MESSAGES = [(each["stage"], each["message"], each["hint"]) for each in REAL["failure"]]
ABOUT = [(each["message"], each["about"], each["what"]) for each in REAL["about"]]


@pytest.mark.parametrize(("stage", "message", "hint"), MESSAGES)
def test_a_real_message_has_its_hint(stage: Stage, message: str, hint: str) -> None:
    found = hints.find(f"Traceback (most recent call last):\n{message}\n", stage, 1)
    assert found and hint in found.as_hint()


@pytest.mark.parametrize(("message", "about", "what"), ABOUT)
def test_what_the_files_of_the_project_decide(message: str, about: str, what: str) -> None:
    found = hints.find(message, "run", 1)
    assert found and (found.about, found.what) == (about, what)


def test_every_row_has_a_message() -> None:
    told = [(stage, message) for stage, message, _ in MESSAGES] + [("run", message) for message, _, _ in ABOUT]
    for row in TABLE["hints"]:
        assert "exit" in row or any(
            stage in row["stages"] and re.search(row["pattern"], message, re.M) for stage, message in told
        ), row


@pytest.mark.parametrize(
    "output",
    [
        "",
        "ValueError: x must be positive",
        "KeyError: 'lr'",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "AssertionError",
        "error: command '/usr/bin/gcc' failed with exit code 1",
    ],
)
@pytest.mark.parametrize("stage", ["resolve", "build", "run"])
def test_other_failures_have_no_hint(output: str, stage: Stage) -> None:
    assert hints.find(output, stage, 1) is None


def test_the_last_cause_of_a_run_counts() -> None:
    early = "ModuleNotFoundError: No module named 'six'"
    found = hints.find(f"{early}\nFileNotFoundError: [Errno 2] No such file or directory: 'x'", "run", 1)
    assert found and found.about == "file"
    assert hints.find(early + "\ngoing on" * 100, "run", 1) is None


def test_an_exit_code_alone_has_a_hint() -> None:
    found = hints.find("", "run", 135)
    assert found and "--shm-size 8g" in found.as_hint()


def test_packages_are_added_to_those_that_are_there() -> None:
    with pytest.raises(ToolError) as caught, hints.explaining("build", has_packages=True):
        raise ToolError("the layer 'python' cannot be built", "read on", stderr="unable to execute 'gcc': No such file")
    assert caught.value.hint == 'in ocicaliban.toml, add "gcc", "python3-dev" to packages under [layers.apt]'


def test_a_failure_that_the_table_does_not_know_keeps_its_hint() -> None:
    with pytest.raises(ToolError) as caught, hints.explaining("build"):
        raise ToolError("no", "read on", stderr="exit status 1")
    assert caught.value.hint == "read on"


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libxcb.so.1", "libxcb1"),
        ("libSM.so.6", "libsm6"),
        ("libXext.so.6", "libxext6"),
        ("libgsl.so.27", "libgsl27"),
        ("libavcodec.so.59", "libavcodec59"),
        ("libpng16.so.16", "libpng16-16"),
        ("libgeos_c.so.1", "libgeos-c1"),
        ("libpq.so.5", "libpq5"),
        ("libx.so", None),
        ("libtorch_cuda.so.2", None),
    ],
)
def test_debian_names_packages_after_libraries(library: str, package: str | None) -> None:
    assert hints.debian_library(library) == ((package,) if package else ())


@pytest.mark.parametrize(
    ("module", "package"),
    [("cv2", "opencv-python"), ("sklearn.svm", "scikit-learn"), ("google.cloud.storage", "google-cloud-storage"),
     ("google.protobuf.x", "protobuf"), ("my_package.x", "my-package")],
)  # fmt: skip
def test_the_package_of_a_module(module: str, package: str) -> None:
    assert hints.package_of(module) == package


def test_a_module_of_python_itself() -> None:
    assert "python3-tk" in hints.of_python("tkinter.ttk") and not hints.of_python("six")
