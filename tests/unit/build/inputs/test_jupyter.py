"""What the recipe's parameters ask for."""

from __future__ import annotations

import pytest

from ocicaliban.build.inputs import jupyter
from ocicaliban.build.inputs.provider import InputParameters
from ocicaliban.errors import UsageError
from ocicaliban.model.recipe import Param, Recipe, Value


def parameters(**values: Value) -> InputParameters:
    recipe = Recipe(name="mine", summary="", params={name: Param() for name in ("interface", "version", "packages")})
    return InputParameters(recipes=(recipe,), values=values)


@pytest.mark.parametrize("version", ["4.4; rm", "four", "4.*"])
def test_an_invalid_version_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match=r"layers\.mine\.version: '.*' is not a version of jupyterlab"):
        jupyter.packages(parameters(interface="lab", version=version))


def test_an_unknown_interface_is_refused() -> None:
    with pytest.raises(UsageError, match=r"layers\.mine\.interface: there is no interface 'labs'") as caught:
        jupyter.packages(parameters(interface="labs"))
    assert caught.value.hint == "did you mean 'lab'?"


def test_the_packages_of_an_interface() -> None:
    asked = parameters(interface="notebook", version="7.2", packages=("a",))
    assert jupyter.packages(asked) == ("notebook==7.2.*", "jupyter-server>=2", "a")
    assert jupyter.packages(parameters(interface="lab", version="4.4.1rc1"))[0] == "jupyterlab==4.4.1rc1"
