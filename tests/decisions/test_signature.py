"""Only what a trusted key signed, for that plugin and at that time, is accepted."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP384R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from plans.releases.signature import (
    PAYLOAD_TYPE,
    SignatureRefused,
    TrustedKey,
    VerifiedRelease,
    key_id_of,
    new_key,
    sign_release,
    verify_release,
)
from plans.releases.signed_forms import cosign_text
from plans.releases.signing_keys import ECDSA_P256

NOW = datetime(2031, 3, 3, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DIGEST = hashlib.sha256(b"artifact").hexdigest()
KEY = new_key()
OTHER = new_key()
TRUSTED = TrustedKey(KEY.key_id, KEY.public_pem)
RELEASE, ENVELOPE = sign_release("billing", "2.4.0", DIGEST, KEY.private_pem)


def refused(envelope, *keys, at=NOW):
    with pytest.raises(SignatureRefused) as refusal:
        verify_release(envelope, keys, at=at)
    assert refusal.value.reason == str(refusal.value)
    return refusal.value


def trusted(**changes):
    return TrustedKey(**{"key_id": KEY.key_id, "public_key": KEY.public_pem, **changes})


def envelope_of(payload, private_pem=KEY.private_pem, /, **changes):
    """Return an envelope with a right signature over any payload."""
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 " + b" ".join(
        [str(len(kind)).encode(), kind, str(len(payload)).encode(), payload]
    )
    private = load_pem_private_key(private_pem.encode(), None)
    assert isinstance(private, Ed25519PrivateKey)
    signature = private.sign(signed)
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": KEY.key_id, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope | changes)


def statement(**changes):
    return json.dumps(json.loads(RELEASE) | changes).encode()


def test_a_signed_release_is_accepted_and_says_what_it_is():
    verified = verify_release(ENVELOPE, [TRUSTED], at=NOW)
    assert verified == VerifiedRelease("billing", "2.4.0", DIGEST, KEY.key_id)


def test_the_envelope_is_dsse_around_the_in_toto_statement():
    envelope = json.loads(ENVELOPE)
    assert base64.b64decode(envelope["payload"]) == RELEASE.encode()
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert envelope["signatures"][0]["keyid"] == KEY.key_id
    said = json.loads(RELEASE)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "billing@2.4.0", "digest": {"sha256": DIGEST}}]


def test_another_implementation_of_dsse_makes_the_same_envelope():
    assert json.loads(envelope_of(RELEASE.encode())) == json.loads(ENVELOPE)


def test_a_key_id_is_the_start_of_the_hash_of_the_raw_public_key():
    raw = load_pem_public_key(KEY.public_pem.encode()).public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert KEY.key_id == hashlib.sha256(raw).hexdigest()[:16]
    assert key_id_of(KEY.public_pem) == key_id_of(base64.b64encode(raw).decode()) == KEY.key_id


def test_a_trusted_key_may_be_raw_base64():
    raw = load_pem_public_key(KEY.public_pem.encode()).public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = trusted(public_key=base64.b64encode(raw).decode())
    assert verify_release(ENVELOPE, [key], at=NOW).plugin == "billing"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"revoked_at": NOW}, "revoked_key", "was revoked at 2031-03-03 12:00 UTC"),
        ({"not_after": NOW - DAY}, "expired_key", "trusted until 2031-03-02"),
        ({"not_before": NOW + DAY}, "not_yet_valid", "trusted from 2031-03-04"),
        ({"plugins": ("search", "mail")}, "wrong_plugin", "may sign search, mail, not billing"),
        ({"key_id": "0" * 16}, "unknown_key", "'./console manage trust_key'"),
        ({"public_key": OTHER.public_pem}, "bad_signature", "was changed after signing"),
        ({"public_key": "not a key"}, "unknown_key", "is neither an Ed25519 nor"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_with_what_to_do(changes, code, words):
    refusal = refused(ENVELOPE, trusted(**changes))
    assert refusal.code == code
    assert words in refusal.reason


def test_a_key_is_accepted_inside_all_its_limits():
    key = trusted(not_before=NOW, not_after=NOW, revoked_at=NOW + DAY, plugins=("mail", "billing"))
    assert verify_release(ENVELOPE, [key], at=NOW).version == "2.4.0"


def test_an_empty_trust_store_accepts_nothing():
    assert refused(ENVELOPE).code == "unknown_key"


def test_a_wrong_signature_by_an_expired_key_is_a_wrong_signature():
    envelope = envelope_of(RELEASE.encode(), OTHER.private_pem)
    assert refused(envelope, trusted(not_after=NOW - DAY)).code == "bad_signature"


def test_one_good_signature_of_several_is_enough():
    envelope = json.loads(ENVELOPE)
    stranger = {"keyid": OTHER.key_id, "sig": base64.b64encode(b"x" * 64).decode()}
    envelope["signatures"].insert(0, stranger)
    assert verify_release(json.dumps(envelope), [TRUSTED], at=NOW).key_id == KEY.key_id
    revoked = trusted(revoked_at=NOW)
    assert refused(json.dumps(envelope), revoked).code == "revoked_key"


def test_a_signature_without_key_id_is_tried_with_every_trusted_key():
    signature = json.loads(ENVELOPE)["signatures"][0]["sig"]
    envelope = envelope_of(RELEASE.encode(), signatures=[{"sig": signature}])
    keys = [TrustedKey(OTHER.key_id, OTHER.public_pem), TRUSTED]
    assert verify_release(envelope, keys, at=NOW).key_id == KEY.key_id
    assert refused(envelope, keys[0]).code == "bad_signature"


@pytest.mark.parametrize(
    "envelope",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        "x" * 300_000,
        envelope_of(RELEASE.encode(), payloadType="text/plain"),
        envelope_of(RELEASE.encode(), payload=None),
        envelope_of(RELEASE.encode(), payload="é"),
        envelope_of(RELEASE.encode(), payload="QUJD*"),
        envelope_of(RELEASE.encode(), signatures=[]),
        envelope_of(RELEASE.encode(), signatures=[1]),
        envelope_of(RELEASE.encode(), signatures=[{"keyid": 5, "sig": ""}]),
        envelope_of(RELEASE.encode(), signatures=[{"keyid": KEY.key_id}]),
        ENVELOPE.replace('"payloadType"', '"payload": "", "payloadType"'),
        envelope_of(b"not json"),
        envelope_of(b"\xff"),
        envelope_of(statement(_type="https://in-toto.io/Statement/v0.1")),
        envelope_of(statement(predicateType=None)),
        envelope_of(statement(subject=[])),
        envelope_of(statement(subject=json.loads(RELEASE)["subject"] * 2)),
        envelope_of(statement(subject=[{"name": "billing", "digest": {"sha256": DIGEST}}])),
        envelope_of(statement(subject=[{"name": "b@1", "digest": {"sha1": "0" * 40}}])),
        envelope_of(statement(subject=[{"name": "b@1", "digest": {"sha256": DIGEST.upper()}}])),
    ],
)
def test_what_is_no_signed_release_is_called_malformed(envelope):
    refusal = refused(envelope, TRUSTED)
    assert refusal.code == "malformed"
    assert refusal.reason.startswith("This is not a signed release: ")


@given(st.data())
def test_fault_28_any_flipped_bit_of_payload_or_signature_is_refused(data):
    envelope = json.loads(ENVELOPE)
    in_payload = data.draw(st.booleans())
    holder, name = (envelope, "payload") if in_payload else (envelope["signatures"][0], "sig")
    changed = bytearray(base64.b64decode(holder[name]))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    holder[name] = base64.b64encode(bytes(changed)).decode()
    assert refused(json.dumps(envelope), TRUSTED).code == "bad_signature"


@given(st.data())
def test_any_other_character_in_payload_or_signature_is_refused(data):
    envelope = json.loads(ENVELOPE)
    in_payload = data.draw(st.booleans())
    holder, name = (envelope, "payload") if in_payload else (envelope["signatures"][0], "sig")
    text = holder[name]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABZaz09+/=\n *").filter(lambda new: new != text[place]))
    holder[name] = text[:place] + other + text[place + 1 :]
    assert refused(json.dumps(envelope), TRUSTED).code in {"bad_signature", "malformed"}


def test_another_spelling_of_the_same_signature_is_refused():
    envelope = json.loads(ENVELOPE)
    sig = envelope["signatures"][0]["sig"]
    # The last character before the padding holds four bits that base64 readers ignore.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = sig[:-3] + alphabet[alphabet.index(sig[-3]) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(sig)
    envelope["signatures"][0]["sig"] = other
    assert "not canonical base64" in refused(json.dumps(envelope), TRUSTED).reason


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else(text):
    assert refused(text, TRUSTED).code == "malformed"


def test_url_safe_base64_is_the_same_envelope():
    envelope = json.loads(ENVELOPE)
    for holder, name in ((envelope, "payload"), (envelope["signatures"][0], "sig")):
        holder[name] = holder[name].replace("+", "-").replace("/", "_")
    assert verify_release(json.dumps(envelope), [TRUSTED], at=NOW).digest == DIGEST


@pytest.mark.parametrize(
    ("plugin", "version", "digest", "words"),
    [
        ("bad plugin", "1.0", DIGEST, "no plugin key"),
        ("billing", "1.0@2", DIGEST, "no version"),
        ("billing", "1.0", "abc", "no SHA-256"),
    ],
)
def test_nothing_is_signed_that_could_not_be_verified(plugin, version, digest, words):
    with pytest.raises(ValueError, match=words):
        sign_release(plugin, version, digest, KEY.private_pem)


def test_a_scoped_plugin_and_a_prefixed_digest_are_signed_as_one_expects():
    _release, envelope = sign_release("@acme/billing", "1.0", f"sha256:{DIGEST}", KEY.private_pem)
    verified = verify_release(envelope, [TRUSTED], at=NOW)
    assert (verified.plugin, verified.version) == ("@acme/billing", "1.0")
    assert verified.digest == DIGEST


def test_an_envelope_may_be_signed_with_ecdsa_too():
    key = new_key(ECDSA_P256)
    _release, envelope = sign_release("billing", "2.4.0", DIGEST, key.private_pem)
    verified = verify_release(envelope, [TrustedKey(key.key_id, key.public_pem)], at=NOW)
    assert verified == VerifiedRelease("billing", "2.4.0", DIGEST, key.key_id)


@pytest.mark.parametrize("curve", [SECP384R1(), SECP256K1()])
def test_keys_of_other_kinds_are_not_taken(curve):
    private = generate_private_key(curve)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="neither an Ed25519 key nor an ECDSA P-256 key"):
        sign_release("billing", "1.0", DIGEST, pem)
    with pytest.raises(ValueError, match="neither an Ed25519 key nor an ECDSA P-256 key"):
        key_id_of(public.decode())


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        ("-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n", "sign with cosign itself"),
        ("nonsense", "no private key in PEM"),
    ],
)
def test_a_private_key_that_cannot_be_used_is_refused_in_words(pem, words):
    with pytest.raises(ValueError, match=words):
        sign_release("billing", "1.0", DIGEST, pem)


@pytest.mark.parametrize("plugin", ["../etc", "a/../b", "a//b", "a/./b", "a/..", "@/x/"])
def test_a_plugin_never_leads_out_of_a_folder(plugin):
    with pytest.raises(ValueError, match="no plugin key"):
        sign_release(plugin, "1.0", DIGEST, KEY.private_pem)
    claimed = envelope_of(
        statement(subject=[{"name": f"{plugin}@1.0", "digest": {"sha256": DIGEST}}])
    )
    assert refused(claimed, TRUSTED).code == "malformed"


def test_a_signature_over_bare_bytes_by_an_ed25519_key_is_not_taken():
    private = load_pem_private_key(KEY.private_pem.encode(), None)
    assert isinstance(private, Ed25519PrivateKey)
    bare = base64.b64encode(private.sign(RELEASE.encode())).decode()
    assert refused(cosign_text(RELEASE, bare), TRUSTED).code == "bad_signature"
