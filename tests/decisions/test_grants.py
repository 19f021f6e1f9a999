"""Approval grants: every bit counts, and they fit one act on one content for a time."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from plans.approvals.grant_claims import (
    CLOCK_LEEWAY,
    Bound,
    GrantClaims,
    GrantRefused,
    read_claims,
    require_fit,
    seconds,
)
from plans.approvals.grant_signing import SealedGrant, opened, seal

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
CLAIMS = GrantClaims(
    jti="0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11",
    aud="upgradeconsole/console",
    kid="k1",
    action="start",
    plan_id="5f0c7d52-7b36-4a4c-9a6e-0d2d1a9f4c11",
    plan_digest="d" * 64,
    batch=None,
    tenants_digest="7" * 64,
    policy_digest="9" * 64,
    artifact_sha256="a" * 64,
    subject="request",
    requester="mara",
    approver="aram",
    role="system_admin",
    quorum="1of2",
    amr=("pwd", "totp"),
    auth_time=seconds(AT) - 60,
    iat=seconds(AT),
    nbf=seconds(AT),
    exp=seconds(AT) + 3600,
)
BOUND = Bound(
    aud=CLAIMS.aud,
    action="start",
    plan_id=CLAIMS.plan_id,
    plan_digest=CLAIMS.plan_digest,
    tenants_digest=CLAIMS.tenants_digest,
    policy_digest=CLAIMS.policy_digest,
    artifact_sha256=CLAIMS.artifact_sha256,
    subject="request",
)
SEALED = seal(CLAIMS, KEY.sign)


def key_of(kid: str) -> Any:
    return {"k1": KEY, "k2": OTHER}[kid].public_key() if kid in {"k1", "k2"} else None


def refusal(sealed: SealedGrant) -> str:
    """Return why a grant is refused."""
    with pytest.raises(GrantRefused) as refused:
        opened(sealed, key_of)
    return refused.value.code


def signed(body: Any, *, key: Ed25519PrivateKey = KEY, kid: str = "k1") -> SealedGrant:
    """Return anything with a genuine signature over its canonical form."""
    return signed_bytes(rfc8785.dumps(body), key=key, kid=kid)


def signed_bytes(payload: bytes, *, key: Ed25519PrivateKey = KEY, kid: str = "k1") -> SealedGrant:
    text, sig = (base64.b64encode(data).decode() for data in (payload, key.sign(payload)))
    return SealedGrant(text, sig, kid)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_grant_says_what_was_signed():
    assert opened(SEALED, key_of) == CLAIMS
    assert opened(SealedGrant.from_json(json.loads(json.dumps(SEALED.to_json()))), key_of) == CLAIMS


def test_fault_27_any_flipped_bit_of_the_signed_json_is_refused():
    payload = base64.b64decode(SEALED.payload)
    for bit in range(8 * len(payload)):
        text = base64.b64encode(flipped(payload, bit)).decode()
        assert refusal(replace(SEALED, payload=text)) == "grant_bad_signature", bit


def test_fault_27_any_flipped_bit_of_the_signature_is_refused():
    sig = base64.b64decode(SEALED.sig)
    for bit in range(8 * len(sig)):
        text = base64.b64encode(flipped(sig, bit)).decode()
        assert refusal(replace(SEALED, sig=text)) == "grant_bad_signature", bit


def test_fault_27_any_flipped_bit_of_the_text_that_is_kept_is_refused():
    kept = json.dumps(SEALED.to_json()).encode()
    for bit in range(8 * len(kept)):
        try:
            value = json.loads(flipped(kept, bit))
        except ValueError:
            continue
        with pytest.raises(GrantRefused):
            opened(SealedGrant.from_json(value), key_of)


def test_fault_27_a_grant_by_another_key_is_refused():
    assert refusal(replace(SEALED, kid="k3")) == "grant_unknown_key"
    assert refusal(replace(SEALED, kid="k2")) == "grant_bad_signature"
    # Signed by a key of the console, under the id of another one.
    assert refusal(signed(CLAIMS.to_json(), key=OTHER, kid="k2")) == "grant_unknown_key"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {name: value for name, value in CLAIMS.to_json().items() if name != "exp"},
        CLAIMS.to_json() | {"alg": "none"},
        CLAIMS.to_json() | {"exp": str(CLAIMS.exp)},
        CLAIMS.to_json() | {"exp": True},
        CLAIMS.to_json() | {"exp": -1},
        CLAIMS.to_json() | {"batch": "1"},
        CLAIMS.to_json() | {"amr": "totp"},
        CLAIMS.to_json() | {"amr": [1]},
        CLAIMS.to_json() | {"approver": None},
    ],
)
def test_a_genuine_signature_over_something_else_is_no_grant(body):
    assert refusal(signed(body)) == "grant_malformed"


def test_another_type_of_token_is_no_grant():
    assert refusal(signed(CLAIMS.to_json() | {"typ": "checkpoint/v1"})) == "grant_wrong_type"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(CLAIMS.to_json()).encode(),
        rfc8785.dumps(CLAIMS.to_json()) + b" ",
        rfc8785.dumps(CLAIMS.to_json()).replace(b'"aud"', b'"action":"start","aud"'),
        b"\xff",
        b"[" * 100_000,
        b"NaN",
    ],
)
def test_there_is_one_spelling_of_a_grant(payload):
    assert refusal(signed_bytes(payload[:12_000])) == "grant_malformed"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"payload": "", "sig": ""},
        SEALED.to_json() | {"alg": "none"},
        SEALED.to_json() | {"sig": None},
        SEALED.to_json() | {"sig": SEALED.sig.rstrip("=")},
        SEALED.to_json() | {"sig": f"{SEALED.sig}\n"},
        SEALED.to_json() | {"payload": "A" * 20_000},
    ],
)
def test_what_is_kept_otherwise_is_no_grant(value):
    with pytest.raises(GrantRefused) as refused:
        opened(SealedGrant.from_json(value), key_of)
    assert refused.value.code == "grant_malformed"


def test_a_grant_fits_what_it_is_for():
    require_fit(CLAIMS, BOUND, now=AT)
    require_fit(CLAIMS, BOUND, now=AT + timedelta(seconds=3599))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"aud": "upgradeconsole/other"}, "grant_wrong_audience"),
        ({"action": "start_irreversible"}, "grant_wrong_action"),
        ({"plan_id": "other"}, "grant_wrong_content"),
        ({"plan_digest": "e" * 64}, "grant_wrong_content"),
        ({"tenants_digest": "e" * 64}, "grant_wrong_content"),
        ({"policy_digest": "e" * 64}, "grant_wrong_content"),
        ({"artifact_sha256": "e" * 64}, "grant_wrong_content"),
        ({"batch": 1}, "grant_wrong_content"),
        ({"subject": "another request"}, "grant_wrong_content"),
    ],
)
def test_fault_27_a_grant_fits_nothing_else(change, code):
    with pytest.raises(GrantRefused) as refused:
        require_fit(CLAIMS, replace(BOUND, **change), now=AT)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("later", "code"),
    [
        (timedelta(hours=1), "grant_expired"),
        (timedelta(days=400), "grant_expired"),
        (-CLOCK_LEEWAY - timedelta(seconds=1), "grant_not_yet_valid"),
    ],
)
def test_fault_27_a_grant_counts_for_a_time_only(later, code):
    with pytest.raises(GrantRefused) as refused:
        require_fit(CLAIMS, BOUND, now=AT + later)
    assert refused.value.code == code


def test_a_clock_that_is_a_little_behind_does_no_harm():
    require_fit(CLAIMS, BOUND, now=AT - CLOCK_LEEWAY)


CLAIM = st.builds(
    replace,
    st.just(CLAIMS),
    batch=st.none() | st.integers(0, 10_000),
    role=st.text(max_size=20),
    subject=st.text(max_size=40),
    amr=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    exp=st.integers(0, 2**40 - 1),
)


@given(CLAIM)
def test_what_is_sealed_is_read_back_and_never_as_another(claims):
    sealed = seal(claims, KEY.sign)
    assert opened(sealed, key_of) == claims
    assert read_claims(claims.to_json()) == claims
    assert (sealed == SEALED) == (claims == CLAIMS)


@given(st.binary(max_size=80), st.binary(max_size=80), st.text(max_size=4))
def test_no_noise_is_a_grant_or_breaks_the_reader(payload, sig, kid):
    texts = [base64.b64encode(data).decode() for data in (payload, sig)]
    with pytest.raises(GrantRefused):
        opened(SealedGrant(texts[0], texts[1], kid or "k1"), key_of)
