"""The pages of the keys that are trusted to sign releases."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from plans.models import Release, TrustKey
from plans.releases.signature import new_key
from plans.releases.signing_keys import ECDSA_P256
from tests.web.api_scene import Scene, configure, now
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db

NEW = "/releases/keys/new/"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def ada(scene: Scene) -> Client:
    return browser(scene.ada)


def page(scene: Scene) -> str:
    return reverse("key", args=[scene.key.key_id])


def act(client: Client, name: str, scene: Scene, **sent):
    where = reverse(f"key-{name}", args=[scene.key.key_id])
    return client.post(where, sent, follow=True, HTTP_REFERER=page(scene))


def test_the_list_and_the_page_show_what_a_key_signed_and_when_it_ends(scene):
    rita = browser(scene.rita)
    listed = text_of(rita.get("/releases/keys/"))
    assert scene.key.key_id in listed
    shown = text_of(rita.get(page(scene)))
    assert "pay" in shown
    assert f"{now() + timedelta(days=30):%Y-%m-%d}" in shown
    assert "Revoke…" not in shown


@pytest.mark.parametrize("kind", ["ed25519", ECDSA_P256])
def test_an_administrator_trusts_a_public_key(scene, ada, kind):
    made = new_key(kind)
    answer = ada.post(
        NEW, {"public_key": made.public_pem, "name": "build", "plugins": ["pay"]}, follow=True
    )
    assert f"({made.key_id}) is trusted" in said(answer)
    key = TrustKey.objects.get(key_id=made.key_id)
    assert (key.name, key.plugins) == ("build", ["pay"])
    assert timedelta(days=364) < key.not_after - now() <= timedelta(days=365)


def test_a_private_key_is_never_taken(ada):
    answer = ada.post(NEW, {"public_key": new_key().private_pem, "name": "oops"})
    assert "This is a private key" in text_of(answer)
    assert TrustKey.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"public_key": "nonsense"}, "This cannot be trusted"),
        ({"not_before": "2031-01-02T00:00", "not_after": "2031-01-01T00:00"}, "end before"),
        ({"plugins": ["nothing"]}, "nothing"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(ada, changes, words):
    answer = ada.post(NEW, {"public_key": new_key().public_pem, "name": "build"} | changes)
    assert words in str(answer.context["form"].errors)
    assert TrustKey.objects.count() == 1


def test_a_key_that_is_trusted_already_is_said_so(scene, ada):
    answer = ada.post(NEW, {"public_key": scene.key.public_pem, "name": "again"})
    assert "in the trust store already" in text_of(answer)


def test_a_key_is_revoked_with_a_reason_and_stays_so(scene, ada):
    assert "Say why the key is revoked" in said(act(ada, "revoke", scene))
    answer = act(ada, "revoke", scene, reason="its laptop was stolen")
    assert "its laptop was stolen" in text_of(answer)
    assert Release.objects.get().state == Release.DISTRUSTED
    assert "already" in said(act(ada, "revoke", scene, reason="again"))


def test_a_key_is_let_end_earlier(scene, ada):
    soon = f"{now() + timedelta(days=3):%Y-%m-%dT%H:%M}"
    assert "trusted until" in said(act(ada, "retire", scene, not_after=soon, reason="next"))
    later = f"{now() + timedelta(days=9):%Y-%m-%dT%H:%M}"
    answer = act(ada, "retire", scene, not_after=later)
    assert "can only end earlier" in str(answer.context["form"].errors)


def test_only_administrators_end_or_trust_keys(scene):
    mara = browser(scene.mara)
    assert mara.get(NEW).status_code == 403
    for name in ("revoke", "retire"):
        assert act(mara, name, scene, reason="x").status_code == 403
    assert browser(scene.nils).get("/releases/keys/").status_code == 403
    assert Client().get("/releases/keys/").status_code == 302
    assert TrustKey.objects.get().revoked_at is None


def test_a_key_that_is_not_there_and_a_wrong_method(scene, ada):
    nobody = "0" * 16
    assert ada.get(reverse("key", args=[nobody])).status_code == 404
    for name in ("revoke", "retire"):
        where = reverse(f"key-{name}", args=[nobody])
        assert ada.post(where, {"reason": "x"}).status_code == 404
        assert ada.get(where).status_code == 405
