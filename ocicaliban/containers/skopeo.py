"""Run skopeo: copy an image from an OCI layout to a registry."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.system import process


def require() -> None:
    """Raise OcicalibanError, with the package to install, if skopeo is not installed."""
    process.tool("skopeo")


def copy_layout(folder: Path, layout: str, reference: str, *, tls_verify: bool, auth_file: str = "") -> None:
    """Copy the image of the OCI layout `layout` (relative to `folder`) to a registry, with the same digests.

    `reference` is REGISTRY/NAME:TAG. Without an `auth_file` skopeo searches for logins itself. Raises ToolError.
    """
    # We have just written the source, so the policy for images does not apply to it.
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests"]
    # skopeo does not read CONTAINERS_REGISTRIES_CONF by itself.
    if not tls_verify:
        argv.append("--dest-tls-verify=false")
    if auth_file:
        argv += ["--authfile", auth_file]
    process.run((*argv, f"oci:{layout}", f"docker://{reference}"), cwd=folder)
