"""What a project's files declare, and which of them is the source of the dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import registry
from ocicaliban.dependencies.environment import DeclaredEnvironment, EnvironmentRequest
from ocicaliban.dependencies.survey import read_environment
from ocicaliban.errors import UsageError
from tests import folders

PROJECT = '[project]\nname = "a"\nversion = "1"\ndependencies = ["six"]\n'
BARE = '[project]\nname = "a"\nversion = "1"\n'
POETRY = '[tool.poetry]\nname = "a"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.10"\nsix = "*"\n'
SETUP = "from setuptools import setup\nsetup(name='a', install_requires={})\n"
HATCH = '[tool.hatch.envs.default]\ndependencies = ["six"]\n'
HEADER = "# /// script\n# dependencies = ['six']\n# requires-python = '>=3.12'\n# ///\nimport six\n"
LISTS = "requirements.txt"
OTHER = '[layers.python] requirements = "{}"'


def environment(root: Path, files: dict[str, str], named: str = "", script: str = "") -> DeclaredEnvironment:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read_environment(EnvironmentRequest(root=root, named=named, script=script))


def uses(found: DeclaredEnvironment) -> dict[str, str]:
    return {file.path: file.use for file in found.files}


@pytest.mark.parametrize(
    ("files", "source", "others"),
    [
        ({}, "", {}),
        ({"pyproject.toml": "[tool.ruff]\n"}, "", {}),
        ({"requirements.txt": ""}, "requirements.txt", {}),
        ({"requirements.in": "six"}, "requirements.in", {}),
        ({"requirements.txt": "", "requirements.in": "six"}, "requirements.txt", {}),
        ({"requirements.txt": "-r more-requirements.txt\n", "more-requirements.txt": ""}, "requirements.txt", {}),
        (
            {"requirements.txt": "", "requirements-dev.txt": "", "requirements/docs.txt": ""},
            "requirements.txt",
            {"requirements-dev.txt": "unread", "requirements/docs.txt": "unread"},
        ),
        # The project's own dependencies and requirements.txt are resolved together, as pip installs them.
        ({"requirements.txt": "", "pyproject.toml": PROJECT}, "requirements.txt and pyproject.toml", {}),
        ({"requirements.txt": "", "setup.py": SETUP.format("['six']")}, "requirements.txt and setup.py", {}),
        ({"requirements.txt": "", "pyproject.toml": BARE}, "requirements.txt", {"pyproject.toml": "honoured"}),
        ({"requirements.txt": "", "setup.py": SETUP.format("[]")}, "requirements.txt", {"setup.py": "honoured"}),
        # A lock goes before what it was made from, and before lists.
        (
            {"uv.lock": "", "pyproject.toml": PROJECT, "requirements.txt": ""},
            "uv.lock",
            {"pyproject.toml": "honoured", "requirements.txt": "unread"},
        ),
        (
            {"uv.lock": "", "requirements.txt": "# This file was made by\n#    uv export --frozen\nsix==1\n"},
            "uv.lock",
            {"requirements.txt": "honoured"},
        ),
        (
            {"uv.lock": "", "requirements.txt": "# uv users: the requirements are in pyproject.toml\nsix==1\n"},
            "uv.lock",
            {"requirements.txt": "unread"},
        ),
        ({"uv.lock": "", "pylock.toml": 'created-by = "uv"\n'}, "uv.lock", {"pylock.toml": "honoured"}),
        ({"poetry.lock": "", "pyproject.toml": POETRY}, "poetry.lock", {"pyproject.toml": "honoured"}),
        ({"pyproject.toml": PROJECT, "setup.py": ""}, "pyproject.toml", {"setup.py": "honoured"}),
        ({"setup.py": SETUP.format("['six']"), "setup.cfg": "[options]\ninstall_requires = six\n"}, "setup.py", {
            "setup.cfg": "honoured"}),
        ({"pyproject.toml": HATCH}, "[tool.hatch.envs.default] of pyproject.toml", {}),
        ({"pyproject.toml": PROJECT + HATCH}, "[project] and [tool.hatch.envs.default] of pyproject.toml", {}),
        # Binder's folders come after the root.
        ({"binder/requirements.txt": ""}, "binder/requirements.txt", {}),
        ({".binder/requirements.txt": ""}, ".binder/requirements.txt", {}),
        ({"binder/requirements.txt": "", "requirements.txt": ""}, "requirements.txt", {
            "binder/requirements.txt": "unread"}),
        ({"cog.yaml": "build: {python_packages: [six]}"}, "cog.yaml", {}),
        ({"cog.yaml": "build: {python_version: '3.11'}"}, "cog.yaml", {}),
        ({"cog.yaml": "build: {python_requirements: requirements.txt}", "requirements.txt": ""}, "cog.yaml", {
            "requirements.txt": "honoured"}),
        ({"cog.yaml": "build: {python_packages: [six]}", "requirements.txt": ""}, "requirements.txt", {
            "cog.yaml": "unread"}),
        ({"cog.yaml": "build: {run: [make]}", "requirements.txt": ""}, "requirements.txt", {
            "cog.yaml": "honoured", "'build.run' of cog.yaml": "unread"}),
        (
            {"requirements.txt": "", "apt.txt": "git", "runtime.txt": "python-3.10", ".python-version": "mine",
             "binder/postBuild": "", "start": ""},
            "requirements.txt",
            {"apt.txt": "honoured", "runtime.txt": "honoured", ".python-version": "unread",
             "binder/postBuild": "honoured", "start": "honoured"},
        ),
    ],
)  # fmt: skip
def test_the_source_and_the_use_of_the_other_files(
    tmp_path: Path, files: dict[str, str], source: str, others: dict[str, str]
) -> None:
    found = environment(tmp_path, files)
    assert found.source == source
    assert {path: use for path, use in uses(found).items() if use != "source"} == others
    for file in found.files:
        is_list = file.use == "unread" and (tmp_path / file.path).is_file() and file.path != ".python-version"
        assert file.setting == (OTHER.format(file.path) if is_list else "")


def test_a_script_with_a_header_has_an_environment_of_its_own(tmp_path: Path) -> None:
    files = {"requirements.txt": "tabulate\n", ".python-version": "3.11\n", "code/train.py": HEADER}
    found = environment(tmp_path, files, script="code/train.py")
    assert found.source == "code/train.py" and found.declaration and found.declaration.ALONE
    assert [(each.place, each.specifier) for each in found.python] == [("code/train.py: requires-python", ">=3.12")]
    assert uses(found)["requirements.txt"] == "unread"
    assert environment(tmp_path, {"code/other.py": "import six\n"}, script="code/other.py").source == LISTS


def test_the_list_in_the_folder_of_the_script_comes_last(tmp_path: Path) -> None:
    files = {"code/train.py": "", "code/requirements.txt": "six\n"}
    assert environment(tmp_path, files, script="code/train.py").source == "code/requirements.txt"
    found = environment(tmp_path, {"requirements.txt": ""}, script="code/train.py")
    assert found.source == LISTS and uses(found)["code/requirements.txt"] == "unread"


@pytest.mark.parametrize(
    "files",
    [
        {"uv.lock": "", "poetry.lock": "", "pyproject.toml": PROJECT},
        {"poetry.lock": "", "Pipfile.lock": "{}", "pyproject.toml": POETRY},
        {"uv.lock": "", "pylock.toml": 'created-by = "pdm"\n'},
    ],
)
def test_locks_of_two_tools_contradict_each_other(tmp_path: Path, files: dict[str, str]) -> None:
    one, other = [*files][:2]
    with pytest.raises(UsageError, match=f"{one} and {other} are locks of two tools") as caught:
        environment(tmp_path, files)
    assert f'requirements = "{one}"' in caught.value.hint and f'requirements = "{other}"' in caught.value.hint
    found = environment(tmp_path, files, named=other)
    assert found.source == other and found.notes == ()


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"requirements/base.txt": "six\n", "requirements-gpu.txt": ""}, "requirements-gpu.txt, requirements/base.txt"),
        ({"requirements_dev.txt": ""}, "requirements_dev.txt"),
        ({"dev-requirements.txt": ""}, "dev-requirements.txt"),
    ],
)
def test_lists_of_which_none_can_be_chosen_are_named(tmp_path: Path, files: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named} declares? dependencies") as caught:
        environment(tmp_path, files)
    first = named.split(", ")[0]
    assert f'requirements = "{first}"' in caught.value.hint and 'requirements = "none"' in caught.value.hint
    assert environment(tmp_path, {}, named=first).source == first
    nothing = environment(tmp_path, {}, named="none")
    assert nothing.source == "" and nothing.notes == () and {*uses(nothing).values()} == {"unread"}


def test_a_named_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layers\.mine\.requirements: there is no file 'no\.txt'"):
        read_environment(EnvironmentRequest(root=tmp_path, named="no.txt", setting="layers.mine.requirements"))


def test_what_is_not_read_is_noted_with_the_setting(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "",
        "requirements-dev.txt": "",
        "cog.yaml": "build: {cuda: '11'}",
        "runtime.txt": "r-4.2",
    }
    assert environment(tmp_path, files).notes == (
        "not read: 'build.cuda' of cog.yaml",
        "not read: runtime.txt, which asks for R 4.2: images have Python;"
        ' [layers.apt] packages = ["r-base"] in ocicaliban.toml adds Debian\'s R',
        "not read: requirements-dev.txt (to use requirements-dev.txt instead, "
        'write [layers.python] requirements = "requirements-dev.txt")',
    )


@pytest.mark.parametrize(
    ("link", "files"),
    [
        *((name, {}) for name in sorted(registry.NAMES)),
        *((name, {"requirements.txt": ""}) for name in sorted(registry.NAMES - {"requirements.txt"})),
        *((f"binder/{name}", {"binder/x": ""}) for name in ("requirements.txt", "environment.yml", "apt.txt", "start")),
        (".binder/runtime.txt", {".binder/x": ""}),
        *((name, {"requirements.txt": ""}) for name in (".python-version", "runtime.txt", "apt.txt", "postBuild")),
        *((name, {"requirements.txt": ""}) for name in ("binder", ".binder", "requirements", "uv.toml")),
        *((name, {"requirements.txt": ""}) for name in ("requirements-dev.txt", "dev-requirements.in")),
        ("requirements/base.txt", {"requirements/x": ""}),
        ("code/requirements.txt", {"code/train.py": ""}),
    ],
)
def test_a_link_that_leads_to_no_file_is_an_error(tmp_path: Path, link: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        folders.write(tmp_path, {name: text})
    (tmp_path / link).symlink_to("gone/away")
    script = "code/train.py" if link.startswith("code/") else ""
    with pytest.raises(UsageError) as caught:
        environment(tmp_path, {}, script=script)
    assert caught.value.message.startswith(f"{tmp_path / link}: is a symbolic link to gone/away")
    assert f"rm {tmp_path / link}" in caught.value.hint


def test_a_link_matters_only_where_the_file_would(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").symlink_to("there.txt")
    (tmp_path / "there.txt").write_text("six\n")
    assert environment(tmp_path, {}).source == LISTS
    (tmp_path / "Pipfile.lock").symlink_to("Pipfile.lock")
    with pytest.raises(UsageError, match=r"Pipfile\.lock: is a symbolic link to Pipfile\.lock"):
        environment(tmp_path, {})
    assert environment(tmp_path, {}, named=LISTS).source == LISTS
    assert environment(tmp_path, {"train.py": HEADER}, script="train.py").source == "train.py"
    with pytest.raises(UsageError, match="is a symbolic link"):
        environment(tmp_path, {}, named="Pipfile.lock")


@pytest.mark.parametrize(
    ("name", "proper", "may_be_named"),
    [
        ("Requirements.txt", "requirements.txt", True),
        ("REQUIREMENTS.TXT", "requirements.txt", True),
        ("Requirements.in", "requirements.in", True),
        ("ENVIRONMENT.yml", "environment.yml", True),
        ("Environment.YAML", "environment.yaml", True),
        ("binder/Requirements.txt", "binder/requirements.txt", True),
        ("Binder/environment.yml", "binder/environment.yml", True),
        ("code/Requirements.txt", "code/requirements.txt", True),
        *((name, "Pipfile", False) for name in ("pipfile", "PipFile", "PIPFILE")),
        ("pipfile.lock", "Pipfile.lock", False),
        ("Pyproject.toml", "pyproject.toml", False),
        ("Poetry.lock", "poetry.lock", False),
        ("UV.lock", "uv.lock", False),
        ("Setup.py", "setup.py", False),
        ("Conda-Lock.yml", "conda-lock.yml", False),
        ("Cog.yaml", "cog.yaml", False),
    ],
)
def test_a_file_in_other_capitals_is_named(tmp_path: Path, name: str, proper: str, may_be_named: bool) -> None:
    text = "dependencies: [six]\n" if "nvironment" in name.lower() else "six\n"
    script = "code/train.py"
    with pytest.raises(UsageError, match=f"^{name} is not read: the name of such a file is") as caught:
        environment(tmp_path, {name: text, script: ""}, script=script)
    assert caught.value.hint.startswith(f"rename it: mv {name} {proper}\n")
    assert f'requirements = "{name if may_be_named else "none"}"' in caught.value.hint
    assert environment(tmp_path, {}, named="none", script=script).notes == ()
    if may_be_named:
        assert environment(tmp_path, {}, named=name, script=script).source == name
    files = {"requirements.txt": "six\n"} if proper != "requirements.txt" else {"Pipfile": '[packages]\nsix = "*"\n'}
    found = environment(tmp_path, files, script=script)
    assert uses(found)[name] == "unread"
    wanted = OTHER.format(name) if may_be_named else f"rename it: mv {name} {proper}"
    assert sum(wanted in note for note in found.notes) == 1


def test_other_files_in_other_capitals_are_named(tmp_path: Path) -> None:
    names = ("Runtime.txt", "APT.txt", "postbuild", "Requirements-dev.txt", "Requirements/base.txt")
    found = environment(tmp_path, {"requirements.txt": "-r MORE.txt\n", "START": "", **dict.fromkeys(names, "")})
    assert {path for path, use in uses(found).items() if use == "unread"} == {*names}
    assert "not read: APT.txt, as the name of such a file is apt.txt; rename it: mv APT.txt apt.txt" in found.notes


def test_a_file_in_other_capitals_counts_if_another_includes_it(tmp_path: Path) -> None:
    found = environment(tmp_path, {"requirements.txt": "-r Requirements.txt\n", "Requirements.txt": "six\n"})
    assert found.source == LISTS and found.notes == ()


def test_a_file_in_other_capitals_beside_the_proper_one(tmp_path: Path) -> None:
    found = environment(tmp_path, {"Pipfile": '[packages]\nsix = "*"\n', "pipfile": ""})
    assert found.notes == ("not read: pipfile, as the name of such a file is Pipfile; move what it says into Pipfile",)
