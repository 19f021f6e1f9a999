"""The pages of releases: register, verify, quarantine, and who runs them."""

import base64
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from plans.models import Installation, Release, Tenant
from plans.releases.registering import revoke_key, trust_key
from plans.releases.signature import NewKey, new_key, sign_release
from plans.releases.signing_keys import ECDSA_P256, SigningKey
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


def trusted(key: NewKey) -> None:
    trust_key(
        key_id=key.key_id,
        public_key=key.public_pem,
        name="cosign",
        not_before=now(),
        not_after=now() + timedelta(days=9),
        plugins=(),
        by=None,
        now=now(),
        via="command",
    )


def act(client: Client, name: str, release: Release, **sent):
    return client.post(reverse(f"release-{name}", args=[release.pk]), sent, follow=True)


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
    shown = text_of(mara.get("/releases/"))
    assert "not trusted any more" in shown
    assert "Not usable." in shown
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


def test_what_cosign_signed_is_registered_with_its_signature_beside_it(scene, mara):
    key = new_key(ECDSA_P256)
    trusted(key)
    statement, _envelope = sign_release("pay", "1.8.0", "ab" * 32, key.private_pem)
    signature = SigningKey(key.private_pem).sign(statement.encode())
    # Browsers send a pasted text with line ends of their own.
    pasted = statement.replace("\n", "\r\n")
    sent = {"text": pasted, "signature": base64.b64encode(signature).decode()}
    assert "pay 1.8.0 is registered" in said(mara.post(REGISTER, sent, follow=True))
    assert Release.objects.get(version="1.8.0").signatures.get().form == "cosign"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("release.json.dsse", b"x" * (256 * 1024 + 1), "larger than 256 kB"),
        ("release.zip", b"PK", "another kind"),
        ("release.json.dsse", b"\xff\xfe", "not UTF-8"),
        ("release.json.dsse", b"{}\x00", "NUL"),
    ],
)
def test_what_is_too_large_or_of_another_kind_is_refused(mara, name, content, words):
    answer = mara.post(REGISTER, {"file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 200
    assert words in str(answer.context["form"].errors)
    assert Release.objects.count() == 1


def test_the_name_of_an_upload_leads_nowhere(scene, mara, tmp_path):
    before = sorted(tmp_path.parent.parent.glob("*"))
    upload = SimpleUploadedFile("x.dsse", scene.envelope("pay", "1.7.0").encode())
    upload.name = "../../escaped.dsse"
    mara.post(REGISTER, {"file": upload})
    assert Release.objects.filter(version="1.7.0").exists()
    assert sorted(tmp_path.parent.parent.glob("*")) == before


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


def test_the_page_of_a_release_shows_who_vouches_for_it_and_who_runs_it(scene):
    running = {"plugin": scene.plugin, "version": "1.5.0"}
    signed, other = Tenant.objects.order_by("key")[:2]
    Installation.objects.create(tenant=signed, digest=scene.release.digest, **running)
    Installation.objects.create(tenant=other, digest="f" * 64, **running)
    shown = text_of(browser(scene.rita).get(reverse("release", args=[scene.release.pk])))
    assert scene.release.digest in shown
    assert "goes by this one" in shown
    assert "as signed" in shown
    assert "another digest" in shown
    assert "Quarantine…" not in shown


def test_an_operator_quarantines_and_an_administrator_lifts_it(scene):
    olga, ada = browser(scene.olga), browser(scene.ada)
    answer = act(olga, "quarantine", scene.release, reason="the build machine was broken into")
    assert "pay 1.5.0 is in quarantine" in said(answer)
    assert "the build machine was broken into" in text_of(answer)
    assert act(olga, "lift", scene.release, reason="it is fine").status_code == 403
    assert "out of quarantine" in said(act(ada, "lift", scene.release, reason="a false alarm"))
    assert Release.objects.get().state == Release.TRUSTED
    assert "in no quarantine" in said(act(ada, "lift", scene.release, reason="again"))


def test_a_quarantine_needs_a_reason_a_post_and_the_right(scene, mara):
    answer = act(mara, "quarantine", scene.release)
    assert "say what is wrong with it" in said(answer)
    where = reverse("release-quarantine", args=[scene.release.pk])
    assert mara.get(where).status_code == 405
    assert act(browser(scene.rita), "quarantine", scene.release, reason="x").status_code == 403
    assert act(browser(scene.nils), "quarantine", scene.release, reason="x").status_code == 403
    assert Release.objects.get().state == Release.TRUSTED


def test_a_release_that_is_not_there_is_not_found(scene, mara):
    nobody = "00000000-0000-0000-0000-000000000000"
    assert mara.get(reverse("release", args=[nobody])).status_code == 404
    for name in ("quarantine", "lift"):
        client = browser(scene.ada)
        where = reverse(f"release-{name}", args=[nobody])
        assert client.post(where, {"reason": "x"}).status_code == 404


def test_fault_28_verifying_what_was_tampered_with_quarantines_it(scene, mara):
    Release.objects.update(digest="0" * 64)
    answer = verify(mara, scene.release)
    assert "its signature speaks of pay@1.5.0" in said(answer)
    assert Release.objects.get().state == Release.QUARANTINED
