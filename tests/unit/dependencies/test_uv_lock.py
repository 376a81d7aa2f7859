"""uv.lock: where packages come from."""

from __future__ import annotations

import tomllib

from ocicaliban.dependencies.uv_lock import with_own_indexes

LOCK = """
[[package]]
name = "torch"
version = "2.1"
source = { registry = "https://t/cpu" }
wheels = [{ url = "https://t/a.whl", hash = "sha256:aa" }]
[[package]]
name = "torch"
version = "2.1"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://p/a.tar.gz", hash = "sha256:bb" }
[[package]]
name = "ours"
version = "1"
source = { registry = "https://t/cpu" }
wheels = [{ url = "https://t/b.whl" }]
[[package]]
name = "study"
source = { virtual = "." }
"""


def test_packages_that_are_locked_from_an_explicit_index() -> None:
    exported = (
        "ours==1\n"
        "torch==2.1 ; sys_platform == 'darwin' \\\n    --hash=sha256:bb\n"
        "torch==2.1 ; sys_platform == 'linux' \\\n    --hash=sha256:aa\n"
    )
    assert with_own_indexes(exported, tomllib.loads(LOCK), ["cpu=https://me:secret@t/cpu/"]) == (
        "ours==1\n    # from cpu=https://t/cpu\n"
        "torch==2.1 ; sys_platform == 'darwin' \\\n    --hash=sha256:bb\n"
        "torch==2.1 ; sys_platform == 'linux' \\\n    --hash=sha256:aa\n    # from cpu=https://t/cpu\n"
    )
