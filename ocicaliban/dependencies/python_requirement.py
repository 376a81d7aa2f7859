"""What a project's files say about its Python."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

_VERSION = re.compile(r"(?:(?:c?python)[-@ ]?)?v?(\d+)\.(\d+)(\.\d+)?(?:(?:a|b|rc)\d+)?(?:-dev|-linux(?:-\w+){0,2})?")
_OTHER_PYTHON = re.compile(r"(pypy|graalpy|jython|micropython|pyston).*|.*\d\.\d+(\.\d+)?(t|\+freethreaded)\b.*", re.I)
_SETUP_CFG = re.compile(r"^python[_-]requires[ \t]*=[ \t]*(\S.*)$", re.M)
_TOML_KEY = re.compile(r'^requires-python\s*=\s*["\']([^"\']*)["\']', re.M)


@frozen(kw_only=True)
class PythonRequirement:
    """What a file says about the project's Python.

    `place` names the file and the key ("pyproject.toml: requires-python"), and `specifier` is a set of PEP 440
    specifiers (">=3.10"). A `pinned` one chooses a version (.python-version), others allow a range. `other` names a
    Python that no image has, such as PyPy.
    """

    place: str
    specifier: str
    pinned: bool = False
    other: str = ""

    @property
    def file(self) -> str:
        """The file that says it."""
        return self.place.partition(": ")[0]


# --- what other modules need to read one ---


def requirement(place: str, specifier: object, *, pinned: bool = False) -> tuple[PythonRequirement, ...]:
    """Return what a place says about Python; () if `specifier` says nothing, or is no text."""
    if not isinstance(specifier, str) or not specifier.strip():
        return ()
    return (PythonRequirement(place=place, specifier=specifier.strip(), pinned=pinned),)


def of_version(text: str) -> str:
    """Return the specifier for a version as people write it ("3.10", "python-3.10.4"); "" for another text."""
    if re.fullmatch(r"(?:c?python[-@]?)?3", text.strip()):
        return "==3.*"
    match = _VERSION.fullmatch(text.strip())
    return f"=={match[1]}.{match[2]}{match[3] or '.*'}" if match else ""


def is_other_python(text: str) -> bool:
    """Whether a version as people write it is not of the usual CPython: of PyPy, or of one without the GIL."""
    return _OTHER_PYTHON.fullmatch(text.strip()) is not None


def of_toml_head(path: Path, file: str) -> tuple[PythonRequirement, ...]:
    """Return the requires-python at the head of a lock in TOML. Locks are large, and reading one whole takes long."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        match = _TOML_KEY.search(lines.read(4096).partition("\n[[")[0])
    return requirement(f"{file}: requires-python", match[1] if match else None)


def of_setup_cfg(root: Path) -> tuple[PythonRequirement, ...]:
    """Return the python_requires of the setup.cfg in a folder."""
    path = root / "setup.cfg"
    match = _SETUP_CFG.search(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    return requirement("setup.cfg: python_requires", match[1] if match else None)


def of_setup_script(root: Path) -> tuple[PythonRequirement, ...]:
    """Return the python_requires that the setup.py in a folder gives as a literal or as the name of a literal."""
    path = root / "setup.py"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return requirement(
        "setup.py: python_requires", _literal(text, "python_requires") if "python_requires" in text else ""
    )


def _literal(text: str, keyword: str) -> object:
    """Return the value of a keyword argument in a program, if it is a literal or names one; else None."""
    import ast  # few projects need it

    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    constants: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            constants |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == keyword:
            if isinstance(node.value, ast.Constant):
                return node.value.value
            if isinstance(node.value, ast.Name):
                return constants.get(node.value.id)
    return None
