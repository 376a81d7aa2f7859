"""Write a pyproject.toml for uv: a list of requirements cannot say that a package comes from one index alone; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping


def pyproject(requirements: Iterable[str], pins: Mapping[str, str], explicit: Iterable[str] = ()) -> str:
    """Return a pyproject.toml with these requirements (PEP 508).

    `pins` has the index of each package that comes from it alone. The same index may be one of the `explicit` ones too,
    with user and password.
    """
    from ocicaliban.dependencies.indexes import matching

    known = list(explicit)
    names: dict[str, str] = {}
    for index in dict.fromkeys(pins.values()):
        declared = matching(index, known) or index
        named = re.match(r"([\w.-]+)=", declared) or re.match(r"([\w.-]+)=", index)
        names[index] = named[1] if named else f"index-{len(names) + 1}"
        known.append(declared)
    lines = ["[project]", 'name = "ocicaliban-requirements"', 'version = "0"', "dependencies = ["]
    lines += [f"    {json.dumps(requirement)}," for requirement in requirements]
    lines.append("]")
    for index, name in names.items():
        url = re.sub(r"^[\w.-]+=", "", matching(index, known))
        lines += ["[[tool.uv.index]]", f"name = {json.dumps(name)}", f"url = {json.dumps(url)}", "explicit = true"]
    lines.append("[tool.uv.sources]")
    lines += [f"{json.dumps(package)} = {{ index = {json.dumps(names[index])} }}" for package, index in pins.items()]
    return "\n".join(lines) + "\n"
