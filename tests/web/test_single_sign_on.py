"""The company's log-in, against a real provider on loopback: what is not proven is refused."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from plans.models import Event, RoleBinding, User
from plans.sso.mapping import parse_mapping
from tests.web.api_scene import Scene, configure, post
from tests.web.factors import App
from tests.web.identity_provider import CLIENT_SECRET, IdentityProvider, identity_provider, new_key
from tests.web.page_scene import submitted, text_of
from upgradeconsole.single_sign_on import read_single_sign_on

pytestmark = pytest.mark.django_db
LOG_IN = "/accounts/oidc/company/login/"


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def scene(settings, tmp_path, idp) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    trust(settings, idp)
    scene = Scene()
    settings.REQUIRE_MFA = True
    return scene


def trust(settings, idp: IdentityProvider, **changes) -> None:
    settings.SINGLE_SIGN_ON = idp.trusted(**changes)
    settings.SOCIALACCOUNT_PROVIDERS = settings.SINGLE_SIGN_ON.providers()


def come_back(browser: Client, idp: IdentityProvider, **more: str):
    """Go to the provider and return its answer's effect here."""
    sent = browser.post(LOG_IN, more)
    assert sent.status_code == 302, sent.content
    assert sent["Location"].startswith(f"{idp.url}/authorize?")
    return browser.get(idp.authorize(sent["Location"]))


def is_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session


def test_a_person_whom_the_console_knows_comes_in_and_enrols_here(scene, idp):
    browser = Client()
    answer = come_back(browser, idp)

    assert answer["Location"] == "/accounts/enrol/"
    assert browser.session["_auth_user_id"] == str(scene.olga.pk)
    assert SocialAccount.objects.get().user == scene.olga
    assert Event.objects.get(kind="sso_connected").actor == scene.olga
    assert "with single sign-on" in Event.objects.get(kind="logged_in").sentence
    assert browser.get("/accounts/2fa/totp/activate/").status_code == 200


def test_single_sign_on_alone_approves_nothing(scene, idp):
    idp.claims |= {"email": "aram@example.org", "sub": "aram"}
    browser = Client()
    come_back(browser, idp)
    plan = submitted(scene)
    digest = plan.approval_requests.get().plan_digest

    answer = browser.post(f"/plans/{plan.pk}/approve/", {"digest": digest})

    assert answer.status_code == 403
    assert "Enrol a second factor" in text_of(answer)


def test_who_has_a_factor_here_is_asked_for_it(scene, idp):
    app = App(scene.olga)
    browser = Client()

    answer = come_back(browser, idp)

    assert answer["Location"] == "/accounts/2fa/authenticate/"
    assert not is_in(browser)
    browser.post(answer["Location"], {"code": app.code()})
    assert is_in(browser)


def test_the_second_time_the_subject_counts_and_not_the_address(scene, idp):
    come_back(Client(), idp)
    idp.claims |= {"email": "rita@example.org"}
    browser = Client()

    come_back(browser, idp)

    assert browser.session["_auth_user_id"] == str(scene.olga.pk)
    assert SocialAccount.objects.count() == 1


def test_another_subject_with_the_same_address_does_not_come_in(
    scene, idp, mailoutbox, django_capture_on_commit_callbacks
):
    come_back(Client(), idp)
    idp.claims |= {"sub": "somebody who got that address"}
    browser = Client()

    with django_capture_on_commit_callbacks(execute=True):
        answer = come_back(browser, idp)
        come_back(Client(), idp)

    assert answer.status_code == 403
    assert "olga@example.org belongs to another account at Example Works" in text_of(answer)
    assert not is_in(browser)
    assert SocialAccount.objects.count() == 1
    told = Event.objects.get(kind="sso_refused")
    assert told.payload["subject"] == "somebody who got that address"
    (mailed,) = (mail for mail in mailoutbox if "Another account" in mail.subject)
    assert mailed.to == ["olga@example.org"]


def test_the_same_subject_at_another_provider_is_somebody_else(settings, scene, idp):
    """Subjects are unique at one issuer: behind the next one "42" may be anybody."""
    come_back(Client(), idp)
    browser = Client()
    with identity_provider() as other:
        trust(settings, other)
        other.claims |= {"email": "rita@example.org"}
        answer = come_back(browser, other)

    assert not is_in(browser)
    assert (answer.status_code, SocialAccount.objects.count()) == (403, 1)
    assert "olga@example.org belongs to another account" in text_of(answer)


def test_an_address_with_letters_that_only_a_database_calls_the_same_is_another(
    settings, scene, idp
):
    """On PostgreSQL the dotless i has the same capital as ours."""
    trust(settings, idp, creates_people=True)
    people = User.objects.count()
    idp.claims |= {"email": "r\u0131ta@example.org"}
    browser = Client()
    answer = come_back(browser, idp)

    assert not is_in(browser)
    assert (answer.status_code, User.objects.count()) == (403, people)


def test_a_name_of_any_length_is_one_line_that_can_be_kept(settings, scene, idp):
    trust(settings, idp, creates_people=True)
    idp.claims |= {"email": "new@example.org", "name": "A\nB " + "x" * 500}
    come_back(Client(), idp)

    made = User.objects.get(email="new@example.org")
    assert made.name.startswith("A B xx")
    assert len(made.name) == 120


def test_once_the_old_one_is_released_the_next_is_bound(scene, idp):
    come_back(Client(), idp)
    client, where = scene.client(scene.ada), "/api/v1/people/olga@example.org/release-log-in"
    code = App(scene.ada).code()
    reason = {"reason": "Her account at the company was made anew"}
    assert post(client, where, reason).json()["code"] == "step_up_required"
    assert post(client, where, {**reason, "code": code}).json()["waiting"] == []
    idp.claims |= {"sub": "olga anew"}
    browser = Client()

    come_back(browser, idp)

    assert browser.session["_auth_user_id"] == str(scene.olga.pk)
    assert SocialAccount.objects.get().uid == "olga anew"


def test_only_what_is_needed_is_kept_of_the_claims(scene, idp):
    idp.claims |= {"phone_number": "+49 30 1234567"}
    come_back(Client(), idp)

    assert set(SocialAccount.objects.get().extra_data["id_token"]) == {
        *("sub", "email", "email_verified", "name")
    }


def test_it_comes_back_to_the_page_that_was_asked_for(scene, idp):
    idp.claims |= {"email": "rita@example.org"}
    browser = Client()
    sent = browser.post(LOG_IN, {"next": "/reports/"})

    assert browser.get(idp.authorize(sent["Location"]))["Location"] == "/reports/"


# ---- what is refused


LIES = {
    "another issuer in the token": {"iss": "https://evil.example"},
    "another audience": {"aud": "another-client"},
    "several audiences, made for another": {"aud": ["upgrade-console", "b"], "azp": "b"},
    "another log-in's nonce": {"nonce": "of another log-in"},
    "no nonce": {"nonce": None},
    "expired": {"exp": 1_700_000_000},
    "no end": {"exp": None},
    "nobody": {"sub": ""},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_is_refused(scene, idp, lie):
    idp.lies = LIES[lie]
    browser = Client()

    answer = come_back(browser, idp)

    assert answer.status_code == 401
    assert "That log-in did not work" in text_of(answer)
    assert not is_in(browser)
    assert not SocialAccount.objects.exists()


def test_an_unsigned_token_is_refused(scene, idp):
    idp.algorithm, idp.signing_key = "none", None
    browser = Client()

    assert come_back(browser, idp).status_code == 401
    assert not is_in(browser)


def test_a_token_signed_with_the_clients_secret_is_refused(scene, idp):
    idp.algorithm, idp.signing_key = "HS256", CLIENT_SECRET
    browser = Client()

    assert come_back(browser, idp).status_code == 401
    assert not is_in(browser)


def test_a_token_signed_by_somebody_else_is_refused(scene, idp):
    idp.signing_key = new_key()
    browser = Client()

    assert come_back(browser, idp).status_code == 401
    assert not is_in(browser)


def test_a_discovery_document_of_another_issuer_is_refused(scene, idp):
    idp.issuer = "https://evil.example"
    browser = Client()

    answer = browser.post(LOG_IN)

    assert answer.status_code == 401
    assert not is_in(browser)


def test_a_provider_that_is_away_is_told(scene, settings, idp):
    trust(settings, idp, issuer="http://127.0.0.1:9")

    assert "That log-in did not work" in text_of(Client().post(LOG_IN))


def test_another_browsers_answer_is_refused(scene, idp):
    sent = Client().post(LOG_IN)
    answer_of_another = idp.authorize(sent["Location"])
    browser = Client()
    browser.post(LOG_IN)

    assert browser.get(answer_of_another).status_code == 401
    assert not is_in(browser)


def test_an_answer_counts_once(scene, idp):
    browser = Client()
    sent = browser.post(LOG_IN)
    answer = idp.authorize(sent["Location"])
    browser.get(answer)
    browser.post("/accounts/logout/")

    assert browser.get(answer).status_code == 401
    assert not is_in(browser)


def test_the_browser_is_sent_with_state_nonce_and_proof_key(scene, idp):
    sent = Client().post(f"{LOG_IN}?auth_params=nonce%3Dmine%26prompt%3Dnone&scope=admin")

    asked = parse_qs(urlsplit(sent["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 24
    assert len(asked["state"][0]) >= 16
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"}
    assert "prompt" not in asked


def test_looking_sends_nobody_away(scene, idp):
    page = Client().get(LOG_IN)

    assert page.status_code == 200
    assert "Log in with Example Works" in text_of(page)
    assert idp.asked == []


# ---- who may come


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_nobody_vouches_for_lets_nobody_in(scene, idp, verified):
    idp.claims |= {"email_verified": verified}
    browser = Client()

    answer = come_back(browser, idp)

    assert answer.status_code == 403
    assert "does not vouch" in text_of(answer)
    assert not is_in(browser)


def test_a_stranger_is_told_what_to_do(scene, idp):
    idp.claims |= {"email": "new@example.org", "sub": "new"}

    answer = come_back(Client(), idp)

    assert "new@example.org has no account here" in text_of(answer)
    assert not User.objects.filter(email="new@example.org").exists()


def test_somebody_who_left_does_not_come_in(scene, idp):
    User.objects.filter(pk=scene.olga.pk).update(is_active=False)
    browser = Client()

    come_back(browser, idp)

    assert not is_in(browser)


def test_people_of_other_domains_do_not_come_in(scene, settings, idp):
    trust(settings, idp, domains=("works.example",))
    browser = Client()

    assert "People of example.org do not log in here" in text_of(come_back(browser, idp))
    assert not is_in(browser)


def test_people_are_made_where_that_is_wanted_and_may_do_nothing(scene, settings, idp):
    trust(settings, idp, creates_people=True)
    idp.claims |= {"email": "new@example.org", "sub": "new", "name": "Nora New"}
    browser = Client()

    come_back(browser, idp)

    nora = User.objects.get(email="new@example.org")
    assert nora.name == "Nora New"
    assert not nora.has_usable_password()
    assert browser.get("/tenants/").status_code == 403


def test_claims_give_roles_that_expire(scene, settings, idp):
    mapping = parse_mapping("claim: groups\nroles: [{value: ops, role: auditor, hours: 8}]")
    trust(settings, idp, roles=mapping)
    idp.claims |= {"email": "nils@example.org", "sub": "nils"}

    come_back(Client(), idp)

    binding = RoleBinding.objects.get(user=scene.nils)
    assert binding.role == "auditor"
    assert binding.expires_at is not None


def test_who_comes_by_single_sign_on_gets_no_password_by_mail(scene, idp, mailoutbox):
    come_back(Client(), idp)

    Client().post("/accounts/password/reset/", {"email": "olga@example.org"})

    assert mailoutbox == []


def test_the_log_in_offers_it(scene):
    page = Client().get("/accounts/login/")

    assert "Log in with Example Works" in text_of(page)
    assert f'action="{LOG_IN}"' in page.content.decode()


# ---- configuration


@pytest.fixture
def environ(monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n", encoding="utf-8")
    monkeypatch.setenv("UPGRADECONSOLE_OIDC_ISSUER", "https://id.example.org")
    monkeypatch.setenv("UPGRADECONSOLE_OIDC_CLIENT_ID", "console")
    monkeypatch.setenv("UPGRADECONSOLE_OIDC_CLIENT_SECRET_FILE", str(secret))
    return monkeypatch


def test_it_is_read_from_the_environment(environ):
    sso = read_single_sign_on()

    assert sso is not None
    assert (sso.client_secret, sso.origin) == ("s3cret", "https://id.example.org")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("UPGRADECONSOLE_OIDC_ISSUER", "http://id.example.org", "no.* https"),
        ("UPGRADECONSOLE_OIDC_CLIENT_ID", "", "have to be, too"),
        ("UPGRADECONSOLE_OIDC_CLIENT_SECRET_FILE", "", "have to be, too"),
        ("UPGRADECONSOLE_OIDC_CLIENT_SECRET_FILE", "/no/such/file", "No such file"),
        ("UPGRADECONSOLE_OIDC_ROLES", "/no/such/file", "No such file"),
    ],
)
def test_half_a_configuration_stops_the_start(environ, name, value, told):
    environ.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=told):
        read_single_sign_on()


def test_a_mapping_with_problems_stops_the_start(environ, tmp_path):
    file = tmp_path / "roles.yaml"
    file.write_text("claim: groups\nroles: [{value: a, role: administrator}]\n", encoding="utf-8")
    environ.setenv("UPGRADECONSOLE_OIDC_ROLES", str(file))

    with pytest.raises(ImproperlyConfigured, match="administrators are made in the console"):
        read_single_sign_on()


def test_without_an_issuer_there_is_none(environ):
    environ.delenv("UPGRADECONSOLE_OIDC_ISSUER")

    assert read_single_sign_on() is None
