"""What an answer of Vertex AI means."""

from __future__ import annotations

import pytest

from ocicaliban.targets.vertex import status_codes

_PLUGIN = "Getting metadata from plugin failed with error: "


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        ("UNAVAILABLE", "Socket closed", "unclear"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "unclear"),
        ("INTERNAL", "Received RST_STREAM", "unclear"),
        ("UNKNOWN", "", "unclear"),
        ("CANCELLED", "", "unclear"),
        ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Job or LRO submission requests'", "throttled"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (6000000 vs. 4194304)", "refused"),
        ("RESOURCE_EXHAUSTED", "The following quota metrics exceed quota limits: aiplatform...v100_gpus", "refused"),
        ("PERMISSION_DENIED", "Permission 'aiplatform.customJobs.create' denied", "refused"),
        ("INVALID_ARGUMENT", 'Machine type "x" is not supported.', "refused"),
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: invalid_grant", "refused"),
        (
            "UNAVAILABLE",
            f"{_PLUGIN}HTTPSConnectionPool(host='oauth2'): Max retries exceeded with url: /token",
            "unclear",
        ),
        ("UNAVAILABLE", f"{_PLUGIN}('Connection aborted.', ConnectionResetError(104))", "unclear"),
    ],
)
def test_what_a_failed_create_means(code: str, message: str, verdict: str) -> None:
    assert status_codes.judge(code, message) == verdict


def test_a_refusal_has_a_remedy() -> None:
    remedies = {
        ("RESOURCE_EXHAUSTED", "exceed quota limits"): "quotas?project=p",
        ("PERMISSION_DENIED", "Vertex AI API has not been used in project 1 before"): "gcloud services enable",
        ("PERMISSION_DENIED", "iam.serviceAccounts.actAs"): "serviceAccountUser",
        ("PERMISSION_DENIED", "denied"): "roles/aiplatform.user",
        ("UNAUTHENTICATED", ""): "gcloud auth application-default login",
        ("INVALID_ARGUMENT", 'Machine type "x" is not supported.'): "--machine-type",
    }
    for (code, message), told in remedies.items():
        assert told in status_codes.remedy(code, message, "p", "us-central1")
