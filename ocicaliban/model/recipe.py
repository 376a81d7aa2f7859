"""Recipes as their files declare them, and the values of parameters."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

Variant = Literal["cpu", "gpu"]


ParamType = Literal["string", "list", "bool", "int"]


Value = str | bool | int | tuple[str, ...]


@frozen(kw_only=True)
class Param:
    """A parameter of a recipe. `sort` says that the order of a list does not matter. `example` is a value in TOML."""

    type: ParamType = "string"
    required: bool = False
    default: Value | None = None
    sort: bool = False
    help: str = ""
    example: str = ""


@frozen(kw_only=True)
class StepTemplate:
    """A step as a recipe's file declares it, with `${param}` not replaced yet.

    `do` says what it does: `run` a script in the container, `copy` a tree of files into the image, or `configure` the
    image. A script sees the recipe's `programs` below /dev/oc, and each of `trees` in the folder that is its key.
    uv in it asks `index` alone, if that is not empty, and no index if it is `none`. `variables` are more of `env`, as
    NAME=VALUE. `hint` says what the user can do if it fails. With `root_only` a script gives no file to another user
    than root. All that it changes is in the folder `within`: containers on this machine then mount that folder, and no
    layer is stored. With `singly`, the name of one of its files, it installs the packages that the file lists into the
    Python environment `within`: the files of each package are then kept for all environments. `uv_settings` are lines
    for uv's settings in the step.
    """

    do: Literal["run", "copy", "configure"]
    when: str = ""
    script: str = ""
    env: dict[str, str] = field(factory=dict)
    variables: tuple[str, ...] | str = ()
    files: dict[str, str] = field(factory=dict)
    programs: tuple[str, ...] = ()
    trees: dict[str, str] = field(factory=dict)
    hint: str = ""
    root_only: bool = False
    within: str = ""
    singly: str = ""
    cache: tuple[str, ...] = ()
    tools: tuple[Literal["uv"], ...] = ()
    secrets: tuple[str, ...] | str = ()
    index: str = ""
    uv_settings: str = ""
    tree: str = ""
    to: str = ""
    path: tuple[str, ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] | str = ()
    ports: tuple[str, ...] = ()


@frozen(kw_only=True)
class LaunchTemplate:
    """What a recipe adds to the launch of a container. `capabilities` are what root may do there, such as "CHOWN"."""

    when: str = ""
    env: dict[str, str] = field(factory=dict)
    mounts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    devices: tuple[Literal["gpu"], ...] = ()
    command: tuple[str, ...] | str = ()
    workdir: str = ""
    capabilities: tuple[str, ...] = ()


@frozen(kw_only=True)
class Recipe:
    """A layer recipe: `layers/NAME/layer.toml` and the scripts beside it.

    `inputs` are the kinds of input that it takes. `former_inputs` are those of the built-in recipe that it replaces,
    if it names none itself, as recipes did before there were inputs. It then sees their values, and makes one layer.
    `origin` says where it comes from: project, user or built-in.
    """

    name: str
    summary: str
    after: tuple[str, ...] = ()
    provides: str = ""
    inputs: tuple[str, ...] = ()
    former_inputs: tuple[str, ...] = ()
    params: dict[str, Param] = field(factory=dict)
    steps: tuple[StepTemplate, ...] = ()
    launch: LaunchTemplate = field(factory=LaunchTemplate)
    scripts: dict[str, str] = field(factory=dict)
    origin: str = "built-in"
