"""Tell a traceback of our own code from one of a project's build, which uv runs below a folder of our name."""

import re

_FRAME = re.compile(r'File "(?!/dev/oc-cache/)[^"]*ocicaliban/')


def of_ours(text: str) -> bool:
    """Return whether a text has a traceback with a line of a file of ocicaliban."""
    return "Traceback" in text and _FRAME.search(text) is not None
