"""The pages of releases and trusted keys."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from plans.models import Release
from plans.releases import revoke_key
from plans.signature import new_key, sign_release
from tests.web.api_scene import Scene, configure, now
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db

REGISTER = "/releases/register/"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def mara(scene: Scene) -> Client:
    return browser(scene.mara)


def verify(client: Client, release: Release):
    return client.post(
        reverse("release-verify", args=[release.pk]), follow=True, HTTP_REFERER="/releases/"
    )


def test_the_list_names_the_key_that_signed_and_the_digest(scene):
    shown = text_of(browser(scene.rita).get("/releases/"))
    assert "trusted" in shown
    assert scene.key.key_id in shown
    assert scene.release.digest in shown


def test_the_list_is_searched_by_version_and_digest(scene, mara):
    assert mara.get("/releases/?q=1.5.0").context["rows"]
    assert mara.get(f"/releases/?q=sha256:{scene.release.digest}").context["rows"]
    assert not mara.get("/releases/?q=9.9.9").context["rows"]


def test_a_revoked_key_shows_that_its_releases_cannot_be_used(scene, mara):
    revoke_key(key_id=scene.key.key_id, reason="leaked", by=None, now=now(), via="command")
    assert "Not usable: the key is revoked." in text_of(mara.get("/releases/"))
    assert "was revoked" in said(verify(mara, scene.release))


def test_verifying_again_says_that_the_signature_holds_now(scene):
    assert "holds" in said(verify(browser(scene.rita), scene.release))


def test_a_signed_release_is_registered_from_text_or_file(scene, mara):
    mara.post(REGISTER, {"text": scene.envelope("pay", "1.6.0")})
    upload = SimpleUploadedFile("release.json.dsse", scene.envelope("pay", "1.7.0").encode())
    answer = mara.post(REGISTER, {"file": upload, "irreversible": "on"}, follow=True)
    assert "pay 1.7.0 is registered" in said(answer)
    kept = dict(Release.objects.values_list("version", "irreversible"))
    assert kept == {"1.5.0": False, "1.6.0": False, "1.7.0": True}
    assert Release.objects.get(version="1.6.0").registered_by == scene.mara


def test_a_release_of_an_unknown_key_is_refused_with_the_reason(mara):
    envelope = sign_release("pay", "2.0.0", "ab" * 32, new_key().private_pem)[1]
    answer = mara.post(REGISTER, {"text": envelope})
    assert "not in the trust store" in text_of(answer)
    assert not Release.objects.filter(version="2.0.0").exists()


def test_a_version_keeps_its_artifact(scene, mara):
    changed = sign_release("pay", "1.5.0", "cd" * 32, scene.key.private_pem)[1]
    answer = mara.post(REGISTER, {"text": changed})
    assert "registered with another artifact" in text_of(answer)


def test_nothing_sent_is_said_so(mara):
    answer = mara.post(REGISTER, {"text": " "})
    assert "release.json.dsse" in str(answer.context["form"].errors or answer.context["problems"])


def test_only_some_register_and_strangers_see_nothing(scene):
    sent = {"text": scene.envelope("pay", "1.6.0")}
    assert browser(scene.olga).post(REGISTER, sent).status_code == 403
    assert browser(scene.nils).get("/releases/").status_code == 403
    assert Client().get("/releases/").status_code == 302
    assert Release.objects.count() == 1


def test_verifying_is_a_post_on_a_release_that_is_there(scene, mara):
    assert mara.get(reverse("release-verify", args=[scene.release.pk])).status_code == 405
    url = reverse("release-verify", args=["00000000-0000-0000-0000-000000000000"])
    assert mara.post(url).status_code == 404
