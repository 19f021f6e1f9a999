"""A small OpenID Connect provider on loopback: discovery, authorize, token, keys, real signatures.

It is honest unless a test says otherwise: `lies` are claims that it puts into the next ID token in
place of the true ones, and `algorithm`, `signing_key` and `issuer` can be turned.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from upgradeconsole.single_sign_on import SingleSignOn

CLIENT_ID, CLIENT_SECRET = "upgrade-console", "a secret of thirty-two signs or so"
KEY_ID = "first"


def new_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


class IdentityProvider:
    """Knows one person at a time, and whom it has sent codes for."""

    def __init__(self) -> None:
        self.key = new_key()
        self.signing_key: Any = self.key
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {
            "sub": "42",
            "email": "olga@example.org",
            "email_verified": True,
            "name": "Olga Brandt",
            "groups": ["ops"],
        }
        self.lies: dict[str, Any] = {}
        self.issuer = ""
        self.url = ""
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    def authorize(self, url: str) -> str:
        """Return where the browser is sent after the person has logged in there."""
        asked = dict(parse_qsl(urlsplit(url).query))
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for what it stands for."""
        asked = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        honest = (
            asked is not None
            and form.get("client_id") == CLIENT_ID
            and form.get("client_secret") == CLIENT_SECRET
            and asked.get("code_challenge_method") == "S256"
            and asked.get("code_challenge") == challenge.decode().rstrip("=")
        )
        if asked is None or not honest:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            **self.claims,
            "iss": self.issuer or self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce"),
            **self.lies,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = jwt.encode(
            claims, self.signing_key, algorithm=self.algorithm, headers={"kid": KEY_ID}
        )
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def jwks(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def trusted(self, **changes: Any) -> SingleSignOn:
        """Return the configuration of a console that trusts this provider."""
        values: dict[str, Any] = {
            "issuer": self.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "name": "Example Works",
            "domains": (),
            "creates_people": False,
            "roles": None,
        }
        return SingleSignOn(**values | changes)


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Let one answer on a free port of loopback."""
    idp = IdentityProvider()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = urlsplit(self.path).path
            if where == "/authorize":
                self.send_response(302)
                self.send_header("Location", idp.authorize(self.path))
                self.end_headers()
                return
            pages = {"/.well-known/openid-configuration": idp.discovery, "/jwks": idp.jwks}
            self._answer(200, pages[where]())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*idp.token(form))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    idp.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield idp
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
