"""What a gRPC status of Vertex AI means for a request, and how to remedy it (pure)."""

from __future__ import annotations

from ocicaliban import google_auth
from ocicaliban.targets.submit_once import Verdict

_REFUSED = (
    *("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "UNAUTHENTICATED"),
)

# The service answers RESOURCE_EXHAUSTED for two things: too many requests in this minute, and a quota of machines or
# accelerators that the job exceeds, where waiting does not help. Only the words tell them apart.
_NO_QUOTA = "exceed quota limits"

_TOO_LARGE = "larger than max"
"""gRPC's words, with the same code, for a message that is too large to send."""


def judge(code: str, message: str) -> Verdict:
    """Return what a create that failed with this gRPC status code (by its name) means.

    UNAVAILABLE, DEADLINE_EXCEEDED and everything else that is not a plain refusal may come after the job was made.
    A create is not idempotent, so look the job up before you send it again.
    """
    if google_auth.no_login(message):
        return "refused"  # the request never left this machine, though gRPC says UNAVAILABLE
    if code == "RESOURCE_EXHAUSTED":
        return "refused" if _NO_QUOTA in message or _TOO_LARGE in message else "throttled"
    return "refused" if code in _REFUSED else "unclear"


def remedy(code: str, message: str, project: str, region: str) -> str:
    """Return what to do about a refusal."""
    low = message.lower()
    if _TOO_LARGE in message:
        return "a job's arguments and parameters take some megabytes at most: put the rest into a file of the project"
    if code == "RESOURCE_EXHAUSTED":
        quotas = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
        return f"ask for the quota in {region} at {quotas}, or choose another machine, accelerator or --region"
    if code == "PERMISSION_DENIED":
        return _permission(low, project)
    if code == "UNAUTHENTICATED":
        return google_auth.LOG_IN
    if code == "NOT_FOUND":
        return f"check the project {project} and the region {region}: --project-id, --region"
    if "machine type" in low:
        return f"choose another --machine-type, or a --region that has it (here: {region})"
    if "image" in low:
        return "push the image again; the service must be able to read it"
    return "the service's own words above say what is wrong; --dry-run prints the job"


def _permission(message: str, project: str) -> str:
    if "has not been used" in message:
        return f"gcloud services enable aiplatform.googleapis.com --project={project}"
    if "actas" in message.replace(".", "").replace("_", ""):
        return "ask for the role roles/iam.serviceAccountUser on that --service-account"
    return f"ask the owner of the project {project} for the role roles/aiplatform.user, or choose another --project-id"
