"""OpenID Connect, stricter than the library: what is not proven is not believed.

allauth trusts the ID token unread because it came over TLS, sends no nonce, and takes the issuer's
word for who the issuer is. Here the discovery document has to be of the configured issuer, the
token has to be signed by one of its keys with an algorithm that has a public half, and it has to
carry the nonce of this very log-in. Proof keys (PKCE) are used always.
"""

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialApp, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe
from jwt import PyJWTError, get_unverified_header
from requests import RequestException

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# What is kept of a person's claims; the rest is nobody's business here.
KEPT_CLAIMS = ("sub", "email", "email_verified", "name")


class StrictAdapter(OpenIDConnectOAuth2Adapter):
    """Checks what the identity provider says of itself and of the person."""

    expected_nonce = ""

    @property
    def openid_config(self) -> dict[str, Any]:
        """Return the discovery document; raise OAuth2Error unless it is the issuer's own."""
        try:
            config: dict[str, Any] = super().openid_config
        except (RequestException, ValueError) as error:
            raise OAuth2Error(f"the identity provider cannot be asked: {error}") from error
        issuer = self.get_provider().app.settings["issuer"]
        if config.get("issuer") != issuer:
            theirs = config.get("issuer")
            raise OAuth2Error(f"the discovery document is of {theirs!r}, not of {issuer!r}")
        for name in ENDPOINTS:
            if not _is_safe(str(config.get(name, ""))):
                raise OAuth2Error(f"{name} {config.get(name)!r} is no https address")
        return config

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> Any:
        """Return the log-in that the ID token proves; nothing else is asked or believed."""
        claims = self._proven_claims(app, str(kwargs["response"].get("id_token") or ""))
        return self.get_provider().sociallogin_from_response(request, {"id_token": claims})

    def _proven_claims(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        if not id_token:
            raise OAuth2Error("there is no ID token")
        try:
            algorithm = get_unverified_header(id_token).get("alg")
        except PyJWTError as error:
            raise OAuth2Error("the ID token cannot be read") from error
        if algorithm not in ALGORITHMS:
            raise OAuth2Error(f"the ID token is signed with {algorithm!r}, which proves nothing")
        try:
            claims: dict[str, Any] = jwtkit.verify_and_decode(
                credential=id_token,
                keys_url=self.openid_config["jwks_uri"],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                lookup_kid=jwtkit.lookup_kid_jwk,
                verify_signature=True,
            )
        except (KeyError, ValueError, PyJWTError) as error:
            raise OAuth2Error(f"the ID token or its key cannot be used: {error}") from error
        _check(claims, client_id=app.client_id, nonce=self.expected_nonce)
        return claims


def _check(claims: dict[str, Any], *, client_id: str, nonce: str) -> None:
    """Raise OAuth2Error unless the token was made for this log-in and for us."""
    if not nonce or not hmac.compare_digest(str(claims.get("nonce", "")), nonce):
        raise OAuth2Error("the ID token is of another log-in (its nonce is wrong)")
    audiences = claims.get("aud")
    several = isinstance(audiences, list) and len(audiences) > 1
    if (several or "azp" in claims) and claims.get("azp") != client_id:
        raise OAuth2Error("the ID token was made for another client")
    if not isinstance(claims.get("sub"), str) or not claims["sub"] or "exp" not in claims:
        raise OAuth2Error("the ID token names nobody, or no time")


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


class StrictProvider(OpenIDConnectProvider):
    """The company's log-in."""

    package = "allauth.socialaccount.providers.openid_connect"
    oauth2_adapter_class = StrictAdapter
    pkce_enabled_default = True

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, Any]:
        """Take no parameter from an address that anybody may have made."""
        params: dict[str, Any] = self.get_auth_params()
        return params

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        """Take no scope from an address that anybody may have made."""
        scope: list[str] = self.get_scope()
        return scope

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, **kwargs: Any
    ) -> HttpResponse:
        """Send the browser there to log in, with a nonce that only this log-in knows.

        Never to connect an account there with one here: who may come is decided at log-in.
        """
        nonce = secrets.token_urlsafe(24)
        params = {**(kwargs.pop("auth_params", None) or self.get_auth_params()), "nonce": nonce}
        try:
            return super().redirect(  # type: ignore[no-any-return]
                request, AuthProcess.LOGIN, next_url, auth_params=params, nonce=nonce, **kwargs
            )
        except OAuth2Error as error:
            return render_authentication_error(request, self, exception=error)  # type: ignore[no-any-return]

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what is kept of the claims."""
        claims = data["id_token"]
        mapping = settings.SINGLE_SIGN_ON.roles if settings.SINGLE_SIGN_ON else None
        kept = (*KEPT_CLAIMS, *([mapping.claim] if mapping else []))
        return {"id_token": {name: claims[name] for name in kept if name in claims}}


class StrictCallbackView(OAuth2CallbackView):
    """Where the identity provider sends people back to."""

    adapter: StrictAdapter

    def _get_state(self, request: HttpRequest, provider: Any) -> tuple[Any, Any]:
        state, response = super()._get_state(request, provider)
        if state is not None:
            self.adapter.expected_nonce = str(state.get("nonce", ""))
        return state, response


@login_not_required  # type: ignore[untyped-decorator]
def sso_login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Ask whether to go to the identity provider (GET), or go there (POST)."""
    return _seen(OAuth2LoginView, request, provider_id)


@login_not_required  # type: ignore[untyped-decorator]
def sso_callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take in what the identity provider says."""
    return _seen(StrictCallbackView, request, provider_id)


@login_required
@require_safe
def sso_again(request: HttpRequest) -> HttpResponse:
    """Send somebody who has no password of ours to log in afresh."""
    if settings.SINGLE_SIGN_ON is None:
        return redirect("account_logout")
    return redirect("openid_connect_login", provider_id=settings.SINGLE_SIGN_ON.provider_id)


def _seen(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        get_adapter().get_app(request, provider_id)
        return view.adapter_view(StrictAdapter(request, provider_id))(request)  # type: ignore[no-any-return]
    except SocialApp.DoesNotExist:
        raise Http404 from None
