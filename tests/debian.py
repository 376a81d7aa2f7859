"""Locked Debian packages, as a lock has them."""

import hashlib

HEAD = "# http://deb.example.org/debian 20261127T021032Z\n"


def line(name: str, version: str = "1.0-1", content: bytes = b"deb", *, size: int | None = None) -> str:
    """The line of a package in a lock; `content` is that of its file."""
    sha = hashlib.sha256(content).hexdigest()
    file = f"{name}_{version.partition(':')[2] or version}_all.deb"
    return f"{name}={version} all {len(content) if size is None else size} sha256:{sha} pool/main/x/{name}/{file}\n"
