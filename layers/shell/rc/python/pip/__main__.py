"""Answer what to do instead of `pip install`: it would change a container that is gone soon."""

import os
import sys


def main(words):
    """Print the answer for the words of a command line, and return its exit code."""
    verb = next((word for word in words if not word.startswith("-")), "")
    names = [word for word in words if not word.startswith("-")][1:]
    if verb in ("list", "freeze", "show"):
        from importlib.metadata import distributions

        found = {each.metadata["Name"]: each.version for each in distributions()}
        for name in sorted(found, key=str.lower):
            if verb != "show" or name in names:
                print(f"{name}=={found[name]}")
        return 0
    how = os.environ.get("OCICALIBAN_ADD") or "add it to requirements.txt"
    print("error: this environment is made from the project's files, and has no pip", file=sys.stderr)
    if verb == "install":
        how = how.replace("PACKAGE", " ".join(names) or "PACKAGE")
        print(f" hint: outside of the container: {how}; then start the shell or the notebook again", file=sys.stderr)
    else:
        print(" hint: python -m pip list shows what it has", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
