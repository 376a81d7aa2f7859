"""What is known of credentials without asking Google."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban import google_auth

PLUGIN = "Getting metadata from plugin failed with error: "


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (f"{PLUGIN}invalid_grant", "invalid_grant"),
        (f"{PLUGIN}HTTPSConnectionPool(host='oauth2'): Max retries exceeded", ""),
        ("Socket closed", ""),
    ],
)
def test_credentials_that_have_expired_are_told_apart_from_a_network_that_is_down(message: str, why: str) -> None:
    assert google_auth.no_login(message) == why


def test_a_login_that_failed_says_how_to_log_in() -> None:
    fault = google_auth.login_failed("invalid_grant", " the job")
    assert fault.message == "Google rejects the credentials the job: invalid_grant"
    assert fault.hint == google_auth.LOG_IN


def test_the_file_with_the_credentials_is_the_one_that_is_named_or_gclouds(tmp_path: Path) -> None:
    assert google_auth.file("key.json", {"GOOGLE_APPLICATION_CREDENTIALS": "other.json"}) == "key.json"
    assert google_auth.file("", {"GOOGLE_APPLICATION_CREDENTIALS": "other.json"}) == "other.json"
    settings = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert google_auth.file("", settings) == ""
    login = tmp_path / "application_default_credentials.json"
    login.write_text("{}")
    assert google_auth.file("", settings) == str(login)


def test_a_recorded_key_file_counts_while_it_is_there(tmp_path: Path) -> None:
    assert google_auth.recorded(str(tmp_path)) == str(tmp_path)
    assert google_auth.recorded(str(tmp_path / "gone")) == google_auth.recorded(None) == ""
