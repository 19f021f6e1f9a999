"""Releases and keys over REST."""

import base64
import uuid
from datetime import timedelta

import pytest

from plans.models import Installation, Release, RoleBinding, Tenant, TrustKey
from plans.releases.signature import new_key, sign_release
from plans.releases.signing_keys import ECDSA_P256, SigningKey
from tests.web.api_scene import HAND_IN, Scene, body, configure, now, person, post
from tests.web.page_scene import browser, text_of

pytestmark = pytest.mark.django_db

RELEASES, KEYS = "/api/v1/releases/", "/api/v1/keys/"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def release_url(scene: Scene, act: str = "") -> str:
    return f"{RELEASES}{scene.release.pk}/{act}"


def key_url(scene: Scene, act: str = "") -> str:
    return f"{KEYS}{scene.key.key_id}/{act}"


def test_releases_are_listed_by_plugin_and_state(scene):
    rita = scene.client(scene.rita)
    (row,) = rita.get(RELEASES, {"plugin": "pay"}).json()["results"]
    assert (row["version"], row["state"], row["usable"]) == ("1.5.0", "trusted", True)
    assert rita.get(RELEASES, {"state": "quarantined"}).json()["results"] == []
    assert rita.get(RELEASES, {"state": "odd"}).status_code == 400
    assert scene.client(scene.nils).get(RELEASES).status_code == 403


def test_a_release_tells_its_signatures_and_who_runs_it(scene):
    tenant = Tenant.objects.get(key="acorn")
    Installation.objects.create(
        tenant=tenant, plugin=scene.plugin, version="1.5.0", digest="f" * 64
    )
    shown = scene.client(scene.rita).get(release_url(scene)).json()
    assert [one["key_id"] for one in shown["signatures"]] == [scene.key.key_id]
    (row,) = shown["tenants"]
    assert (row["tenant"], row["other_artifact"]) == ("acorn", True)
    assert scene.client(scene.rita).get(f"{RELEASES}{uuid.uuid4()}/").status_code == 404


def test_what_cosign_signed_is_registered(scene):
    key = new_key(ECDSA_P256)
    ada, mara = scene.client(scene.ada), scene.client(scene.mara)
    ends = (now() + timedelta(days=9)).isoformat()
    made = post(ada, KEYS, {"public_key": key.public_pem, "name": "ci", "not_after": ends})
    assert (made.status_code, made.json()["key_id"]) == (201, key.key_id)
    statement, _envelope = sign_release("pay", "1.6.0", "ab" * 32, key.private_pem)
    signature = base64.b64encode(SigningKey(key.private_pem).sign(statement.encode())).decode()
    given = {"payload": statement, "signature": signature}
    assert post(mara, RELEASES, given).status_code == 201
    assert post(mara, RELEASES, given).status_code == 200
    changed = given | {"payload": statement.replace("1.6.0", "1.6.1")}
    assert post(mara, RELEASES, changed).json()["code"] == "bad_signature"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"payload": "{}"},
        {"signature": "e30="},
        {"envelope": {}, "payload": "{}", "signature": "e30="},
        {"payload": "x" * (256 * 1024 + 1), "signature": "e30="},
        {"envelope": "x" * (256 * 1024 + 1)},
    ],
)
def test_half_of_it_both_and_too_much_are_refused(scene, given):
    answer = post(scene.client(scene.mara), RELEASES, given)
    assert answer.status_code in {400, 422}
    assert Release.objects.count() == 1


def test_a_release_is_verified_with_its_artifact(scene):
    olga, rita = scene.client(scene.olga), scene.client(scene.rita)
    assert post(rita, release_url(scene, "verify")).status_code == 200
    digest = scene.release.digest
    assert post(olga, release_url(scene, "verify"), {"digest": digest}).status_code == 200
    assert post(rita, release_url(scene, "verify"), {"digest": digest}).status_code == 200
    assert post(olga, release_url(scene, "verify"), {"digest": "abc"}).status_code == 400
    wrong = post(olga, release_url(scene, "verify"), {"digest": "0" * 64})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "other_artifact")
    assert Release.objects.get().state == Release.TRUSTED


def test_another_artifact_stops_the_release_for_whoever_may_and_says_so(scene):
    meant = {"digest": "0" * 64, "quarantine": True}
    narrowed = scene.client(scene.olga, scopes=["read"])
    assert post(scene.client(scene.rita), release_url(scene, "verify"), meant).status_code == 403
    assert post(narrowed, release_url(scene, "verify"), meant).status_code == 403
    olga = scene.client(scene.olga)
    alone = post(olga, release_url(scene, "verify"), {"quarantine": True})
    assert (alone.status_code, alone.json()["errors"][0]["field"]) == (400, "quarantine")
    assert Release.objects.get().state == Release.TRUSTED
    assert post(olga, release_url(scene, "verify"), meant).status_code == 409
    assert Release.objects.get().state == Release.QUARANTINED


def test_fault_28_a_quarantine_stops_plans_and_is_lifted(scene):
    olga, ada, mara = (scene.client(one) for one in (scene.olga, scene.ada, scene.mara))
    reason = {"reason": "the build machine was broken into"}
    answer = post(olga, release_url(scene, "quarantine"), reason)
    assert (answer.status_code, answer.json()["state"]) == (200, "quarantined")
    assert answer.json()["usable"] is False
    refused = post(mara, HAND_IN, body())
    assert refused.status_code == 422
    assert "is in quarantine" in str(refused.json()["errors"])
    assert post(olga, release_url(scene, "lift"), reason).status_code == 403
    assert post(ada, release_url(scene, "lift"), reason).json()["state"] == "trusted"
    assert post(ada, release_url(scene, "lift"), reason).status_code == 409
    assert post(mara, HAND_IN, body()).status_code == 201


def test_a_quarantine_needs_a_reason_and_the_right(scene):
    assert post(scene.client(scene.olga), release_url(scene, "quarantine")).status_code == 400
    for who in (scene.rita, scene.nils, scene.aram):
        answer = post(scene.client(who), release_url(scene, "quarantine"), {"reason": "x"})
        assert answer.status_code == 403
    nobody = f"{RELEASES}{uuid.uuid4()}/quarantine"
    assert post(scene.client(scene.olga), nobody, {"reason": "x"}).status_code == 404
    assert scene.client(scene.olga).get(release_url(scene, "quarantine")).status_code == 405
    narrow = scene.client(scene.olga, scopes=("read",))
    assert post(narrow, release_url(scene, "quarantine"), {"reason": "x"}).status_code == 403


def test_a_key_is_read_retired_and_revoked(scene):
    ada = scene.client(scene.ada)
    shown = ada.get(key_url(scene)).json()
    assert (shown["state"], shown["releases"]) == ("trusted", ["pay@1.5.0"])
    ends = (now() + timedelta(days=2)).isoformat()
    assert post(ada, key_url(scene, "retire"), {"not_after": ends}).status_code == 200
    later = (now() + timedelta(days=3)).isoformat()
    assert post(ada, key_url(scene, "retire"), {"not_after": later}).status_code == 422
    gone = post(ada, key_url(scene, "revoke"), {"reason": "stolen"})
    assert (gone.status_code, gone.json()["state"]) == (200, "revoked")
    assert post(ada, key_url(scene, "revoke"), {"reason": "stolen"}).status_code == 409
    assert Release.objects.get().state == Release.DISTRUSTED


def test_only_administrators_touch_keys(scene):
    mara = scene.client(scene.mara)
    assert [row["key_id"] for row in mara.get(KEYS).json()] == [scene.key.key_id]
    assert post(mara, key_url(scene, "revoke"), {"reason": "x"}).status_code == 403
    assert scene.client(scene.nils).get(KEYS).status_code == 403
    assert scene.client(scene.nils).get(key_url(scene)).status_code == 403
    nobody = f"{KEYS}{'0' * 16}/"
    assert mara.get(nobody).status_code == 404
    assert post(scene.client(scene.ada), f"{nobody}revoke", {"reason": "x"}).status_code == 404
    ends = (now() + timedelta(days=9)).isoformat()
    given = {"public_key": "nonsense", "name": "x", "not_after": ends}
    assert post(scene.client(scene.ada), KEYS, given).status_code == 422
    assert TrustKey.objects.get().revoked_at is None


def test_handing_a_plan_in_tells_what_a_rollback_would_bring_back(scene):
    for tenant in Tenant.objects.all():
        Installation.objects.create(tenant=tenant, plugin=scene.plugin, version="1.4.2")
    answer = post(scene.client(scene.mara), HAND_IN, body()).json()
    (old,) = answer["old_versions"]
    assert (old["version"], old["tenants"]) == ("1.4.2", 3)
    assert "no registered release" in old["problem"]


def test_who_runs_a_release_is_told_of_ones_own_tenants_alone(scene):
    for key in ("acorn", "cedar"):
        Installation.objects.update_or_create(
            tenant=Tenant.objects.get(key=key),
            plugin=scene.release.plugin,
            defaults={"version": scene.release.version},
        )
    labels = Tenant.objects.get(key="acorn").labels
    assert labels != Tenant.objects.get(key="cedar").labels
    narrow = person("Narrow")
    RoleBinding.objects.create(user=narrow, kind="console", role="viewer", selector=labels)
    told = scene.client(narrow).get(f"/api/v1/releases/{scene.release.pk}/").json()
    assert [one["tenant"] for one in told["tenants"]] == ["acorn"]
    page = text_of(browser(narrow).get(f"/releases/{scene.release.pk}/"))
    assert "acorn" in page
    assert "cedar" not in page
