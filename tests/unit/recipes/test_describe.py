"""What `layers show` says of a recipe."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe
from ocicaliban.recipes import catalog, describe, loader, params

LAYER = """
summary = "A tool"
after = ["base"]
provides = "tool"
[params.names]
type = "list"
sort = true
help = "what to install"
example = '["a", "b"]'
[params.word]
required = true
[params.level]
type = "int"
default = 3
[params.quick]
type = "bool"
default = false
[[steps]]
do = "run"
when = "names"
script = "install.sh"
env = { NAMES = "${names}" }
files = { "list.txt" = "${word}" }
tools = ["uv"]
cache = ["/var/cache/x"]
secrets = ["token"]
[[steps]]
do = "configure"
path = ["/opt/x/bin"]
workdir = "/opt/x"
entrypoint = ["x", "serve"]
ports = ["8080"]
[launch]
when = "!quick"
env = { LEVEL = "${level}" }
mounts = ["${project}/out:/out"]
ports = ["8080:8080"]
devices = ["gpu"]
command = ["x"]
workdir = "/out"
"""

SHOWN = """\
tool: A tool

  project, layers/tool
  in the modes lab
  its layer comes after base, if the mode has them
  provides the tool; a mode can have only one recipe that does

Parameters, in ocicaliban.toml:

  [layers.tool]

  # list of strings, sorted, so that their order does not matter
  # what to install
  names = ["a", "b"]

  # string, required
  word = "..."

  # whole number, default 3
  level = 3

  # bool, default false
  quick = false

Step 1: run install.sh in the container, if names is set
  env NAMES = ${names}
  sees ${word} as /dev/oc/list.txt
  sees the host's uv as /dev/oc/uv
  keeps /var/cache/x between builds, on the host
  sees the build secrets token below /dev/oc/secrets
  | set -eu
  | echo $NAMES

Step 2: configure the image
  PATH begins with /opt/x/bin
  working folder /opt/x
  entry point x serve
  ports 8080

When a container starts, if quick is not set:
  env LEVEL = ${level}
  mount ${project}/out:/out
  port 8080:8080
  device gpu
  command x
  working folder /out
"""


def test_a_recipe_is_shown_with_all_that_it_takes_and_does(tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "layer.toml").write_text(LAYER)
    (folder / "install.sh").write_text("set -eu\necho $NAMES\n")
    recipe = loader.load_recipe(folder, "project")
    assert "\n".join(describe.recipe_lines(recipe, "layers/tool", ["lab"])) + "\n" == SHOWN


BUILT_IN = [name for name, _, _ in catalog.names(Project(root=Path("/nonexistent")))]


def _built_in(name: str) -> Recipe:
    return catalog.find(Project(root=Path("/nonexistent")), name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_shown_of_a_built_in_recipe_is_toml_that_it_takes(name: str) -> None:
    recipe = _built_in(name)
    lines = describe.recipe_lines(recipe, "here")
    assert lines[0].startswith(f"{name}: ")
    assert any("layers eject" in line for line in lines)
    if recipe.params:
        start = lines.index(f"  [layers.{name}]")
        ends = (index for index, line in enumerate(lines) if index > start and line[:1] not in ("", " "))
        given = tomllib.loads("\n".join(lines[start : next(ends, len(lines))]))["layers"][name]
        assert set(given) == set(recipe.params)
        params.resolve(recipe, given, "cpu")
        params.resolve(recipe, given, "gpu")
        assert all(param.help for param in recipe.params.values())
