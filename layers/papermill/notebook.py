"""Run a notebook: `python3 notebook.py STUDY.ipynb [PARAMETER]...`; the executed notebook is in /out.

A parameter is written as for papermill (`-p NAME VALUE`, or `-r NAME VALUE` for text as it is), as `NAME=VALUE`, or as
an option (`--name VALUE`, `--name=VALUE`, `--name` for true). The parameters of a sweep are in OCICALIBAN_PARAMETERS,
or in the file OCICALIBAN_PARAMETERS_FILE, with their types. They take the place of those in the notebook's cell with
the tag `parameters`.
"""

import ast
import json
import os
import sys
from pathlib import Path

OUT = Path("/out")


def value(text):
    """Return a number, a truth value, None or a list from its text; other text as it is."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False}.get(text, text)
    return text if isinstance(found, (str, bytes)) else found


def parameters(words):
    """Return the parameters that words of the command line give. Raises ValueError for other words."""
    given = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-p", "--parameters", "-r", "--parameters_raw"):
            if len(rest) < 2:
                raise ValueError(f"{word} needs a name and a value")
            name, text = rest.pop(0), rest.pop(0)
            given[name] = text if word in ("-r", "--parameters_raw") else value(text)
            continue
        name, equals, text = word.partition("=")
        if word.startswith("--"):
            name = name[2:]
            if equals:
                given[name] = value(text)
            elif rest and (not rest[0].startswith("-") or is_number(rest[0])):
                given[name] = value(rest.pop(0))
            else:
                given[name] = True
        elif equals and not word.startswith("-"):
            given[name] = value(text)
        else:
            raise ValueError(f"'{word}' is no parameter of a notebook: -p NAME VALUE, NAME=VALUE or --NAME VALUE")
    return {name.replace("-", "_"): each for name, each in given.items()}


def is_number(text):
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def of_sweep():
    """Return the parameters of a sweep as a JSON text; those that are too long for a variable are in a file."""
    if path := os.environ.get("OCICALIBAN_PARAMETERS_FILE"):
        return Path(path).read_text(encoding="utf-8")
    return os.environ.get("OCICALIBAN_PARAMETERS", "")


def table(found):
    """Return what a notebook has in a place for a table; an empty one for anything else."""
    return found if isinstance(found, dict) else {}


def read(path):
    """Return a notebook. Raises ValueError if the file holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    cells = table(found).get("cells", [])  # up to version 3 they are in another place
    if not isinstance(found, dict) or not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError("it is not a notebook")
    return found


def kernel(notebook):
    """Return the kernel and the language of a notebook: this environment's own for Python, whatever its name was."""
    known = table(notebook.get("metadata"))
    spec = table(known.get("kernelspec"))
    language = spec.get("language") or table(known.get("language_info")).get("name") or "python"
    if not isinstance(language, str):
        raise ValueError("its metadata name no language")
    return ("python3", "python") if language.lower() == "python" else (spec.get("name"), language)


def main(words):
    """Run the notebook and return the exit code."""
    path = Path(words[0])
    try:
        given = parameters(words[1:])
        name, language = kernel(read(path))
    except (OSError, ValueError) as exc:
        print(f"{path}: {exc}", file=sys.stderr)
        return 2
    given.update(json.loads(of_sweep() or "{}"))
    OUT.mkdir(parents=True, exist_ok=True)
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            str(path),
            str(OUT / path.name),
            parameters=given,
            kernel_name=name,
            language=language,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            cwd=str(path.parent),
            config=Config(KernelManager={"transport": "ipc"}),  # no port that others on this machine can listen to
        )
    except papermill.PapermillExecutionError as exc:
        print(str(exc).strip("\n"), file=sys.stderr)
        return 1
    except NoSuchKernel as exc:
        print(f"{path}: the environment has no kernel '{exc.name}' for {language}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
