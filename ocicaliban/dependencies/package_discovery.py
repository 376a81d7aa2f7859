"""Ask setuptools whether it finds the packages of a folder by itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from ocicaliban.containers import tree_folder
from ocicaliban.model.image import Tree


def refusal(tree: Tree) -> str:
    """Return why setuptools does not search the packages of a folder, "" if it does; `tree` is what its build sees.

    In a flat folder with several packages it refuses, since some of them may not be meant to be installed.
    """
    os.environ.setdefault("SETUPTOOLS_USE_DISTUTILS", "local")
    from setuptools.dist import Distribution
    from setuptools.errors import PackageDiscoveryError

    with TemporaryDirectory(prefix="ocicaliban-") as folder:
        root = Path(folder) / "package"
        tree_folder.write_folder(tree, root)
        distribution = Distribution({"name": "package", "src_root": str(root)})
        try:
            distribution.set_defaults(name=False)
        except PackageDiscoveryError as exc:
            names = sorted(re.findall(r"'([^']+)'", str(exc)))
            return f"setuptools does not choose among {', '.join(names)}"
    return ""
