"""Check that this machine can submit jobs to Vertex AI."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping

from ocicaliban.doctor.finding import Finding
from ocicaliban.system import installation

LIBRARY = "google.cloud.aiplatform_v1"


def google(library: bool, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Check for Google credentials, but only if Google's library is installed: local work needs neither.

    They are searched for where the library does it, except on the metadata server of Google's machines.
    """
    if not library:
        message = "the library for Vertex AI is not installed; only `cloud` needs it"
        return (Finding(name="Google", level="missing", message=message, remedy=installation.with_extra("vertex")),)
    installed = Finding(name="Google", level="ok", message="the library for Vertex AI is installed")
    name = "GOOGLE_APPLICATION_CREDENTIALS"
    home = environ.get("CLOUDSDK_CONFIG") or os.path.join(environ.get("HOME") or "/", ".config", "gcloud")
    own = environ.get(name) or os.path.join(home, "application_default_credentials.json")
    log_in = "gcloud auth application-default login, or `cloud --cloud-key FILE` with a service account's key"
    if os.access(own, os.R_OK):
        return installed, Finding(name="Google", level="ok", message=f"credentials: {own}")
    if environ.get(name):
        message = f"{name} names {own}, which cannot be read"
        return installed, Finding(name="Google", level="warning", message=message, remedy=f"unset {name}, or {log_in}")
    message = "no credentials: `cloud` needs them, unless this is a machine of Google's cloud"
    return installed, Finding(name="Google", level="warning", message=message, remedy=log_in)


def is_installed(module: str) -> bool:
    """Return whether a module is installed; only its parent packages are imported, and Google's are empty."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
