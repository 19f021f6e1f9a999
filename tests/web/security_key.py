"""A security key made of software: enrolled as the pages do it, it answers what it is asked."""

import hashlib
import json
import os
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

from plans.models import User

HOST = "testserver"
FLAG = AuthenticatorData.FLAG
PRESENT_AND_VERIFIED = FLAG.UP | FLAG.UV


class SecurityKey:
    """A person's key for this console."""

    def __init__(self, user: User) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(16)
        public = ES256.from_cryptography_key(self.private.public_key())
        credential = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        attested = AuthenticatorData.create(
            self._host, PRESENT_AND_VERIFIED | FLAG.AT, 0, credential
        )
        self.row = Authenticator.objects.create(
            user=user,
            type=Authenticator.Type.WEBAUTHN,
            data={
                "name": "Laptop",
                "credential": self._told(
                    "webauthn.create",
                    os.urandom(32),
                    attestationObject=AttestationObject.create("none", attested, {}),
                ),
            },
        )

    @property
    def _host(self) -> bytes:
        return hashlib.sha256(HOST.encode()).digest()

    def _told(self, what: str, challenge: bytes, **response: bytes) -> dict[str, Any]:
        client_data = json.dumps(
            {
                "type": what,
                "challenge": websafe_encode(challenge),
                "origin": f"https://{HOST}",
                "crossOrigin": False,
            }
        ).encode()
        if what == "webauthn.get":
            signed = response["authenticatorData"] + hashlib.sha256(client_data).digest()
            response["signature"] = self.private.sign(signed, ec.ECDSA(hashes.SHA256()))
        parts = {name: websafe_encode(bytes(part)) for name, part in response.items()}
        return {
            "id": websafe_encode(self.id),
            "rawId": websafe_encode(self.id),
            "type": "public-key",
            "response": {"clientDataJSON": websafe_encode(client_data), **parts},
            "clientExtensionResults": {},
        }

    def answer(self, challenge: bytes) -> dict[str, Any]:
        """Return what a browser posts when its owner touches the key."""
        data = AuthenticatorData.create(self._host, PRESENT_AND_VERIFIED, 1)
        return self._told("webauthn.get", challenge, authenticatorData=data)
