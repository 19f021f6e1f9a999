"""What cosign signs with a key pair: vectors made with OpenSSL, in the formats of cosign."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.releases.signature import (
    SignatureRefused,
    TrustedKey,
    VerifiedRelease,
    new_key,
    verify_release,
)
from plans.releases.signed_forms import PAYLOAD_TYPE, cosign_text
from plans.releases.signing_keys import ECDSA_P256, SigningKey, key_id_of

NOW = datetime(2031, 3, 3, 12, tzinfo=UTC)
DIGEST = "c7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c"
COSIGN_PUB = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEldw00KfssBTiZnYX8A2l5oygrmSZ
PYKszIkSt22vzCMmPmXE1lh8UUAxa03eb96D/En3bXkDge69SLZNudrtvA==
-----END PUBLIC KEY-----
"""
ED25519_PUB = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA1RUlrXI1DJdtd2D5XB3Y9CqZXGGmxxbw75b4gdjvnj8=
-----END PUBLIC KEY-----
"""
# openssl dgst -sha256 -sign cosign.key release.json | base64 -w0
STATEMENT = f"""{{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [{{"name": "billing@2.4.0", "digest": {{"sha256": "{DIGEST}"}}}}],
  "predicateType": "https://in-toto.io/attestation/release/v0.1",
  "predicate": {{}}
}}
"""
STATEMENT_SIG = (
    "MEUCIQDTXUPuv6fYfqLOThVfIvFkUkX78EVU6hLomBnTPtnGvQIgeiJi62lOrAUbEbRiWVCtIRg8fOmr1jSlCudm"
    "MwsSFE8="
)
# openssl dgst -sha256 -sign cosign.key simple.json | base64 -w0
SIMPLE = (
    '{"critical":{"identity":{"docker-reference":"registry.example.org/plugins/billing"},'
    f'"image":{{"docker-manifest-digest":"sha256:{DIGEST}"}},'
    '"type":"cosign container image signature"},'
    '"optional":{"plugin":"billing","version":"2.4.0"}}'
)
SIMPLE_SIG = (
    "MEUCIQDv8m3ByDj35NFVnbvk2bLyUF8YxbQgg9Qwe0OwFPwuFAIgV2Y86+NfAlC67aNmTfX+jmxrIgdhYXmKthYV"
    "5PAsQ2s="
)
# openssl pkeyutl -sign -rawin -inkey ed.key -in pae.bin | base64 -w0
DSSE_SIG = (
    "7QdGtAs4C4xkG/06ayZdAPN5bv1+Scp64wMPCldzxuVwPcWSSKNNozOon1zVSBx3d8CSYxEDDodxwGxHCyGzCg=="
)
TRUSTED = TrustedKey(key_id_of(COSIGN_PUB), COSIGN_PUB)


def refused(text, *keys):
    with pytest.raises(SignatureRefused) as refusal:
        verify_release(text, keys or [TRUSTED], at=NOW)
    return refusal.value


def simple(**changes):
    """Return a simple-signing payload with a right signature of a key of ours."""
    body = json.loads(SIMPLE)
    for place, value in changes.items():
        part = body
        *way, last = place.split("__")
        for step in way:
            part = part[step.replace("_", "-")]
        part[last.replace("_", "-")] = value
    return signed(json.dumps(body))


OURS = new_key(ECDSA_P256)


def signed(payload):
    signature = SigningKey(OURS.private_pem).sign(payload.encode())
    return cosign_text(payload, base64.b64encode(signature).decode())


def test_what_sign_blob_made_of_a_statement_is_accepted():
    verified = verify_release(cosign_text(STATEMENT, STATEMENT_SIG + "\n"), [TRUSTED], at=NOW)
    assert verified == VerifiedRelease("billing", "2.4.0", DIGEST, TRUSTED.key_id, "cosign")


def test_what_sign_made_of_an_image_is_accepted_when_it_names_plugin_and_version():
    verified = verify_release(cosign_text(SIMPLE, SIMPLE_SIG), [TRUSTED], at=NOW)
    assert (verified.plugin, verified.version, verified.digest) == ("billing", "2.4.0", DIGEST)


def test_an_envelope_that_openssl_signed_is_accepted():
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(STATEMENT.encode()).decode(),
        "signatures": [{"keyid": "", "sig": DSSE_SIG}],
    }
    key = TrustedKey(key_id_of(ED25519_PUB), ED25519_PUB)
    assert verify_release(json.dumps(envelope), [key], at=NOW).version == "2.4.0"


def test_the_signature_names_no_key_so_every_trusted_one_is_tried():
    others = [TrustedKey(one.key_id, one.public_pem) for one in (new_key(), new_key(ECDSA_P256))]
    text = cosign_text(STATEMENT, STATEMENT_SIG)
    assert verify_release(text, [*others, TRUSTED], at=NOW).key_id == TRUSTED.key_id
    assert refused(text, *others).code == "bad_signature"


def test_a_signature_over_the_artifact_itself_says_nothing_about_plugin_and_version():
    artifact = "the bytes of the plugin"
    signature = base64.b64encode(SigningKey(OURS.private_pem).sign(artifact.encode())).decode()
    key = TrustedKey(OURS.key_id, OURS.public_pem)
    assert refused(cosign_text(artifact, signature), key).code == "malformed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"critical__type": "atomic container signature"}, "not of the type"),
        ({"critical__image__docker_manifest_digest": DIGEST}, "docker-manifest-digest"),
        ({"critical__image__docker_manifest_digest": "sha256:abc"}, "docker-manifest-digest"),
        ({"optional": None}, "names no plugin: sign with -a plugin=NAME"),
        ({"optional": {"plugin": "billing"}}, "names no version"),
        ({"optional": {"plugin": "../x", "version": "1"}}, "names no plugin"),
        ({"critical": []}, "not of the type"),
    ],
)
def test_an_image_signature_that_does_not_say_what_it_is_for_is_refused(changes, words):
    refusal = refused(simple(**changes), TrustedKey(OURS.key_id, OURS.public_pem))
    assert refusal.code == "malformed"
    assert words in refusal.reason


@pytest.mark.parametrize(
    "text",
    [
        '{"cosign": []}',
        '{"cosign": {"payload": "e30="}}',
        '{"cosign": {"payload": "e30=", "signature": "e30=", "key": "mine"}}',
        '{"cosign": {"payload": 5, "signature": "e30="}}',
    ],
)
def test_half_of_it_is_called_malformed(text):
    assert refused(text).code == "malformed"


@given(st.data())
def test_fault_28_any_flipped_bit_of_what_cosign_signed_is_refused(data):
    payload, signature = data.draw(
        st.sampled_from([(STATEMENT, STATEMENT_SIG), (SIMPLE, SIMPLE_SIG)])
    )
    parts = [bytearray(payload.encode()), bytearray(base64.b64decode(signature))]
    changed = parts[data.draw(st.integers(0, 1))]
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    text = cosign_text(bytes(parts[0]), base64.b64encode(bytes(parts[1])).decode())
    assert refused(text).code == "bad_signature"


@given(st.binary(max_size=80))
def test_fault_28_no_other_bytes_are_a_signature(noise):
    assert refused(cosign_text(STATEMENT, base64.b64encode(noise).decode())).code == "bad_signature"
