"""What every answer tells the browser: what it may load, keep, show and send along."""

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import NoReverseMatch, reverse

from plans.models import User
from tests.web.access_scene import OWN
from tests.web.test_access_matrix import ENDPOINTS, Asker, allowed, asker, patterns
from upgradeconsole import __version__

__all__ = ["asker"]
pytestmark = pytest.mark.django_db
ROOT = django_settings.BASE_DIR
PASSWORD = "Correct-Horse-9-Battery"
DIRECTIVES = {
    "default-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "img-src": {"'self'", "data:", "blob:"},
    "font-src": {"'self'"},
    "connect-src": {"'self'"},
    "manifest-src": {"'self'"},
    "form-action": {"'self'"},
    "frame-ancestors": {"'none'"},
    "base-uri": {"'none'"},
}
ON_ALL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TLS_SETTINGS = (
    *("SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_NAME", "CSRF_COOKIE_SECURE"),
    *("SECURE_HSTS_SECONDS", "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN"),
)
PROXY_SETTINGS = (
    *("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SECURE_PROXY_SSL_HEADER", "TRUSTED_PROXIES"),
)
PRINT_SETTINGS = f"""
import json
from django.conf import settings
names = {TLS_SETTINGS + PROXY_SETTINGS!r}
print(json.dumps({{name: getattr(settings, name) for name in names}}))
"""


def production(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if "UPGRADECONSOLE" not in name}
    data = tmp_path_factory.mktemp("production")
    # Somebody has said what the platform is: with the examples' words.
    (data / "config").mkdir()
    for example in ("deployers.yaml", "monitoring/version_upgrade_dashboards.json"):
        shutil.copy(ROOT / "config" / example, data / "config")
    return ours | {
        "DJANGO_SETTINGS_MODULE": "upgradeconsole.settings",
        "UPGRADECONSOLE_DATA": str(data),
        "UPGRADECONSOLE_URL": "https://console.example.org",
        "UPGRADECONSOLE_TRUSTED_PROXIES": "1",
        "UPGRADECONSOLE_METRICS_TOKEN": "thirty-two-random-characters-long",
        # The platform's file names it.
        "FLEET_TOKEN": "given-by-the-platform",
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    }


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory) -> dict[str, Any]:
    """Return what the settings make of an address with https."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_SETTINGS],
        cwd=ROOT,
        env=production(tmp_path_factory),
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def wrong_headers(answer: Any, *, kept: bool = False) -> list[str]:
    """Return what is missing or wrong; `kept` for files of ours."""
    wrong = [
        f"{name}: {answer.get(name)}" for name, value in ON_ALL.items() if answer.get(name) != value
    ]
    if "camera=()" not in answer.get("Permissions-Policy", ""):
        wrong.append("Permissions-Policy")
    if "Access-Control-Allow-Origin" in answer and not kept:
        wrong.append("Access-Control-Allow-Origin")
    if kept:
        return wrong
    policy = {
        name: set(sources)
        for name, *sources in map(str.split, answer.get("Content-Security-Policy", "").split(";"))
    }
    if policy != DIRECTIVES:
        wrong.append(f"Content-Security-Policy: {policy}")
    if answer.get("X-Frame-Options") != "DENY":
        wrong.append("X-Frame-Options")
    if "no-store" not in answer.get("Cache-Control", ""):
        wrong.append(f"Cache-Control: {answer.get('Cache-Control')}")
    kind = answer.get("Content-Type", "")
    if kind.startswith("text/") and "charset" not in kind:
        wrong.append(f"Content-Type: {kind}")
    return wrong


def every_answer(asker: Asker) -> list[tuple[str, Any]]:
    """Get every address of the resolver, as somebody who may and as nobody."""
    answers = []
    for name, endpoint in sorted(ENDPOINTS.items()):
        who = allowed(asker, next(iter(endpoint.methods.values())))
        where = asker.address(name, OWN, who)
        answers.append((f"{name} as {who}", asker.browser(who).get(where)))
        answers.append((f"{name} as nobody", Client().get(where)))
    ada = asker.browser(asker.scene.ada)
    for route, entry in patterns():
        if not route.startswith(("accounts/", "admin/")):
            continue
        try:
            where = reverse(f"admin:{entry.name}" if "admin/" in route else str(entry.name))
        except NoReverseMatch:
            continue
        answers.append((route, ada.get(where)))
    answers.append(("not there", ada.get("/not/there/")))
    answers.append(("of no such host", Client().get("/", headers={"host": "elsewhere.example"})))
    return answers


def test_every_answer_carries_the_headers(asker):
    answers = every_answer(asker)
    wrong = {name: found for name, answer in answers if (found := wrong_headers(answer))}
    assert len(answers) > 250
    assert wrong == {}


def test_files_of_ours_are_kept_and_are_no_pages():
    answer = Client().get("/static/icon.svg")
    assert answer.status_code == 200
    assert wrong_headers(answer, kept=True) == []
    assert "no-store" not in answer["Cache-Control"]
    answer.close()


def test_no_other_site_is_let_in():
    """Without CORS headers no script of another site reads an answer."""
    headers = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
    for where in ("/livez", "/api/v1/plans/", "/"):
        for ask in (Client().options, Client().get):
            told = ask(where, headers=headers).headers
            assert not [name for name in told if name.startswith("Access-Control-Allow")]


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("where", ["/livez", "/accounts/login/", "/api/v1/plans/", "/no/page/"])
def test_methods_that_nobody_needs_are_refused(method, where):
    answer = Client().generic(method, where)
    assert answer.status_code == 405
    assert "TRACE" not in answer["Allow"]


def test_strangers_learn_no_version(asker):
    told = re.compile(rf"{re.escape(__version__)}|django/|daphne|whitenoise", re.IGNORECASE)
    for where in ("/accounts/login/", "/livez", "/not/there/", "/api/v1/plans/", "/metrics"):
        answer = Client().get(where)
        head = " ".join(f"{name}: {value}" for name, value in answer.items())
        assert not told.search(head), where
        assert not told.search(re.sub(r"/static/\S+", "", answer.content.decode())), where


def test_pages_load_nothing_from_elsewhere(asker):
    ada = asker.browser(asker.scene.ada)
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"([^\"]+)\"")
    plan = f"/plans/{asker.scene.plans[OWN].pk}/"
    for where in ("/", "/plans/", "/api/docs/", "/accounts/2fa/", plan):
        for address in loaded.findall(ada.get(where).content.decode()):
            assert address.startswith(("/", "data:")), (where, address)
            assert not address.startswith("//"), (where, address)


def logged_in(**more: Any) -> Any:
    """Return the answer to a log-in by password."""
    person = User.objects.create_user("ines@example.org", PASSWORD, name="Ines")
    answer = Client().post(
        "/accounts/login/", {"login": person.email, "password": PASSWORD}, follow=False, **more
    )
    assert answer.status_code == 302
    return answer


def test_cookies_stay_with_the_browser_and_the_site():
    cookies = logged_in().cookies
    assert set(cookies) >= {"sessionid", "csrftoken"}
    for cookie in cookies.values():
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_over_tls_cookies_belong_to_this_host_alone(over_tls, settings):
    for name in TLS_SETTINGS:
        setattr(settings, name, over_tls[name])
    cookies = logged_in(secure=True).cookies
    assert set(cookies) == {"__Host-sessionid", "__Host-csrftoken"}
    for cookie in cookies.values():
        # What a browser asks of the prefix.
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def test_over_tls_browsers_are_told_to_stay_there(over_tls, settings):
    settings.SECURE_HSTS_SECONDS = over_tls["SECURE_HSTS_SECONDS"]
    answer = Client().get("/livez", secure=True)
    assert answer["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in Client().get("/livez")


def test_behind_the_proxy_that_ends_tls_people_log_in(over_tls, settings):
    """The proxy speaks http to us; browsers send the origin that they see."""
    for name in TLS_SETTINGS + PROXY_SETTINGS:
        setattr(settings, name, over_tls[name])
    person = User.objects.create_user("ines@example.org", PASSWORD, name="Ines")
    browser = Client(
        enforce_csrf_checks=True,
        headers={"host": "console.example.org", "x-forwarded-proto": "https"},
    )
    page = browser.get("/accounts/login/")
    assert page["Strict-Transport-Security"] == "max-age=31536000"
    form = {
        "login": person.email,
        "password": PASSWORD,
        "csrfmiddlewaretoken": str(page.context["csrf_token"]),
    }

    answers = {
        origin: browser.post("/accounts/login/", form, headers={"origin": origin}).status_code
        for origin in ("https://elsewhere.example", "https://console.example.org")
    }

    assert answers == {"https://elsewhere.example": 403, "https://console.example.org": 302}
    # And the machine itself asks whether it answers, by the address that it is at.
    assert Client(headers={"host": "127.0.0.1:8000"}).get("/livez").status_code == 200


def test_what_is_deployed_has_no_warning(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=production(tmp_path_factory),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
