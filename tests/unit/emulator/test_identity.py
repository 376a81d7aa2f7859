"""The account of the emulator: who can prove to be it."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.emulator.identity import ServiceAccount


@pytest.fixture(scope="module")
def account() -> ServiceAccount:
    return ServiceAccount("rehearsal")


def signed(account: ServiceAccount, **claims: object) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    text = f"{part(json.dumps({'alg': 'RS256'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{text}.{part(account._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_the_token_is_for_who_has_the_key_alone(account: ServiceAccount) -> None:
    claims = {"exp": time.time() + 60}
    token = account.token(signed(account, **claims))
    assert (
        len(token) > 30
        and account.is_authorized(f"Bearer {token}")
        and account.is_authorized(f"Bearer {signed(account, **claims)}")
    )
    other = ServiceAccount("rehearsal")
    for bad in (signed(other, **claims), signed(account, **{**claims, "exp": time.time() - 60})):
        assert not account.token(bad) and not account.is_authorized(f"Bearer {bad}")
    assert (
        not account.is_authorized(token)
        and not account.is_authorized("Bearer ")
        and not other.is_authorized(f"Bearer {token}")
    )


@given(st.text())
def test_no_text_opens_the_door(account: ServiceAccount, text: str) -> None:
    assert not account.token(text) and not account.is_authorized(text) and not account.is_authorized(f"Bearer {text}")


def test_a_token_that_was_changed_is_none(account: ServiceAccount) -> None:
    head, _, rest = signed(account, exp=time.time() + 60).partition(".")
    payload, _, signature = rest.partition(".")
    later = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 9999}).encode()).decode().rstrip("=")
    for text in (f"{head}.{later}.{signature}", f"{head}.{payload}.", f"{head}.{payload}", f"{payload}.{signature}"):
        assert not account.is_authorized(f"Bearer {text}")
